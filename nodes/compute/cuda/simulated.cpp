// A GPU for tests on machines without one: libcuda and libcublas on host memory, and the kernels as C++, a block at a
// time, its threads as fibers. Slow, and in order, but for copies beside, which come as late as they may; memory is NaN
// when given out and when freed.
// It proves addresses, sizes, parameters, formulas, barriers; it cannot show races, speed or dfdx's own kernels.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <setjmp.h>
#include <string>
#include <ucontext.h>
#include <utility>
#include <vector>

// --- a block: threads are fibers, which yield at barriers and shuffles ----------------------------------------------
struct dim3 { unsigned x, y, z; };
static dim3 threadIdx, blockIdx, gridDim;
struct Fiber { ucontext_t first; jmp_buf at; std::vector<char> stack; bool started, done; };
static std::vector<Fiber> fibers(256);
static jmp_buf scheduler;
static unsigned current, alive, arrived, generation;
static uint32_t lanes[256];
static uint64_t rows[256];
static uint32_t factors[256][6];
alignas(16) static unsigned char dynamic[227 << 10]; // of shared memory
static std::mutex one_at_a_time;

// Jumps, since swapcontext asks the kernel each time; a context is for a fiber's first turn alone.
static void yield() { if (!_setjmp(fibers[current].at)) _longjmp(scheduler, 1); }
static void take_turn(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.at, 1);
    fiber.started = true;
    setcontext(&fiber.first);
}
static void __syncthreads() {
    unsigned mine = generation;
    arrived++;
    while (generation == mine)
        if (arrived == alive) { arrived = 0; generation++; } else yield();
}
static float __shfl_xor_sync(unsigned, float x, int lane) { // a warp's lanes take turns, so a round of turns is a barrier
    memcpy(&lanes[current], &x, 4);
    yield();
    memcpy(&x, &lanes[current ^ lane], 4);
    yield();
    return x;
}

static float __shfl_sync(unsigned, float x, int lane) {
    memcpy(&lanes[current], &x, 4);
    yield();
    memcpy(&x, &lanes[current / 32 * 32 + lane], 4);
    yield();
    return x;
}
static void __syncwarp() { yield(); }

// --- CUDA C++ as C++ ------------------------------------------------------------------------------------------------
typedef void (*Run)(void**);
static std::map<std::string, Run> kernels;
template <class... A, size_t... I> static void call(void (*f)(A...), void** p, std::index_sequence<I...>) { f(*(A*)p[I]...); }
template <class... A> static void call(void (*f)(A...), void** p) { call(f, p, std::index_sequence_for<A...>()); }
#define ENTRY(bounds, name, parameters) \
    static void name parameters; \
    static bool name##_is_known = kernels.emplace(#name, [](void** p) { call(name, p); }).second; \
    static void name parameters
#define __device__
#define __forceinline__ inline
#define __shared__ static
static float __uint_as_float(unsigned x) { float y; memcpy(&y, &x, 4); return y; }
static unsigned short to_bf16(float x) { unsigned b; memcpy(&b, &x, 4); return (b + 0x7fff + (b >> 16 & 1)) >> 16; }
#define NARROW(to, x) to = to_bf16(x)
static float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
using std::min, std::max;

// The tensor cores, as tile.cuh has them: square i of 8 x 8, row lane / 4, its two numbers from 2 (lane % 4) on.
typedef unsigned short Row;
static void fragments(unsigned (&x)[4], const Row* row) {
    rows[current] = (uint64_t)row;
    yield();
    for (int i = 0; i < 4; i++) memcpy(&x[i], (Row*)rows[current / 32 * 32 + 8 * i + current % 32 / 4] + current % 4 * 2, 4);
    yield();
}
static void turned_fragments(unsigned (&x)[4], const Row* row) {
    rows[current] = (uint64_t)row;
    yield();
    for (int i = 0; i < 4; i++) {
        uint64_t* square = rows + current / 32 * 32 + 8 * i + current % 4 * 2;
        x[i] = ((Row*)square[0])[current % 32 / 4] | (unsigned)((Row*)square[1])[current % 32 / 4] << 16;
    }
    yield();
}
static float half(unsigned x, int which) { return __uint_as_float(which ? x & 0xffff0000 : x << 16); }
static void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    std::copy(a, a + 4, factors[current]);
    factors[current][4] = b0; factors[current][5] = b1;
    yield();
    auto warp = factors + current / 32 * 32;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 16; k++) {
            unsigned left = warp[current % 32 / 4 * 4 + k % 8 / 2][i / 2 + k / 8 * 2], right = warp[(current % 4 * 2 + i % 2) * 4 + k % 8 / 2][4 + k / 8];
            c[i] += half(left, k % 2) * half(right, k % 2);
        }
    yield();
}
static unsigned pair(float low, float high) { return to_bf16(low) | (unsigned)to_bf16(high) << 16; }
#include "all.cu"

// --- libcuda --------------------------------------------------------------------------------------------------------
static thread_local uint64_t counts[5]; // kernels, products, fills, allocations, copies from and to the host
static Run running;
static void** arguments;
static std::set<void*> roomy; // kernels that may have more than 48 KiB of shared memory
static int refuse(const char* why) { fprintf(stderr, "the simulated GPU refuses %s\n", why); return 1; }
static void live() { for (;;) { running(arguments); fibers[current].done = true; alive--; yield(); } }

extern "C" {
typedef uint64_t Pointer;
int cuModuleGetFunction(void** f, void*, const char* name) {
    auto found = kernels.find(name);
    if (found == kernels.end()) return refuse(name), 500;
    *f = (void*)found->second;
    return 0;
}
// Beside 8, the size of shared memory, nothing is asked for.
int cuFuncSetAttribute(void* f, int attribute, int) { return roomy.insert(f), attribute != 8; }
int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void*, void** p, void**) {
    if (shared > sizeof dynamic || shared > (48 << 10) && !roomy.count(f)) return refuse("so much shared memory"), 1;
    if (!gx || !gy || gy > 65535 || bx != 32 || by != 8 || gz * bz != 1) return refuse("the shape of a grid");
    counts[0]++;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    running = (Run)f; arguments = p;
    for (Fiber& fiber : fibers) if (fiber.stack.empty()) {
        fiber.stack.resize(64 << 10);
        getcontext(&fiber.first);
        fiber.first.uc_stack.ss_sp = fiber.stack.data(); fiber.first.uc_stack.ss_size = fiber.stack.size();
        makecontext(&fiber.first, live, 0);
    }
    gridDim = {gx, gy, 1};
    for (size_t block = 0; block < (size_t)gx * gy; block++) {
        memset(dynamic, 0xff, shared);
        blockIdx = {unsigned(block % gx), unsigned(block / gx), 0};
        alive = fibers.size(); arrived = 0;
        for (Fiber& fiber : fibers) fiber.done = false;
        while (alive)
            for (unsigned turn = 0; turn < fibers.size(); turn++) {
                current = block % 2 ? fibers.size() - 1 - turn : turn; // a race shows where the order matters
                threadIdx = {current % 32, current / 32, 0};
                if (!fibers[current].done) take_turn(fibers[current]);
            }
    }
    return 0;
}
// All is done at once on the null stream. On others, which are of one thread each, a copy waits until somebody waits for it.
struct Copy { Pointer to; const void* from; size_t n; };
struct Stream { std::vector<Copy> copies; size_t done; Stream* before; };
static thread_local Stream* streams; // the last one, and those before it
struct Event { Stream* stream; size_t after; };
static int reach(Stream* stream, size_t after) {
    for (; stream && stream->done < after; stream->done++) {
        Copy& copy = stream->copies[stream->done];
        memcpy((void*)copy.to, copy.from, copy.n);
    }
    return 0;
}
static bool awaited(Pointer p, size_t n) {
    for (Stream* s = streams; s; s = s->before)
        for (size_t i = s->done; i < s->copies.size(); i++) if (s->copies[i].to - p < n) return true;
    return false;
}
static std::atomic<size_t> used, most;
static thread_local size_t used_here, most_here;
uint64_t simulated_peak_of_thread() { return most_here; }
void simulated_counts_of_thread(uint64_t* to) { memcpy(to, counts, sizeof counts); }
int cuMemAllocAsync(Pointer* p, size_t n, void*) {
    counts[3]++;
    size_t now = used += n;
    for (size_t before = most; before < now && !most.compare_exchange_weak(before, now);) {}
    most_here = std::max(most_here, used_here += n);
    size_t* block = (size_t*)aligned_alloc(256, (n + 511) / 256 * 256);
    *block = n; *p = (Pointer)block + 256;
    memset((void*)*p, 0xff, n);
    return 0;
}
int cuMemFreeAsync(Pointer p, void*) {
    size_t* block = (size_t*)(p - 256);
    if (awaited(p, *block)) return refuse("to free what a copy is on its way to");
    memset((void*)p, 0xff, *block); used -= *block; used_here -= *block; free(block);
    return 0;
}
int cuMemPoolGetAttribute(void*, int, uint64_t* bytes) { *bytes = most; return 0; } // the most in use
int cuMemPoolSetAttribute(void*, int attribute, void*) { if (attribute == 8) most = size_t(used); return 0; }
int cuMemsetD8Async(Pointer p, unsigned char x, size_t n, void*) { counts[2]++; memset((void*)p, x, n); return 0; }

int cuStreamCreate(void** s, unsigned) { *s = streams = new Stream{{}, 0, streams}; return 0; }
int cuStreamDestroy_v2(Stream* s) { return reach(s, s->copies.size()); }
int cuStreamSynchronize(Stream* s) { return s ? reach(s, s->copies.size()) : 0; }
int cuStreamWaitEvent(void*, Event* e, unsigned) { return reach(e->stream, e->after); }
int cuEventCreate(void** e, unsigned) { *e = new Event(); return 0; }
int cuEventDestroy_v2(Event* e) { delete e; return 0; }
int cuEventRecord(Event* e, Stream* s) { *e = {s, s ? s->copies.size() : 0}; return 0; }
int cuEventSynchronize(Event* e) { return reach(e->stream, e->after); }
int cuMemHostAlloc(void** p, size_t n, unsigned) { *p = malloc(n); memset(*p, 0xff, n); return *p ? 0 : 2; }
int cuMemFreeHost(void* p) { free(p); return 0; }
int cuMemcpyHtoDAsync_v2(Pointer p, const void* q, size_t n, Stream* s) {
    counts[4]++;
    if (s) s->copies.push_back({p, q, n}); else memcpy((void*)p, q, n);
    return 0;
}
int cuMemcpyHtoD_v2(Pointer p, const void* q, size_t n) { memcpy((void*)p, q, n); return 0; }
int cuMemcpyDtoHAsync_v2(void* q, Pointer p, size_t n, void*) { counts[4]++; memcpy(q, (void*)p, n); return 0; }
int cuMemcpyDtoH_v2(void* q, Pointer p, size_t n) { memcpy(q, (void*)p, n); return 0; }
int cuMemcpyDtoDAsync_v2(Pointer p, Pointer q, size_t n, void*) { memcpy((void*)p, (void*)q, n); return 0; }
// What else dfdx and cudarc ask for: done, and nothing happens.
#define DONE(name) int name() { return 0; }
DONE(cuInit) DONE(cuCtxSetCurrent) DONE(cuDevicePrimaryCtxRelease_v2) DONE(cuCtxSynchronize) DONE(cuModuleUnload)
DONE(cublasSetStream_v2) DONE(cublasSetMathMode) DONE(cublasDestroy_v2)
// Of devices without memory pools, which this one has.
int cuMemAlloc_v2() { return refuse("memory without a pool"); }
int cuMemFree_v2() { return refuse("memory without a pool"); }
int cuMemsetD8_v2() { return refuse("memory without a pool"); }
int cuMemcpyDtoD_v2() { return refuse("memory without a pool"); }
int cuGetErrorString(int, const char** text) { *text = "refused by the simulated GPU"; return 0; }

int cuDeviceGetAttribute(int* v, int, int) { *v = 1; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int) { *c = (void*)1; return 0; }
int cuDeviceGet(int* d, int) { *d = 0; return 0; }
int cuDeviceGetCount(int* n) { *n = 2; return 0; } // the second is the first under another number
int cuDeviceGetDefaultMemPool(void** p, int) { *p = (void*)1; return 0; }
int cuModuleLoadData(void** m, const void*) { *m = (void*)1; return 0; }

// --- libcublas: by columns, formats 0 (float) and 14 (bf16) ---------------------------------------------------------
int cublasCreate_v2(void** h) { *h = (void*)1; return 0; }
int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const float* alpha, const void* a, int at, int lda, long long sa, const void* b, int bt,
                               int ldb, long long sb, const float* beta, void* c, int ct, int ldc, long long sc, int batch, int computes, int) {
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return refuse("rows of a matrix that overlap"), 7;
    counts[1]++;
    auto get = [computes](const void* p, int type, long long i) {
        if (type == 14) return widen(((const bf16*)p)[i]);
        float x = ((const float*)p)[i];
        return computes == 77 ? __uint_as_float(((uint32_t&)x + 0x1000) & ~0x1fff) : x; // tf32
    };
    for (int l = 0; l < batch; l++)
        for (int j = 0; j < n; j++)
            for (int i = 0; i < m; i++) {
                float sum = 0;
                for (long long x = 0; x < k; x++) sum += get(a, at, l * sa + (ta ? x + (long long)i * lda : i + x * lda)) * get(b, bt, l * sb + (tb ? j + x * ldb : x + (long long)j * ldb));
                long long o = l * sc + i + (long long)j * ldc;
                sum = *alpha * sum + (*beta ? *beta * get(c, ct, o) : 0);
                if (ct == 14) ((bf16*)c)[o] = to_bf16(sum); else ((float*)c)[o] = sum;
            }
    return 0;
}
}
