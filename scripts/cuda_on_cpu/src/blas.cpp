// The functions of cuBLAS that CuPy calls, written plainly: sums in the precision that cuBLAS
// documents, but in a different order. The generated file missing.c has its other entry points.
#include <stdio.h>

#include <cmath>
#include <complex>
#include <cstring>
#include <type_traits>
#include <vector>

#include "gpu.h"

#define API extern "C" __attribute__((visibility("default")))
using c32 = std::complex<float>;
using c64 = std::complex<double>;
using half = _Float16;

namespace {

enum { OK = 0, NOT_INITIALIZED = 1, INVALID = 7, EXECUTION_FAILED = 13, UNSUPPORTED = 15 };
struct Handle {
    void* stream = nullptr;
    int pointers = 0, math = 0;
};

template <class T>
T conj_(T x) {
    return x;
}
c32 conj_(c32 x) { return std::conj(x); }
c64 conj_(c64 x) { return std::conj(x); }
template <class To, class From>
To as(From x) {
    if constexpr (std::is_same_v<To, From>)
        return x;
    else if constexpr (std::is_same_v<From, half>)
        return (To)(float)x;
    else
        return (To)x;
}

template <class... P>
bool far(const char* what, P... p) {
    if ((emulator::reachable(p) && ...)) return false;
    fprintf(stderr,
            "cuda_on_cpu: %s on memory of a device that is not the current one, which a GPU could "
            "not reach\n",
            what);
    return true;
}
int run(Handle* h, const char* what, emulator::Work work) {
    if (!h) return NOT_INITIALIZED;
    emulator::count("blas", what);
    return emulator::submit(h->stream, what, std::move(work)) ? EXECUTION_FAILED : OK;
}

// Return op(X), rows x columns, packed column by column in the precision of the sums.
template <class S, class T>
std::vector<S> pack(int op, int rows, int columns, const T* x, long ld) {
    std::vector<S> p((size_t)rows * columns);
    for (long j = 0; j < columns; j++)
        for (long i = 0; i < rows; i++) {
            S v = as<S>(op ? x[j + i * ld] : x[i + j * ld]);
            p[i + j * (size_t)rows] = op == 2 ? conj_(v) : v;
        }
    return p;
}
template <class T, class R, class S>
void multiply(int ta, int tb, int m, int n, int k, S alpha, const T* a, long lda, const T* b,
              long ldb, S beta, R* c, long ldc) {
    std::vector<S> sum(m), pa, pb;
    if (alpha != S(0)) pa = pack<S>(ta, m, k, a, lda), pb = pack<S>(tb, k, n, b, ldb);
    for (long j = 0; j < n; j++) {
        std::fill(sum.begin(), sum.end(), S(0));
        if (alpha != S(0))
            for (long l = 0; l < k; l++) {
                S f = pb[l + j * (size_t)k];
                const S* column = &pa[l * (size_t)m];
                for (long i = 0; i < m; i++) sum[i] += column[i] * f;
            }
        R* out = c + j * ldc;
        for (long i = 0; i < m; i++) {
            S v = alpha * sum[i];
            if (beta != S(0)) v += beta * as<S>(out[i]);
            out[i] = as<R>(v);
        }
    }
}
bool bad(int ta, int tb, int m, int n, int k, long lda, long ldb, long ldc) {
    return m < 0 || n < 0 || k < 0 || lda < std::max(1, ta ? k : m) ||
           ldb < std::max(1, tb ? n : k) || ldc < std::max(1, m);
}
template <class T, class R, class S>
int gemm(Handle* h, const char* what, int ta, int tb, int m, int n, int k, const void* alpha,
         const void* a, int lda, long long sa, const void* b, int ldb, long long sb,
         const void* beta, void* c, int ldc, long long sc, int batch) {
    if (bad(ta, tb, m, n, k, lda, ldb, ldc)) return INVALID;
    if (far(what, a, b, (const void*)c)) return EXECUTION_FAILED;
    S al = *(const S*)alpha, be = *(const S*)beta;
    return run(h, what, [=] {
        for (long i = 0; i < batch; i++)
            multiply<T, R, S>(ta, tb, m, n, k, al, (const T*)a + i * sa, lda, (const T*)b + i * sb,
                              ldb, be, (R*)c + i * sc, ldc);
    });
}
int gemm_types(Handle* h, const char* what, int ta, int tb, int m, int n, int k, const void* alpha,
               const void* a, int at, int lda, long long sa, const void* b, int bt, int ldb,
               long long sb, const void* beta, void* c, int ct, int ldc, long long sc, int batch,
               int compute) {
#define CASE(A, C, T, R, S)                                                                     \
    if (at == A && bt == A && ct == C)                                                          \
    return gemm<T, R, S>(h, what, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, \
                         sc, batch)
    if (compute == 64 && at == 2 &&
        ct == 2) {  // sums in half precision: add in single precision, scale in half
        float al = (float)*(const half*)alpha, be = (float)*(const half*)beta;
        if (bad(ta, tb, m, n, k, lda, ldb, ldc)) return INVALID;
        return run(h, what, [=] {
            for (long i = 0; i < batch; i++)
                multiply<half, half, float>(ta, tb, m, n, k, al, (const half*)a + i * sa, lda,
                                            (const half*)b + i * sb, ldb, be, (half*)c + i * sc,
                                            ldc);
        });
    }
    CASE(0, 0, float, float, float);
    CASE(1, 1, double, double, double);
    CASE(2, 2, half, half, float);
    CASE(2, 0, half, float, float);
    CASE(4, 4, c32, c32, c32);
    CASE(5, 5, c64, c64, c64);
#undef CASE
    return UNSUPPORTED;
}

template <class T>
T dot(int n, const T* x, int dx, const T* y, int dy, bool c) {
    T s = 0;
    if (dx < 0) x -= (long)(n - 1) * dx;
    if (dy < 0) y -= (long)(n - 1) * dy;
    for (long i = 0; i < n; i++) s += (c ? conj_(x[i * dx]) : x[i * dx]) * y[i * dy];
    return s;
}

}  // namespace

API int cublasCreate_v2(void** h) {
    *h = new Handle;
    return OK;
}
API int cublasDestroy_v2(void* h) {
    delete (Handle*)h;
    return OK;
}
API int cublasGetVersion_v2(void*, int* v) {
    *v = 120900;
    return OK;
}
API int cublasSetStream_v2(void* h, void* s) {
    ((Handle*)h)->stream = s;
    return OK;
}
API int cublasSetWorkspace_v2(void*, void*, size_t) { return OK; }
API int cublasGetStream_v2(void* h, void** s) {
    *s = ((Handle*)h)->stream;
    return OK;
}
API int cublasSetPointerMode_v2(void* h, int m) {
    ((Handle*)h)->pointers = m;
    return OK;
}
API int cublasGetPointerMode_v2(void* h, int* m) {
    *m = ((Handle*)h)->pointers;
    return OK;
}
API int cublasSetMathMode(void* h, int m) {
    ((Handle*)h)->math = m;
    return OK;
}
API int cublasGetMathMode(void* h, int* m) {
    *m = ((Handle*)h)->math;
    return OK;
}

#define GEMM(L, T)                                                                                \
    API int cublas##L##gemm_v2(Handle* h, int ta, int tb, int m, int n, int k, const T* al,       \
                               const T* a, int lda, const T* b, int ldb, const T* be, T* c,       \
                               int ldc) {                                                         \
        return gemm<T, T, T>(h, #L "gemm", ta, tb, m, n, k, al, a, lda, 0, b, ldb, 0, be, c, ldc, \
                             0, 1);                                                               \
    }                                                                                             \
    API int cublas##L##gemmStridedBatched(Handle* h, int ta, int tb, int m, int n, int k,         \
                                          const T* al, const T* a, int lda, long long sa,         \
                                          const T* b, int ldb, long long sb, const T* be, T* c,   \
                                          int ldc, long long sc, int batch) {                     \
        return gemm<T, T, T>(h, #L "gemmStridedBatched", ta, tb, m, n, k, al, a, lda, sa, b, ldb, \
                             sb, be, c, ldc, sc, batch);                                          \
    }                                                                                             \
    API int cublas##L##gemmBatched(Handle* h, int ta, int tb, int m, int n, int k, const T* al,   \
                                   const T* const* a, int lda, const T* const* b, int ldb,        \
                                   const T* be, T* const* c, int ldc, int batch) {                \
        if (bad(ta, tb, m, n, k, lda, ldb, ldc)) return INVALID;                                  \
        T x = *al, y = *be;                                                                       \
        return run(h, #L "gemmBatched", [=] {                                                     \
            for (int i = 0; i < batch; i++)                                                       \
                multiply<T, T, T>(ta, tb, m, n, k, x, a[i], lda, b[i], ldb, y, c[i], ldc);        \
        });                                                                                       \
    }
GEMM(S, float)
GEMM(D, double)
GEMM(C, c32)
GEMM(Z, c64)

API int cublasSgemmEx(Handle* h, int ta, int tb, int m, int n, int k, const float* al,
                      const void* a, int at, int lda, const void* b, int bt, int ldb,
                      const float* be, void* c, int ct, int ldc) {
    return gemm_types(h, "SgemmEx", ta, tb, m, n, k, al, a, at, lda, 0, b, bt, ldb, 0, be, c, ct,
                      ldc, 0, 1, 68);
}
API int cublasGemmEx(Handle* h, int ta, int tb, int m, int n, int k, const void* al, const void* a,
                     int at, int lda, const void* b, int bt, int ldb, const void* be, void* c,
                     int ct, int ldc, int compute, int) {
    return gemm_types(h, "GemmEx", ta, tb, m, n, k, al, a, at, lda, 0, b, bt, ldb, 0, be, c, ct,
                      ldc, 0, 1, compute);
}
API int cublasGemmStridedBatchedEx(Handle* h, int ta, int tb, int m, int n, int k, const void* al,
                                   const void* a, int at, int lda, long long sa, const void* b,
                                   int bt, int ldb, long long sb, const void* be, void* c, int ct,
                                   int ldc, long long sc, int batch, int compute, int) {
    return gemm_types(h, "GemmStridedBatchedEx", ta, tb, m, n, k, al, a, at, lda, sa, b, bt, ldb,
                      sb, be, c, ct, ldc, sc, batch, compute);
}

#define LEVEL12(L, T)                                                                             \
    API int cublas##L##gemv_v2(Handle* h, int t, int m, int n, const T* al, const T* a, int lda,  \
                               const T* x, int dx, const T* be, T* y, int dy) {                   \
        T p = *al, q = *be;                                                                       \
        if (far(#L "gemv", (const void*)a, (const void*)x, (const void*)y))                       \
            return EXECUTION_FAILED;                                                              \
        if (dx == 0 || dy == 0 || lda < std::max(1, m)) return INVALID;                           \
        return run(h, #L "gemv", [=] {                                                            \
            int rows = t ? n : m, columns = t ? m : n;                                            \
            const T* xs = dx < 0 ? x - (long)(columns - 1) * dx : x;                              \
            T* ys = dy < 0 ? y - (long)(rows - 1) * dy : y;                                       \
            for (long i = 0; i < rows; i++) {                                                     \
                T s = 0;                                                                          \
                for (long j = 0; j < columns; j++) {                                              \
                    T v = t ? a[j + i * lda] : a[i + j * lda];                                    \
                    s += (t == 2 ? conj_(v) : v) * xs[j * dx];                                    \
                }                                                                                 \
                ys[i * dy] = q == T(0) ? p * s : p * s + q * ys[i * dy];                          \
            }                                                                                     \
        });                                                                                       \
    }                                                                                             \
    API int cublas##L##axpy_v2(Handle* h, int n, const T* al, const T* x, int dx, T* y, int dy) { \
        T p = *al;                                                                                \
        return run(h, #L "axpy", [=] {                                                            \
            for (long i = 0; i < n; i++) y[i * dy] += p * x[i * dx];                              \
        });                                                                                       \
    }                                                                                             \
    API int cublas##L##scal_v2(Handle* h, int n, const T* al, T* x, int dx) {                     \
        T p = *al;                                                                                \
        return run(h, #L "scal", [=] {                                                            \
            for (long i = 0; i < n; i++) x[i * dx] *= p;                                          \
        });                                                                                       \
    }                                                                                             \
    API int cublas##L##geam(Handle* h, int ta, int tb, int m, int n, const T* al, const T* a,     \
                            int lda, const T* be, const T* b, int ldb, T* c, int ldc) {           \
        T p = *al, q = *be;                                                                       \
        return run(h, #L "geam", [=] {                                                            \
            for (long j = 0; j < n; j++)                                                          \
                for (long i = 0; i < m; i++) {                                                    \
                    T u = p == T(0) ? T(0) : ta ? a[j + i * lda] : a[i + j * lda];                \
                    T v = q == T(0) ? T(0) : tb ? b[j + i * ldb] : b[i + j * ldb];                \
                    c[i + j * ldc] = p * (ta == 2 ? conj_(u) : u) + q * (tb == 2 ? conj_(v) : v); \
                }                                                                                 \
        });                                                                                       \
    }                                                                                             \
    API int cublas##L##dgmm(Handle* h, int side, int m, int n, const T* a, int lda, const T* x,   \
                            int dx, T* c, int ldc) {                                              \
        return run(h, #L "dgmm", [=] {                                                            \
            for (long j = 0; j < n; j++)                                                          \
                for (long i = 0; i < m; i++)                                                      \
                    c[i + j * ldc] = a[i + j * lda] * x[(side ? j : i) * dx];                     \
        });                                                                                       \
    }
LEVEL12(S, float)
LEVEL12(D, double)
LEVEL12(C, c32)
LEVEL12(Z, c64)

#define DOT(NAME, T, CONJ)                                                                        \
    API int cublas##NAME##_v2(Handle* h, int n, const T* x, int dx, const T* y, int dy, T* out) { \
        return run(h, #NAME, [=] { *out = n > 0 ? dot(n, x, dx, y, dy, CONJ) : T(0); });          \
    }
DOT(Sdot, float, false)
DOT(Ddot, double, false)
DOT(Cdotu, c32, false)
DOT(Cdotc, c32, true)
DOT(Zdotu, c64, false)
DOT(Zdotc, c64, true)

#define GER(NAME, T, CONJ)                                                                   \
    API int cublas##NAME##_v2(Handle* h, int m, int n, const T* al, const T* x, int dx,      \
                              const T* y, int dy, T* a, int lda) {                           \
        T p = *al;                                                                           \
        return run(h, #NAME, [=] {                                                           \
            for (long j = 0; j < n; j++)                                                     \
                for (long i = 0; i < m; i++)                                                 \
                    a[i + j * lda] += p * x[i * dx] * (CONJ ? conj_(y[j * dy]) : y[j * dy]); \
        });                                                                                  \
    }
GER(Sger, float, false)
GER(Dger, double, false)
GER(Cgeru, c32, false)
GER(Cgerc, c32, true)
GER(Zgeru, c64, false)
GER(Zgerc, c64, true)

#define NORM(NAME, SUM, AMAX, AMIN, T, R)                                                 \
    API int cublas##NAME##_v2(Handle* h, int n, const T* x, int dx, R* out) {             \
        return run(h, #NAME, [=] {                                                        \
            double s = 0;                                                                 \
            for (long i = 0; i < n; i++) s += std::norm(std::complex<double>(x[i * dx])); \
            *out = (R)std::sqrt(s);                                                       \
        });                                                                               \
    }                                                                                     \
    API int cublas##SUM##_v2(Handle* h, int n, const T* x, int dx, R* out) {              \
        return run(h, #SUM, [=] {                                                         \
            double s = 0;                                                                 \
            for (long i = 0; i < n; i++)                                                  \
                s += std::abs(std::real(x[i * dx])) + std::abs(std::imag(x[i * dx]));     \
            *out = (R)s;                                                                  \
        });                                                                               \
    }                                                                                     \
    API int cublas##AMAX##_v2(Handle* h, int n, const T* x, int dx, int* out) {           \
        return run(h, #AMAX, [=] {                                                        \
            int at = 0;                                                                   \
            for (int i = 1; i < n; i++)                                                   \
                if (std::abs(x[(long)i * dx]) > std::abs(x[(long)at * dx])) at = i;       \
            *out = n > 0 ? at + 1 : 0;                                                    \
        });                                                                               \
    }                                                                                     \
    API int cublas##AMIN##_v2(Handle* h, int n, const T* x, int dx, int* out) {           \
        return run(h, #AMIN, [=] {                                                        \
            int at = 0;                                                                   \
            for (int i = 1; i < n; i++)                                                   \
                if (std::abs(x[(long)i * dx]) < std::abs(x[(long)at * dx])) at = i;       \
            *out = n > 0 ? at + 1 : 0;                                                    \
        });                                                                               \
    }
NORM(Snrm2, Sasum, Isamax, Isamin, float, float)
NORM(Dnrm2, Dasum, Idamax, Idamin, double, double)
NORM(Scnrm2, Scasum, Icamax, Icamin, c32, float)
NORM(Dznrm2, Dzasum, Izamax, Izamin, c64, double)
