// Declarations that the parts of the emulator share.
#pragma once
#include <cstddef>
#include <functional>
#include <mutex>

namespace emulator {

using Work = std::function<void()>;

// Do work in a stream: immediately, or, while the stream is capturing, when the graph is launched.
// Returns a CUDA error code (0: success).
int submit(void* stream, const char* what, Work work);

bool capturing(void* stream);
bool reachable(const void* p);
void count(const char* what, const char* name);

constexpr unsigned MAGIC = 0x4f434331;  // "1CCO": marks an image made by the emulator
struct ImageHead {
    unsigned magic;
    unsigned fibers;  // whether a kernel waits for other threads
    size_t size;      // of the shared object that follows, in bytes
};

}  // namespace emulator

// What a compiled kernel says about itself; shim.h has the same structures.
struct cuda_on_cpu_launch {
    unsigned grid[3], block[3];
    int fibers;
};
struct cuda_on_cpu_kernel {
    void (*run)(void** arguments, const cuda_on_cpu_launch* launch);
    int count;
    const size_t* sizes;
};
