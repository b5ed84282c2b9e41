// The CUDA runtime, driver and NVRTC on a CPU: device memory is host memory, a stream does its work
// immediately, and kernels are compiled by the host's C++ compiler.
#include "gpu.h"

#include <cuda.h>
#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <vector>

#undef cudaGetDeviceProperties
#define API extern "C" __attribute__((visibility("default")))

extern char** environ;

namespace emulator {

static std::recursive_mutex lock_;  // one piece of work at a time, as in a single stream
using Lock = std::lock_guard<std::recursive_mutex>;

static long setting(const char* name, long otherwise) {
    const char* s = getenv(name);
    return s && *s ? atol(s) : otherwise;
}
static int devices() {
    static int n = [] {
        const char* visible = getenv("CUDA_VISIBLE_DEVICES");
        int all = (int)setting("CUDA_ON_CPU_DEVICES", 1);
        if (!visible) return all;
        int seen = 0;  // as in CUDA, the list ends at the first entry that is not a device
        for (const char* p = visible; *p;) {
            char* end;
            long i = strtol(p, &end, 10);
            if (end == p || i < 0 || i >= all) break;
            seen++;
            p = *end == ',' ? end + 1 : end;
            if (*end && *end != ',') break;
        }
        return seen;
    }();
    return n;
}
static size_t total_memory() { return (size_t)setting("CUDA_ON_CPU_MEMORY_MB", 4096) << 20; }

// As on a GPU, a process forked from one that has used CUDA cannot use it.
static pid_t owner = 0;
static bool forked() {
    if (!owner) owner = getpid();
    return owner != getpid();
}

static thread_local int device_ = 0;
static thread_local cudaError_t last_ = cudaSuccess;
static cudaError_t fail(cudaError_t e) {
    if (e != cudaSuccess) last_ = e;
    return e;
}

// ---------------------------------------------------------------- counting
struct Tally {
    std::map<std::string, long> calls;  // "kernel:NAME", "copy:h2d", ...
};
static Tally tally;
static bool counting = true;
typedef void (*Watcher)(const char* what, size_t bytes);
static std::atomic<Watcher> watcher{nullptr};

void count(const char* what, const char* name) {
    Lock l(lock_);
    if (counting) tally.calls[name ? std::string(what) + ":" + name : std::string(what)]++;
}
static void counted(const char* what, size_t bytes) {
    {
        Lock l(lock_);
        if (counting) {
            tally.calls[what]++;
            tally.calls[std::string("bytes:") + what] += (long)bytes;
        }
    }
    if (Watcher w = watcher.load())
        w(what, bytes);  // without the lock: the callback waits for Python's
}

// ---------------------------------------------------------------- memory
struct Block {
    size_t size;
    int device;
    cudaMemoryType type;
};
static std::map<uintptr_t, Block> blocks;
static size_t used_[64];

static const Block* block_of(const void* p) {
    auto it = blocks.upper_bound((uintptr_t)p);
    if (it == blocks.begin()) return nullptr;
    --it;
    return (uintptr_t)p < it->first + std::max<size_t>(it->second.size, 1) ? &it->second : nullptr;
}
static bool on_device(const void* p, size_t n) {
    auto it = blocks.upper_bound((uintptr_t)p);
    if (it == blocks.begin()) return false;
    --it;
    return it->second.type != cudaMemoryTypeHost && (uintptr_t)p + n <= it->first + it->second.size;
}
// Whether the current device can reach the memory: that of another device only if it is a peer.
bool reachable(const void* p) {
    Lock l(lock_);
    const Block* b = block_of(p);
    return !b || b->type != cudaMemoryTypeDevice || b->device == device_ ||
           setting("CUDA_ON_CPU_PEERS", 0);
}
static cudaError_t allocate(void** p, size_t size, cudaMemoryType type) {
    if (forked()) return fail(cudaErrorInitializationError);
    Lock l(lock_);
    *p = nullptr;
    if (size == 0) return cudaSuccess;
    if (type != cudaMemoryTypeHost && used_[device_] + size > total_memory())
        return fail(cudaErrorMemoryAllocation);
    void* q = nullptr;
    if (posix_memalign(&q, 512, size)) return fail(cudaErrorMemoryAllocation);
    if (type != cudaMemoryTypeHost) {
        memset(q, 0xff, size);  // NaN as a float of any size, so that reading before writing shows
        used_[device_] += size;
        count("malloc", nullptr);
    }
    blocks[(uintptr_t)q] = {size, device_, type};
    *p = q;
    return cudaSuccess;
}
static cudaError_t release(void* p) {
    Lock l(lock_);
    if (!p) return cudaSuccess;
    auto it = blocks.find((uintptr_t)p);
    if (it == blocks.end()) return fail(cudaErrorInvalidValue);
    if (it->second.type != cudaMemoryTypeHost) used_[it->second.device] -= it->second.size;
    blocks.erase(it);
    free(p);
    return cudaSuccess;
}

// ---------------------------------------------------------------- streams and graphs
struct Graph {
    std::vector<std::pair<std::string, Work>> nodes;
};
struct Stream {
    int device;
    unsigned flags;
    int priority;
    std::unique_ptr<Graph> graph;  // while capturing
    bool invalidated = false;
};
struct Event {
    std::chrono::steady_clock::time_point at;
    bool recorded = false;
    unsigned flags = 0;
};
static std::set<Stream*> streams;
static std::set<Graph*> graphs;
static std::set<Event*> events;

static bool is_default(void* s) { return (uintptr_t)s <= 2; }
static Stream* stream_of(void* s) {
    auto it = streams.find((Stream*)s);
    return it == streams.end() ? nullptr : *it;
}
bool capturing(void* s) {
    Lock l(lock_);
    Stream* st = is_default(s) ? nullptr : stream_of(s);
    return st && st->graph;
}
// The default stream waits for every blocking stream, which is an error while one is capturing.
static cudaError_t invalidates(void* s) {
    if (!is_default(s) || (uintptr_t)s == 2) return cudaSuccess;
    for (Stream* st : streams)
        if (st->graph && !(st->flags & cudaStreamNonBlocking)) {
            st->invalidated = true;
            return cudaErrorStreamCaptureImplicit;
        }
    return cudaSuccess;
}
static std::atomic<bool> idle{false};
int submit(void* s, const char* what, Work work) {
    if (forked()) return fail(cudaErrorInitializationError);
    Lock l(lock_);
    if (!is_default(s)) {
        Stream* st = stream_of(s);
        if (!st) return fail(cudaErrorInvalidResourceHandle);
        if (st->graph) {
            if (st->invalidated) return fail(cudaErrorStreamCaptureInvalidated);
            st->graph->nodes.emplace_back(what, std::move(work));
            return cudaSuccess;
        }
    } else if (cudaError_t e = invalidates(s)) {
        return fail(e);
    }
    if (!idle) work();
    return cudaSuccess;
}
// Waiting for a stream that is capturing, or for all streams, is an error.
static cudaError_t waits(void* s, bool all) {
    Lock l(lock_);
    if (!is_default(s) && !stream_of(s)) return fail(cudaErrorInvalidResourceHandle);
    for (Stream* st : streams)
        if (st->graph && (all || st == s)) {
            st->invalidated = true;
            return fail(cudaErrorStreamCaptureUnsupported);
        }
    return cudaSuccess;
}

static const char* direction(const void* to, const void* from, size_t n, cudaMemcpyKind kind) {
    static const char* names[] = {"copy:h2h", "copy:h2d", "copy:d2h", "copy:d2d"};
    if (kind == cudaMemcpyDefault)
        kind = (cudaMemcpyKind)((on_device(from, n) ? 2 : 0) + (on_device(to, n) ? 1 : 0));
    return names[kind & 3];
}
static cudaError_t copy(void* to, const void* from, size_t n, cudaMemcpyKind kind, void* stream,
                        bool async) {
    if (n == 0) return cudaSuccess;
    const char* way;
    {
        Lock l(lock_);
        bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
        bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
        if ((to_device && !on_device(to, n)) || (from_device && !on_device(from, n))) {
            fprintf(stderr,
                    "cuda_on_cpu: a copy of kind %d of %zu bytes to %p from %p: not all of it is "
                    "device memory\n",
                    (int)kind, n, to, from);
            return fail(cudaErrorInvalidValue);
        }
        way = direction(to, from, n, kind);
        int e = submit(stream, way, [=] { memmove(to, from, n); });
        if (e) return (cudaError_t)e;
    }
    counted(way, n);
    return cudaSuccess;
}

// ---------------------------------------------------------------- fibers
extern "C" void cuda_on_cpu_switch(void** save, void* load);
#if defined(__x86_64__)
asm(R"(
.text
.globl cuda_on_cpu_switch
.type cuda_on_cpu_switch,@function
cuda_on_cpu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_on_cpu_switch,.-cuda_on_cpu_switch
)");
#else
#error "the fibers are written for x86-64 only"
#endif

enum State { NEW, READY, BLOCK, WARP, DONE };
struct Fiber {
    void* sp;
    State state;
    unsigned mask;
    int yes;
    const void* value;
    size_t size;
    unsigned votes;
    int counted;
};
constexpr size_t STACK = 256 << 10;
constexpr int MOST = 1024;
static Fiber fibers[MOST];
static char* stacks[MOST];
static char lanes[MOST][32];
static bool present[MOST];
static void* main_sp;
static int current = -1, living = 0;
static void (*body)(void*, int);
static void* body_context;
alignas(64) static char dynamic_shared[256 << 10];
static bool stuck = false;

static void yield() {
    int me = current;
    cuda_on_cpu_switch(&fibers[me].sp, main_sp);
}
static void fiber_main() {
    body(body_context, current);
    fibers[current].state = DONE;
    void* ignored;
    cuda_on_cpu_switch(&ignored, main_sp);
    abort();
}
static void start(int i) {
    if (!stacks[i]) {
        stacks[i] = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks[i] == MAP_FAILED) abort();
        mprotect(stacks[i], 4096, PROT_NONE);
    }
    void** top = (void**)(stacks[i] + STACK - 72);  // aligned as after a call instruction
    *top = nullptr;  // the return address of fiber_main, which never returns
    *--top = (void*)fiber_main;
    for (int k = 0; k < 6; k++) *--top = nullptr;
    fibers[i].sp = top;
}

}  // namespace emulator

using namespace emulator;

API void cuda_on_cpu_run_block(int n, void (*thread)(void*, int), void* context) {
    if (n > MOST || stuck) return;
    body = thread;
    body_context = context;
    living = n;
    for (int i = 0; i < n; i++) fibers[i].state = NEW;
    int done = 0;
    while (done < n) {
        for (int i = 0; i < n; i++) {
            Fiber& f = fibers[i];
            if (f.state != NEW && f.state != READY) continue;
            if (f.state == NEW) start(i);
            f.state = READY;
            current = i;
            cuda_on_cpu_switch(&main_sp, f.sp);
            if (f.state == DONE) done++;
        }
        bool freed = false;
        for (int w = 0; w < n; w += 32) {  // release lanes whose warp has arrived
            int end = std::min(n, w + 32);
            for (int i = w; i < end; i++) {
                if (fibers[i].state != WARP) continue;
                unsigned mask = fibers[i].mask, votes = 0;
                bool all = true;
                for (int k = w; k < end; k++) {
                    if (!(mask >> (k - w) & 1) || fibers[k].state == DONE) continue;
                    if (fibers[k].state != WARP || fibers[k].mask != mask)
                        all = false;
                    else if (fibers[k].yes)
                        votes |= 1u << (k - w);
                }
                if (!all) continue;
                for (int k = w; k < w + 32 && k < MOST; k++) {
                    if (!(mask >> (k - w) & 1)) continue;
                    present[k] = k < end && fibers[k].state == WARP;
                    if (!present[k]) continue;
                    if (fibers[k].value) memcpy(lanes[k], fibers[k].value, fibers[k].size);
                }
                for (int k = w; k < end; k++)
                    if ((mask >> (k - w) & 1) && fibers[k].state == WARP) {
                        fibers[k].votes = votes;
                        fibers[k].state = READY;
                        freed = true;
                    }
            }
        }
        if (freed || done == n) continue;
        int yes = 0, waiting = 0;
        for (int i = 0; i < n; i++)
            if (fibers[i].state == BLOCK) waiting++, yes += fibers[i].yes != 0;
        if (waiting + done < n || waiting == 0) {
            fprintf(stderr, "cuda_on_cpu: the threads of a block wait for each other forever\n");
            stuck = true;
            return;
        }
        for (int i = 0; i < n; i++)
            if (fibers[i].state == BLOCK) fibers[i].counted = yes, fibers[i].state = READY;
    }
}
API int cuda_on_cpu_barrier_block(int yes) {
    Fiber& f = fibers[current];
    f.yes = yes;
    f.state = BLOCK;
    yield();
    return f.counted;
}
API unsigned cuda_on_cpu_barrier_warp(unsigned mask, int yes, const void* value, size_t size) {
    Fiber& f = fibers[current];
    f.mask = mask;
    f.yes = yes;
    f.value = value;
    f.size = size;
    f.state = WARP;
    yield();
    return f.votes;
}
API const void* cuda_on_cpu_barrier_lane(unsigned lane) {
    int k = (current & ~31) + (int)(lane & 31);
    return present[k] ? lanes[k] : nullptr;
}
API void* cuda_on_cpu_dynamic_shared(void) { return dynamic_shared; }

// ---------------------------------------------------------------- counters and settings for tests
API void cuda_on_cpu_reset(void) {
    Lock l(lock_);
    tally.calls.clear();
}
API void cuda_on_cpu_idle(int yes) { idle = yes != 0; }
API void cuda_on_cpu_watch(Watcher w) { watcher.store(w); }
API size_t cuda_on_cpu_counts(char* out, size_t room) {  // lines of "NAME NUMBER"
    Lock l(lock_);
    std::string s;
    for (auto& [k, v] : tally.calls) s += k + " " + std::to_string(v) + "\n";
    if (out && room > s.size()) memcpy(out, s.c_str(), s.size() + 1);
    return s.size();
}
API void cuda_on_cpu_count(const char* what) { count(what, nullptr); }

// ---------------------------------------------------------------- the runtime
static std::pair<const char*, const char*> error_text(int e) {
    switch (e) {
        case 0:
            return {"cudaSuccess", "no error"};
        case 1:
            return {"cudaErrorInvalidValue", "invalid argument"};
        case 2:
            return {"cudaErrorMemoryAllocation", "out of memory"};
        case 3:
            return {"cudaErrorInitializationError", "initialization error"};
        case 98:
            return {"cudaErrorInvalidDeviceFunction", "invalid device function"};
        case 100:
            return {"cudaErrorNoDevice", "no CUDA-capable device is detected"};
        case 101:
            return {"cudaErrorInvalidDevice", "invalid device ordinal"};
        case 200:
            return {"cudaErrorInvalidKernelImage", "device kernel image is invalid"};
        case 217:
            return {"cudaErrorPeerAccessUnsupported",
                    "peer access is not supported between these two devices"};
        case 400:
            return {"cudaErrorInvalidResourceHandle", "invalid resource handle"};
        case 500:
            return {"cudaErrorSymbolNotFound", "named symbol not found"};
        case 600:
            return {"cudaErrorNotReady", "device not ready"};
        case 700:
            return {"cudaErrorIllegalAddress", "an illegal memory access was encountered"};
        case 704:
            return {"cudaErrorPeerAccessAlreadyEnabled", "peer access is already enabled"};
        case 719:
            return {"cudaErrorLaunchFailure", "unspecified launch failure"};
        case 801:
            return {"cudaErrorNotSupported", "operation not supported"};
        case 900:
            return {"cudaErrorStreamCaptureUnsupported",
                    "operation not permitted when stream is capturing"};
        case 901:
            return {"cudaErrorStreamCaptureInvalidated",
                    "operation failed due to a previous error during capture"};
        case 906:
            return {"cudaErrorStreamCaptureImplicit",
                    "operation would make the legacy stream depend on a capturing blocking stream"};
        default:
            return {"cudaErrorUnknown", "unknown error"};
    }
}
API const char* cudaGetErrorName(cudaError_t e) { return error_text(e).first; }
API const char* cudaGetErrorString(cudaError_t e) { return error_text(e).second; }
API cudaError_t cudaGetLastError() {
    cudaError_t e = last_;
    last_ = cudaSuccess;
    return e;
}
API cudaError_t cudaDriverGetVersion(int* v) {
    *v = 12090;
    return cudaSuccess;
}
API cudaError_t cudaRuntimeGetVersion(int* v) {
    *v = 12090;
    return cudaSuccess;
}
API cudaError_t cudaGetDeviceCount(int* n) {
    if (forked()) return fail(cudaErrorInitializationError);
    *n = devices();
    return *n ? cudaSuccess : fail(cudaErrorNoDevice);
}
API cudaError_t cudaGetDevice(int* d) {
    if (forked()) return fail(cudaErrorInitializationError);
    if (!devices()) return fail(cudaErrorNoDevice);
    *d = device_;
    return cudaSuccess;
}
API cudaError_t cudaSetDevice(int d) {
    if (!devices()) return fail(cudaErrorNoDevice);
    if (d < 0 || d >= devices()) return fail(cudaErrorInvalidDevice);
    device_ = d;
    return cudaSuccess;
}
API cudaError_t cudaDeviceSynchronize() {
    count("sync:device", nullptr);
    return waits(nullptr, true);
}
API cudaError_t cudaGetDeviceProperties_v2(cudaDeviceProp* p, int d) {
    if (d < 0 || d >= devices()) return fail(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "CUDA emulated on a CPU");
    p->totalGlobalMem = total_memory();
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerMultiprocessor = p->sharedMemPerBlockOptin = 102400;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->clockRate = 1000000;
    p->memoryClockRate = 1000000;
    p->memoryBusWidth = 128;
    p->totalConstMem = 65536;
    p->major = 8, p->minor = 6;
    p->multiProcessorCount = 16;
    p->maxThreadsPerMultiProcessor = 1536;
    p->maxBlocksPerMultiProcessor = 16;
    p->concurrentKernels = p->unifiedAddressing = p->managedMemory = p->canMapHostMemory = 1;
    p->asyncEngineCount = 2;
    p->l2CacheSize = 4 << 20;
    p->pciBusID = d + 1;
    p->streamPrioritiesSupported = 1;
    p->memoryPoolsSupported = 1;
    p->cooperativeLaunch = 1;
    p->uuid.bytes[0] = (char)d;
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int d) {
    cudaDeviceProp p;
    if (cudaError_t e = cudaGetDeviceProperties_v2(&p, d)) return e;
    switch ((int)a) {
        case cudaDevAttrMaxThreadsPerBlock:
            *v = p.maxThreadsPerBlock;
            break;
        case cudaDevAttrMaxBlockDimX:
        case cudaDevAttrMaxBlockDimY:
            *v = 1024;
            break;
        case cudaDevAttrMaxBlockDimZ:
            *v = 64;
            break;
        case cudaDevAttrMaxGridDimX:
            *v = p.maxGridSize[0];
            break;
        case cudaDevAttrMaxGridDimY:
        case cudaDevAttrMaxGridDimZ:
            *v = 65535;
            break;
        case cudaDevAttrMaxSharedMemoryPerBlock:
            *v = (int)p.sharedMemPerBlock;
            break;
        case cudaDevAttrTotalConstantMemory:
            *v = 65536;
            break;
        case cudaDevAttrWarpSize:
            *v = 32;
            break;
        case cudaDevAttrMaxRegistersPerBlock:
            *v = p.regsPerBlock;
            break;
        case cudaDevAttrClockRate:
            *v = p.clockRate;
            break;
        case cudaDevAttrMultiProcessorCount:
            *v = p.multiProcessorCount;
            break;
        case cudaDevAttrComputeCapabilityMajor:
            *v = p.major;
            break;
        case cudaDevAttrComputeCapabilityMinor:
            *v = p.minor;
            break;
        case cudaDevAttrMaxThreadsPerMultiProcessor:
            *v = p.maxThreadsPerMultiProcessor;
            break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
            *v = (int)p.sharedMemPerMultiprocessor;
            break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin:
            *v = (int)p.sharedMemPerBlockOptin;
            break;
        case cudaDevAttrUnifiedAddressing:
        case cudaDevAttrManagedMemory:
        case cudaDevAttrConcurrentKernels:
        case cudaDevAttrMemoryPoolsSupported:
        case cudaDevAttrCooperativeLaunch:
            *v = 1;
            break;
        case cudaDevAttrMaxBlocksPerMultiprocessor:
            *v = 16;
            break;
        case cudaDevAttrPciBusId:
            *v = p.pciBusID;
            break;
        default:
            *v = 0;
    }
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetPCIBusId(char* s, int n, int d) {
    snprintf(s, n, "0000:%02x:00.0", d + 1);
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetByPCIBusId(int* d, const char* s) {
    unsigned a, b;
    if (sscanf(s, "%x:%x", &a, &b) != 2 || (int)b - 1 >= devices())
        return fail(cudaErrorInvalidValue);
    *d = (int)b - 1;
    return cudaSuccess;
}
API cudaError_t cudaDeviceCanAccessPeer(int* can, int a, int b) {
    *can = a != b && setting("CUDA_ON_CPU_PEERS", 0);
    return cudaSuccess;
}
API cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
    return setting("CUDA_ON_CPU_PEERS", 0) ? cudaSuccess : fail(cudaErrorPeerAccessUnsupported);
}
API cudaError_t cudaDeviceDisablePeerAccess(int) { return cudaSuccess; }
API cudaError_t cudaDeviceGetLimit(size_t* v, cudaLimit) {
    *v = 8 << 20;
    return cudaSuccess;
}
API cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) { return cudaSuccess; }

API cudaError_t cudaMalloc(void** p, size_t n) { return allocate(p, n, cudaMemoryTypeDevice); }
API cudaError_t cudaMallocManaged(void** p, size_t n, unsigned) {
    return allocate(p, n, cudaMemoryTypeManaged);
}
API cudaError_t cudaMallocAsync(void** p, size_t n, cudaStream_t) {
    return allocate(p, n, cudaMemoryTypeDevice);
}
API cudaError_t cudaMallocFromPoolAsync(void** p, size_t n, cudaMemPool_t, cudaStream_t) {
    return allocate(p, n, cudaMemoryTypeDevice);
}
API cudaError_t cudaHostAlloc(void** p, size_t n, unsigned) {
    return allocate(p, n, cudaMemoryTypeHost);
}
API cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
API cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
API cudaError_t cudaFree(void* p) { return release(p); }
API cudaError_t cudaFreeAsync(void* p, cudaStream_t) { return release(p); }
API cudaError_t cudaFreeHost(void* p) { return release(p); }
API cudaError_t cudaMemGetInfo(size_t* free_, size_t* total) {
    Lock l(lock_);
    if (!devices()) return fail(cudaErrorNoDevice);
    *total = total_memory();
    *free_ = *total - std::min(*total, used_[device_]);
    return cudaSuccess;
}
API cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
    return copy(d, s, n, k, nullptr, false);
}
API cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k,
                                cudaStream_t st) {
    return copy(d, s, n, k, st, true);
}
API cudaError_t cudaMemcpyPeer(void* d, int, const void* s, int, size_t n) {
    return copy(d, s, n, cudaMemcpyDeviceToDevice, nullptr, false);
}
API cudaError_t cudaMemcpyPeerAsync(void* d, int, const void* s, int, size_t n, cudaStream_t st) {
    return copy(d, s, n, cudaMemcpyDeviceToDevice, st, true);
}
API cudaError_t cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h,
                                  cudaMemcpyKind k, cudaStream_t st) {
    const char* way;
    {
        Lock l(lock_);
        way = direction(d, s, w, k);
        int e = submit(st, way, [=] {
            for (size_t i = 0; i < h; i++) memmove((char*)d + i * dp, (const char*)s + i * sp, w);
        });
        if (e) return (cudaError_t)e;
    }
    counted(way, w * h);
    return cudaSuccess;
}
API cudaError_t cudaMemcpy2D(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h,
                             cudaMemcpyKind k) {
    return cudaMemcpy2DAsync(d, dp, s, sp, w, h, k, nullptr);
}
API cudaError_t cudaMemsetAsync(void* p, int v, size_t n, cudaStream_t st) {
    Lock l(lock_);
    if (n && !on_device(p, n)) return fail(cudaErrorInvalidValue);
    int e = submit(st, "memset", [=] { memset(p, v, n); });
    if (!e) count("memset", nullptr);
    return (cudaError_t)e;
}
API cudaError_t cudaMemset(void* p, int v, size_t n) { return cudaMemsetAsync(p, v, n, nullptr); }
API cudaError_t cudaMemPrefetchAsync(const void*, size_t, int, cudaStream_t) { return cudaSuccess; }
API cudaError_t cudaMemAdvise(const void*, size_t, cudaMemoryAdvise, int) { return cudaSuccess; }
API cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* p, int) {
    *p = (cudaMemPool_t)8;
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* p, int) {
    *p = (cudaMemPool_t)8;
    return cudaSuccess;
}
API cudaError_t cudaDeviceSetMemPool(int, cudaMemPool_t) { return cudaSuccess; }
API cudaError_t cudaMemPoolCreate(cudaMemPool_t* p, const cudaMemPoolProps*) {
    *p = (cudaMemPool_t)16;
    return cudaSuccess;
}
API cudaError_t cudaMemPoolDestroy(cudaMemPool_t) { return cudaSuccess; }
API cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
API cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr a, void* v) {
    if ((int)a <= 3)
        *(int*)v = 0;
    else
        *(uint64_t*)v = 0;
    return cudaSuccess;
}
API cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
    return cudaSuccess;
}
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
    Lock l(lock_);
    memset(a, 0, sizeof *a);
    const Block* b = block_of(p);
    a->type = b ? b->type : cudaMemoryTypeUnregistered;
    a->device = b ? b->device : -2;
    a->devicePointer = b ? (void*)p : nullptr;
    a->hostPointer = !b || b->type != cudaMemoryTypeDevice ? (void*)p : nullptr;
    return cudaSuccess;
}

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int priority) {
    Lock l(lock_);
    Stream* st = new Stream{device_, flags, priority, nullptr, false};
    streams.insert(st);
    *s = (cudaStream_t)st;
    return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
    return cudaStreamCreateWithPriority(s, flags, 0);
}
API cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithPriority(s, 0, 0); }
API cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned* f) {
    Lock l(lock_);
    Stream* st = stream_of(s);
    *f = st ? st->flags : 0;
    return st || is_default(s) ? cudaSuccess : fail(cudaErrorInvalidResourceHandle);
}
API cudaError_t cudaStreamGetPriority(cudaStream_t s, int* p) {
    Lock l(lock_);
    Stream* st = stream_of(s);
    *p = st ? st->priority : 0;
    return st || is_default(s) ? cudaSuccess : fail(cudaErrorInvalidResourceHandle);
}
API cudaError_t cudaStreamDestroy(cudaStream_t s) {
    Lock l(lock_);
    Stream* st = stream_of(s);
    if (!st) return fail(cudaErrorInvalidResourceHandle);
    streams.erase(st);
    delete st;
    return cudaSuccess;
}
API cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    count("sync:stream", nullptr);
    return waits(s, false);
}
API cudaError_t cudaStreamQuery(cudaStream_t s) { return waits(s, false); }
static cudaError_t host_call(void* s, Work work) {
    {
        Lock l(lock_);
        if (capturing(s)) return (cudaError_t)submit(s, "host", std::move(work));
        if (!is_default(s) && !stream_of(s)) return fail(cudaErrorInvalidResourceHandle);
    }
    work();  // without the lock: the callback takes Python's
    return cudaSuccess;
}
API cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void* data,
                                      unsigned) {
    return host_call(s, [=] { f(s, cudaSuccess, data); });
}
API cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* data) {
    return host_call(s, [=] { f(data); });
}
API cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t, unsigned) {
    Lock l(lock_);
    return is_default(s) || stream_of(s) ? cudaSuccess : fail(cudaErrorInvalidResourceHandle);
}
API cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    Lock l(lock_);
    if (is_default(s) && (uintptr_t)s != 2) return fail(cudaErrorStreamCaptureUnsupported);
    Stream* st = stream_of(s);
    if (!st) return fail(cudaErrorInvalidResourceHandle);
    if (st->graph) return fail((cudaError_t)cudaErrorIllegalState);
    st->graph.reset(new Graph);
    st->invalidated = false;
    return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
    Lock l(lock_);
    Stream* st = stream_of(s);
    *g = nullptr;
    if (!st || !st->graph) return fail((cudaError_t)cudaErrorIllegalState);
    if (st->invalidated) {
        st->graph.reset();
        st->invalidated = false;
        return fail(cudaErrorStreamCaptureInvalidated);
    }
    Graph* graph = st->graph.release();
    graphs.insert(graph);
    *g = (cudaGraph_t)graph;
    return cudaSuccess;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
    Lock l(lock_);
    Stream* st = stream_of(s);
    *status = !st || !st->graph ? cudaStreamCaptureStatusNone
              : st->invalidated ? cudaStreamCaptureStatusInvalidated
                                : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
API cudaError_t cudaGraphDestroy(cudaGraph_t g) {
    Lock l(lock_);
    graphs.erase((Graph*)g);
    delete (Graph*)g;
    return cudaSuccess;
}
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) {
    delete (Graph*)g;
    return cudaSuccess;
}
API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long) {
    Lock l(lock_);
    *e = (cudaGraphExec_t) new Graph(*(Graph*)g);
    return cudaSuccess;
}
API cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
    Graph* g = (Graph*)e;
    {
        Lock l(lock_);
        count("graph", nullptr);
        if (capturing(s)) {
            for (auto& [what, work] : g->nodes) submit(s, what.c_str(), work);
            return cudaSuccess;
        }
        if (cudaError_t bad = invalidates(s)) return fail(bad);
    }
    for (auto& [what, work] : g->nodes) {
        if (what == "host") {
            work();
            continue;
        }
        Lock l(lock_);
        if (!idle) work();
        count("in graph", what.c_str());
    }
    return cudaSuccess;
}
API cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
API cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char*, unsigned) {
    return fail(cudaErrorNotSupported);
}

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags) {
    Lock l(lock_);
    Event* ev = new Event;
    ev->flags = flags;
    events.insert(ev);
    *e = (cudaEvent_t)ev;
    return cudaSuccess;
}
API cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t e) {
    Lock l(lock_);
    if (!events.erase((Event*)e)) return fail(cudaErrorInvalidResourceHandle);
    delete (Event*)e;
    return cudaSuccess;
}
API cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
    Lock l(lock_);
    if (!events.count((Event*)e)) return fail(cudaErrorInvalidResourceHandle);
    return (cudaError_t)submit(s, "event", [=] {
        Lock k(lock_);
        if (events.count((Event*)e))
            ((Event*)e)->at = std::chrono::steady_clock::now(), ((Event*)e)->recorded = true;
    });
}
API cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
API cudaError_t cudaEventSynchronize(cudaEvent_t) {
    count("sync:event", nullptr);
    return cudaSuccess;
}
API cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
    Lock l(lock_);
    if (!((Event*)a)->recorded || !((Event*)b)->recorded)
        return fail(cudaErrorInvalidResourceHandle);
    *ms = std::chrono::duration<float, std::milli>(((Event*)b)->at - ((Event*)a)->at).count();
    return cudaSuccess;
}
API cudaError_t cudaProfilerStart() { return cudaSuccess; }
API cudaError_t cudaProfilerStop() { return cudaSuccess; }

// ---------------------------------------------------------------- the driver
struct Module {
    void* handle;
    bool fibers;
    std::map<std::string, struct Function*> functions;
};
struct Function {
    std::string name;
    const cuda_on_cpu_kernel* kernel;
    bool fibers;
};

API CUresult cuGetErrorName(CUresult e, const char** s) {
    *s = error_text(e).first;
    return CUDA_SUCCESS;
}
API CUresult cuGetErrorString(CUresult e, const char** s) {
    *s = error_text(e).second;
    return CUDA_SUCCESS;
}
API CUresult cuInit(unsigned) { return devices() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
API CUresult cuDriverGetVersion(int* v) {
    *v = 12090;
    return CUDA_SUCCESS;
}
API CUresult cuDeviceGetCount(int* n) {
    *n = devices();
    return CUDA_SUCCESS;
}
API CUresult cuDeviceGet(CUdevice* d, int i) {
    *d = i;
    return i < devices() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
API CUresult cuCtxGetCurrent(CUcontext* c) {
    *c = (CUcontext)(uintptr_t)(device_ + 1);
    return CUDA_SUCCESS;
}
API CUresult cuCtxSetCurrent(CUcontext c) {
    device_ = (int)(uintptr_t)c - 1;
    return CUDA_SUCCESS;
}
API CUresult cuCtxCreate_v2(CUcontext* c, unsigned, CUdevice d) {
    *c = (CUcontext)(uintptr_t)(d + 1);
    return CUDA_SUCCESS;
}
API CUresult cuCtxDestroy_v2(CUcontext) { return CUDA_SUCCESS; }
API CUresult cuCtxGetDevice(CUdevice* d) {
    *d = device_;
    return CUDA_SUCCESS;
}
API CUresult cuStreamGetCtx(CUstream, CUcontext* c) { return cuCtxGetCurrent(c); }

static std::string scratch() {
    const char* t = getenv("TMPDIR");
    std::string s = std::string(t && *t ? t : "/tmp") + "/cuda_on_cpu_XXXXXX";
    return mkdtemp(s.data()) ? s : "";
}
static void remove_all(const std::string& folder, std::initializer_list<const char*> names) {
    for (const char* n : names) unlink((folder + "/" + n).c_str());
    rmdir(folder.c_str());
}

API CUresult cuModuleLoadData(CUmodule* out, const void* image) {
    const ImageHead* h = (const ImageHead*)image;
    if (h->magic != MAGIC) return CUDA_ERROR_INVALID_IMAGE;
    std::string folder = scratch(), path = folder + "/m.so";
    FILE* f = fopen(path.c_str(), "wb");
    if (!f) return CUDA_ERROR_OUT_OF_MEMORY;
    fwrite(h + 1, 1, h->size, f);
    fclose(f);
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) fprintf(stderr, "cuda_on_cpu: %s\n", dlerror());
    remove_all(folder, {"m.so"});
    if (!handle) return CUDA_ERROR_INVALID_IMAGE;
    *out = (CUmodule) new Module{handle, h->fibers != 0, {}};
    count("module", nullptr);
    return CUDA_SUCCESS;
}
API CUresult cuModuleLoad(CUmodule* m, const char* path) {
    FILE* f = fopen(path, "rb");
    if (!f) return CUDA_ERROR_FILE_NOT_FOUND;
    std::string s;
    char part[65536];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) s.append(part, n);
    fclose(f);
    return s.size() < sizeof(ImageHead) ? CUDA_ERROR_INVALID_IMAGE : cuModuleLoadData(m, s.data());
}
API CUresult cuModuleUnload(CUmodule m) {
    // It stays mapped: a captured graph may still use its kernels.
    (void)m;
    return CUDA_SUCCESS;
}
API CUresult cuModuleGetFunction(CUfunction* out, CUmodule m, const char* name) {
    Lock l(lock_);
    Module* mod = (Module*)m;
    Function*& f = mod->functions[name];
    if (!f) {
        auto* k = (const cuda_on_cpu_kernel*)dlsym(
            mod->handle, (std::string("cuda_on_cpu_kernel_") + name).c_str());
        if (!k) {
            mod->functions.erase(name);
            return CUDA_ERROR_NOT_FOUND;
        }
        f = new Function{name, k, mod->fibers};
    }
    *out = (CUfunction)f;
    return CUDA_SUCCESS;
}
API CUresult cuModuleGetGlobal_v2(CUdeviceptr* p, size_t* n, CUmodule m, const char* name) {
    void* a = dlsym(((Module*)m)->handle, name);
    if (!a) return CUDA_ERROR_NOT_FOUND;
    if (p) *p = (CUdeviceptr)a;
    if (n) *n = 1 << 20;
    Lock l(lock_);
    blocks[(uintptr_t)a] = {1 << 20, device_, cudaMemoryTypeDevice};
    return CUDA_SUCCESS;
}
API CUresult cuLaunchKernel(CUfunction fn, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                            unsigned by, unsigned bz, unsigned shared, CUstream s, void** args,
                            void**) {
    Function* f = (Function*)fn;
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 ||
        shared > sizeof dynamic_shared)
        return CUDA_ERROR_INVALID_VALUE;
    Lock l(lock_);
    count("kernel", f->name.c_str());
    cuda_on_cpu_launch launch = {{gx, gy, gz}, {bx, by, bz}, f->fibers};
    int e;
    if (!capturing(s)) {
        e = submit(s, "kernel", [&] { f->kernel->run(args, &launch); });
    } else {  // like CUDA, copy the arguments now
        std::vector<std::shared_ptr<char[]>> kept;
        for (int i = 0; i < f->kernel->count; i++) {
            kept.emplace_back(new char[f->kernel->sizes[i] + 16]);
            memcpy(kept[i].get(), args[i], f->kernel->sizes[i]);
        }
        e = submit(s, "kernel", [=] {
            std::vector<void*> a;
            for (auto& k : kept) a.push_back(k.get());
            f->kernel->run(a.data(), &launch);
        });
    }
    if (stuck) {
        stuck = false;
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    return (CUresult)e;
}
API CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz,
                                       unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                       CUstream s, void** args) {
    return gx * gy * gz > 1 ? CUDA_ERROR_NOT_SUPPORTED
                            : cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, s, args, nullptr);
}
API CUresult cuFuncGetAttribute(int* v, CUfunction_attribute a, CUfunction) {
    *v = a == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK                                  ? 1024
         : a == CU_FUNC_ATTRIBUTE_NUM_REGS                                             ? 32
         : a == CU_FUNC_ATTRIBUTE_PTX_VERSION || a == CU_FUNC_ATTRIBUTE_BINARY_VERSION ? 86
                                                                                       : 0;
    return CUDA_SUCCESS;
}
API CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, CUfunction, int, size_t) {
    *n = 8;
    return CUDA_SUCCESS;
}
API CUresult cuOccupancyMaxPotentialBlockSize(int* grid, int* block, CUfunction, CUoccupancyB2DSize,
                                              size_t, int limit) {
    *grid = 64;
    *block = limit && limit < 256 ? limit : 256;
    return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- NVRTC
struct Program {
    std::string source, name, log, image;
    std::vector<std::pair<std::string, std::string>> headers;
    std::vector<std::string> expressions;
    std::map<std::string, std::string> lowered;
};
using Ptr = Program*;

static std::string home() {  // the folder that contains include/ and lib/
    Dl_info info;
    if (!dladdr((void*)&cuda_on_cpu_reset, &info)) return "";
    char real[4096];
    std::string p = realpath(info.dli_fname, real) ? real : info.dli_fname;
    p = p.substr(0, p.rfind('/'));
    return p.substr(0, p.rfind('/'));
}
static std::string blank_comments(const std::string& s) {
    std::string r = s;
    for (size_t i = 0; i + 1 < r.size();) {
        if (r[i] == '"') {
            for (i++; i < r.size() && r[i] != '"'; i++)
                if (r[i] == '\\') i++;
            i++;
        } else if (r[i] == '/' && r[i + 1] == '/') {
            while (i < r.size() && r[i] != '\n') r[i++] = ' ';
        } else if (r[i] == '/' && r[i + 1] == '*') {
            size_t e = r.find("*/", i + 2);
            e = e == std::string::npos ? r.size() : e + 2;
            for (; i < e; i++)
                if (r[i] != '\n') r[i] = ' ';
        } else {
            i++;
        }
    }
    return r;
}
// Return the names of the kernels of a source that are not templates.
static std::vector<std::string> kernels_of(const std::string& text) {
    std::vector<std::string> names;
    std::string s = blank_comments(text);
    for (size_t at = 0; (at = s.find("__global__", at)) != std::string::npos; at += 10) {
        size_t statement = s.find_last_of(";}", at);
        std::string head = s.substr(statement == std::string::npos ? 0 : statement + 1,
                                    at - (statement == std::string::npos ? 0 : statement + 1));
        // preprocessor lines in between are not part of the declaration
        head = std::regex_replace(head, std::regex("#[^\n]*(\\\\\n[^\n]*)*\n"), "\n");
        if (head.find("template") != std::string::npos) continue;
        size_t line = s.rfind('\n', at);
        if (s.find("#define", line == std::string::npos ? 0 : line + 1) < at) continue;
        size_t open = at + 10;
        for (;;) {  // the name precedes the first parenthesis that does not belong to an attribute
            open = s.find('(', open);
            if (open == std::string::npos) break;
            size_t e = open;
            while (e > at && isspace((unsigned char)s[e - 1])) e--;
            size_t b = e;
            while (b > at && (isalnum((unsigned char)s[b - 1]) || s[b - 1] == '_')) b--;
            std::string word = s.substr(b, e - b);
            if (word == "__launch_bounds__" || word == "__attribute__" || word == "__align__") {
                int depth = 0;
                do {
                    if (s[open] == '(') depth++;
                    if (s[open] == ')') depth--;
                    open++;
                } while (depth && open < s.size());
                continue;
            }
            if (!word.empty() && std::find(names.begin(), names.end(), word) == names.end())
                names.push_back(word);
            break;
        }
    }
    return names;
}
static std::string read_file(const std::string& path) {
    std::string s;
    if (FILE* f = fopen(path.c_str(), "rb")) {
        char part[65536];
        for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) s.append(part, n);
        fclose(f);
    }
    return s;
}
static void write_file(const std::string& path, const std::string& s) {
    if (FILE* f = fopen(path.c_str(), "wb")) {
        fwrite(s.data(), 1, s.size(), f);
        fclose(f);
    }
}

API const char* nvrtcGetErrorString(int e) {
    return e == 0 ? "NVRTC_SUCCESS" : e == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR";
}
API int nvrtcVersion(int* a, int* b) {
    *a = 12, *b = 9;
    return 0;
}
API int nvrtcGetNumSupportedArchs(int* n) {
    *n = 1;
    return 0;
}
API int nvrtcGetSupportedArchs(int* a) {
    a[0] = 86;
    return 0;
}
API int nvrtcCreateProgram(Ptr* out, const char* source, const char* name, int n,
                           const char* const* headers, const char* const* names) {
    *out = new Program;
    (*out)->source = source;
    (*out)->name = name ? name : "default_program";
    for (int i = 0; i < n; i++) (*out)->headers.emplace_back(names[i], headers[i]);
    return 0;
}
API int nvrtcDestroyProgram(Ptr* p) {
    delete *p;
    *p = nullptr;
    return 0;
}
API int nvrtcAddNameExpression(Ptr p, const char* e) {
    p->expressions.push_back(e);
    return 0;
}
API int nvrtcGetLoweredName(Ptr p, const char* e, const char** out) {
    auto it = p->lowered.find(e);
    if (it == p->lowered.end()) return 8;
    *out = it->second.c_str();
    return 0;
}
API int nvrtcCompileProgram(Ptr p, int n, const char* const* options) {
    const char* compiler = getenv("CUDA_ON_CPU_CXX");
    if (!compiler || !*compiler) compiler = "g++";
    std::string here = home(), folder = scratch();
    if (folder.empty()) {
        p->log = "no temporary folder could be created";
        return 6;
    }
    // CuPy compiles an empty source to identify the compiler in its cache keys.
    if (p->source.find_first_not_of(" \n\t") == std::string::npos) {
        p->image = "// cuda_on_cpu " +
                   std::to_string(std::hash<std::string>()(read_file(here + "/include/shim.h") +
                                                           read_file(here + "/include/flags"))) +
                   "\n";
        rmdir(folder.c_str());
        return 0;
    }
    std::string standard = "-std=gnu++17";
    std::vector<std::string> c = {compiler};
    {  // the flags that the precompiled header was compiled with
        std::string flags = read_file(here + "/include/flags"), word;
        for (char ch : flags + " ")
            if (isspace((unsigned char)ch)) {
                if (!word.empty()) c.push_back(word);
                word.clear();
            } else
                word += ch;
    }
    std::string named;
    for (int i = 0; i < n; i++) {
        std::string o = options[i];
        for (const char* prefix : {"--include-path=", "--define-macro=", "--undefine-macro="})
            if (o.rfind(prefix, 0) == 0)
                o = std::string("-") +
                    (prefix[2] == 'i'   ? "I"
                     : prefix[2] == 'd' ? "D"
                                        : "U") +
                    o.substr(strlen(prefix));
        if (o.rfind("-I", 0) == 0 || o.rfind("-D", 0) == 0 || o.rfind("-U", 0) == 0) {
            if (o.size() == 2 && i + 1 < n) o += options[++i];
            // the headers of a CUDA toolkit are written for NVIDIA's compiler
            if (o[1] != 'I' || access((o.substr(2) + "/cuda_runtime_api.h").c_str(), F_OK))
                c.push_back(o);
        }
        if (o.find("-std=c++20") != std::string::npos) standard = "-std=gnu++20";
    }
    for (auto& [name, text] : p->headers) {
        std::string path = folder + "/h/" + name;
        for (size_t i = folder.size() + 1; (i = path.find('/', i)) != std::string::npos; i++)
            mkdir(path.substr(0, i).c_str(), 0700);
        write_file(path, text);
    }
    if (!p->headers.empty()) c.push_back("-I" + folder + "/h");
    static const std::regex dynamic(R"(extern\s+__shared__\s+([^;\[\]]*?)\b(\w+)\s*\[\s*\]\s*;)");
    static const std::regex align(R"(__align__\s*\([^)]*\))");
    std::string source = std::regex_replace(p->source, align, "");
    source =
        std::regex_replace(source, dynamic, "$1* const $2 = ($1*)cuda_on_cpu_dynamic_shared();");
    std::string tail = "\n";
    for (auto& name : kernels_of(p->source))
        tail += "CUDA_ON_CPU_KERNEL(cuda_on_cpu_kernel_" + name + ", " + name + ")\n";
    int k = 0;
    for (auto& e : p->expressions) {
        std::string name = "cuda_on_cpu_expression_" + std::to_string(k++);
        p->lowered[e] = name;
        // a kernel or a variable
        tail +=
            "CUDA_ON_CPU_EXPRESSION(cuda_on_cpu_kernel_" + name + ", " + name + ", (" + e + "))\n";
    }
    write_file(folder + "/kernel.cpp", "#line 1 \"" + p->name + "\"\n" + source + tail);
    c.insert(c.end(), {standard, "-include", here + "/include/shim.h", "-x", "c++",
                       folder + "/kernel.cpp", "-x", "none", "-shared", "-Wl,-Bsymbolic", "-o",
                       folder + "/kernel.so", here + "/lib/libcuda_on_cpu.so"});
    std::vector<char*> argv;
    for (auto& s : c) argv.push_back(s.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, (folder + "/log").c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    // without folders that may contain the headers of a CUDA toolkit
    std::vector<char*> environment;
    for (char** e = environ; *e; e++)
        if (strncmp(*e, "CPATH=", 6) && strncmp(*e, "CPLUS_INCLUDE_PATH=", 19))
            environment.push_back(*e);
    environment.push_back(nullptr);
    pid_t pid;
    int status = -1;
    int spawned = posix_spawnp(&pid, compiler, &actions, nullptr, argv.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    if (spawned == 0) waitpid(pid, &status, 0);
    p->log = spawned ? std::string("cannot start ") + compiler : read_file(folder + "/log");
    if (status == 0) {
        std::string so = read_file(folder + "/kernel.so");
        ImageHead h = {MAGIC, so.find("cuda_on_cpu_barrier") != std::string::npos, so.size()};
        p->image.assign((const char*)&h, sizeof h);
        p->image += so;
    }
    if (const char* keep = getenv("CUDA_ON_CPU_KEEP"); keep && *keep) {
        static int serial = 0;
        write_file(std::string(keep) + "/" + std::to_string(getpid()) + "_" +
                       std::to_string(serial) + (status ? ".failed.cpp" : ".cpp"),
                   read_file(folder + "/kernel.cpp"));
        if (status)
            write_file(std::string(keep) + "/" + std::to_string(getpid()) + "_" +
                           std::to_string(serial) + ".log",
                       p->log);
        serial++;
    }
    if (p->headers.empty()) remove_all(folder, {"kernel.cpp", "kernel.so", "log"});
    count("compile", nullptr);
    return status == 0 ? 0 : 6;
}
API int nvrtcGetPTXSize(Ptr p, size_t* n) {
    *n = p->image.size() + 1;
    return 0;
}
API int nvrtcGetPTX(Ptr p, char* out) {
    memcpy(out, p->image.c_str(), p->image.size() + 1);
    return 0;
}
API int nvrtcGetCUBINSize(Ptr p, size_t* n) { return nvrtcGetPTXSize(p, n); }
API int nvrtcGetCUBIN(Ptr p, char* out) { return nvrtcGetPTX(p, out); }
API int nvrtcGetLTOIRSize(Ptr, size_t* n) {
    *n = 0;
    return 0;
}
API int nvrtcGetLTOIR(Ptr, char*) { return 0; }
API int nvrtcGetProgramLogSize(Ptr p, size_t* n) {
    *n = p->log.size() + 1;
    return 0;
}
API int nvrtcGetProgramLog(Ptr p, char* out) {
    memcpy(out, p->log.c_str(), p->log.size() + 1);
    return 0;
}
