// Definitions that all kernels share. No header of CUDA is included, so that nvcc and a C++
// compiler read the same files. Arrays between ops are float; inside an op T is float or bf16 (its
// 16 bits). Arithmetic is in float.
#pragma once
typedef unsigned short bf16;

// Declares a kernel. The build script reads its parameters (build/kernels.rs): it writes a launcher
// in Rust, and an entry point for each combination of template arguments, where T is float or bf16,
// V is 4 if the width is a multiple of 4 and else 1, and D is 64, 96 or 128.
#define KERNEL(name, parameters) __device__ __forceinline__ void name parameters
// The same with dynamic shared memory; at least `blocks` blocks fit on a multiprocessor.
#define SHARED_KERNEL(blocks, name, parameters) KERNEL(name, parameters)

#ifndef ENTRY
#define ENTRY(bounds, name, parameters) \
    extern "C" __global__ void __launch_bounds__ bounds name parameters
#define NARROW(to, x) asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to) : "f"(x))
// A GPU faults at an access that is not aligned; the simulated one checks it here.
#define CHECK_ALIGNED(address, bytes)
#endif

// The index of a thread in its row of the grid, of a warp in it, and of a thread in its block.
#define THREAD (blockIdx.x * (size_t)256 + threadIdx.y * 32 + threadIdx.x)
#define WARP (blockIdx.x * (size_t)8 + threadIdx.y)
#define IN_BLOCK (threadIdx.y * 32 + threadIdx.x)
// Lets the lanes of a warp walk along a row of `width` numbers, V at once.
#define ALONG(column, width) \
    for (size_t column = threadIdx.x * V; column < (width); column += 32 * V)

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return __uint_as_float((unsigned)x << 16); }
__device__ __forceinline__ void narrow(float* to, float x) { *to = x; }
__device__ __forceinline__ void narrow(bf16* to, float x) { NARROW(*to, x); }

// V neighbouring numbers, read or written in one access.
template <class T, int V> struct alignas(sizeof(T) * V) Pack { T at[V]; };

template <int V, class T> __device__ __forceinline__ Pack<T, V>* pack_at(T* address) {
    CHECK_ALIGNED(address, sizeof(Pack<T, V>));
    return (Pack<T, V>*)address;
}
template <int V, class T> __device__ __forceinline__ const Pack<T, V>* pack_at(const T* address) {
    CHECK_ALIGNED(address, sizeof(Pack<T, V>));
    return (const Pack<T, V>*)address;
}

template <int V, class T> __device__ __forceinline__ void load(const T* from, float (&x)[V]) {
    Pack<T, V> pack = *pack_at<V>(from);
#pragma unroll
    for (int i = 0; i < V; i++) x[i] = widen(pack.at[i]);
}

template <int V, class T> __device__ __forceinline__ void store(T* to, const float (&x)[V]) {
    Pack<T, V> pack;
#pragma unroll
    for (int i = 0; i < V; i++) narrow(&pack.at[i], x[i]);
    *pack_at<V>(to) = pack;
}

template <int V> __device__ __forceinline__ void accumulate(float* to, const float (&x)[V]) {
    float sum[V];
    load<V>(to, sum);
#pragma unroll
    for (int i = 0; i < V; i++) sum[i] += x[i];
    store<V>(to, sum);
}

// Return the sum, or the largest, of the numbers of a warp's lanes to all of them. The order of the
// sum is that of a tree.
__device__ __forceinline__ float warp_sum(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lane));
    return x;
}

// Dropout as in nodes/compute/math.rs: a function of (key, index), in the integers of the CPU.
struct Mask { unsigned least, key; float factor; };

__device__ __forceinline__ unsigned hash(unsigned x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}
// Returns the factor of number `index`: 0 if it is dropped.
__device__ __forceinline__ float drop(Mask mask, size_t index) {
    return !mask.least || hash(hash((unsigned)index) + mask.key) >> 8 >= mask.least
        ? mask.factor : 0;
}
// Returns the i-th of independent masks of the same rate.
__device__ __forceinline__ Mask fork(Mask mask, unsigned i) {
    return {mask.least, hash(mask.key ^ hash(i + 1)), mask.factor};
}
