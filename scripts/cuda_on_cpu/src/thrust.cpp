// The sorting functions that CuPy takes from Thrust: stable, NaN last.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <vector>

#include "cupy_thrust.h"

using half = _Float16;

template <class T>
bool is_nan(T x) {
    if constexpr (std::is_integral_v<T>)
        return false;
    else
        return x != x;
}
template <class T>
bool less(T a, T b) {
    return is_nan(a) ? false : is_nan(b) ? true : a < b;
}
template <class R>
bool less(std::complex<R> a, std::complex<R> b) {
    auto rank = [](std::complex<R> z) {
        return (is_nan(z.real()) ? 2 : 0) + (is_nan(z.imag()) ? 1 : 0);
    };
    int p = rank(a), q = rank(b);
    if (p != q) return p < q;
    if (p == 3) return false;
    if (p == 2) return a.imag() < b.imag();
    if (p == 1) return a.real() < b.real();
    return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}

// CuPy's numbers for the data types (cupy/cuda/common.pyx)
template <class F>
void typed(int t, F f) {
    switch (t) {
        case 0:
            return f((signed char)0);
        case 1:
            return f((unsigned char)0);
        case 2:
            return f((short)0);
        case 3:
            return f((unsigned short)0);
        case 4:
            return f((int)0);
        case 5:
            return f((unsigned)0);
        case 6:
            return f((long long)0);
        case 7:
            return f((unsigned long long)0);
        case 8:
            return f((half)0);
        case 9:
            return f((float)0);
        case 10:
            return f((double)0);
        case 11:
            return f(std::complex<float>());
        case 12:
            return f(std::complex<double>());
        case 13:
            return f((bool)0);
    }
}

extern "C" void cuda_on_cpu_count(const char*) __attribute__((weak));
static void counted(const char* what) {
    if (cuda_on_cpu_count) cuda_on_cpu_count(what);
}

void thrust_sort(int t, void* data, size_t*, const std::vector<ptrdiff_t>& shape, intptr_t, void*) {
    counted("thrust:sort");
    ptrdiff_t size = std::accumulate(shape.begin(), shape.end(), (ptrdiff_t)1, std::multiplies<>()),
              row = shape.back();
    typed(t, [&](auto zero) {
        using T = decltype(zero);
        for (T* p = (T*)data; row && p < (T*)data + size; p += row)
            std::stable_sort(p, p + row, [](T a, T b) { return less(a, b); });
    });
}
void thrust_argsort(int t, size_t* index, void* data, void*, const std::vector<ptrdiff_t>& shape,
                    intptr_t, void*) {
    counted("thrust:argsort");
    ptrdiff_t size = std::accumulate(shape.begin(), shape.end(), (ptrdiff_t)1, std::multiplies<>()),
              row = shape.back();
    typed(t, [&](auto zero) {
        using T = decltype(zero);
        for (ptrdiff_t at = 0; row && at < size; at += row) {
            T* p = (T*)data + at;
            std::iota(index + at, index + at + row, (size_t)0);
            std::stable_sort(index + at, index + at + row,
                             [=](size_t a, size_t b) { return less(p[a], p[b]); });
        }
    });
}
void thrust_lexsort(int t, size_t* index, void* keys, size_t k, size_t n, intptr_t, void*) {
    counted("thrust:lexsort");
    std::iota(index, index + n, (size_t)0);
    typed(t, [&](auto zero) {
        using T = decltype(zero);
        for (size_t i = 0; i < k; i++) {
            T* p = (T*)keys + i * n;
            std::stable_sort(index, index + n,
                             [=](size_t a, size_t b) { return less(p[a], p[b]); });
        }
    });
}
