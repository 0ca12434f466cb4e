// libcuda: devices, kernels, streams and events.
typedef uint64_t Pointer;
static std::set<void*> large_shared; // kernels that may have more than 48 KiB of shared memory

int cuModuleGetFunction(void** f, void*, const char* name) {
    auto found = kernels.find(name);
    if (found == kernels.end()) return refuse(name), 500;
    *f = (void*)found->second;
    return 0;
}
// Attribute 8, the size of dynamic shared memory, is the only one that is used.
int cuFuncSetAttribute(void* f, int attribute, int) {
    return large_shared.insert(f), attribute != 8;
}
int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void*, void** p, void**) {
    if (shared > sizeof dynamic || shared > (48 << 10) && !large_shared.count(f))
        return refuse("so much shared memory"), 1;
    if (!gx || !gy || gy > 65535 || bx != 32 || by != 8 || gz * bz != 1)
        return refuse("the shape of a grid");
    counts[0]++;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    running = (Kernel)f;
    arguments = p;
    for (Fiber& fiber : fibers) if (fiber.stack.empty()) prepare(fiber);
    gridDim = {gx, gy, 1};
    for (size_t block = 0; block < (size_t)gx * gy; block++) {
        memset(dynamic, 0xff, shared);
        blockIdx = {unsigned(block % gx), unsigned(block / gx), 0};
        run_block();
    }
    return 0;
}

// Work on the null stream is done at once. On other streams, each of one thread, a copy waits until
// something waits for it.
struct Copy { Pointer to; const void* from; size_t n; };
struct Stream { std::vector<Copy> copies; size_t done; Stream* before; };
static thread_local Stream* streams; // the newest stream, a list through `before`
struct Event { Stream* stream; size_t after; };
static int reach(Stream* stream, size_t after) {
    for (; stream && stream->done < after; stream->done++) {
        Copy& copy = stream->copies[stream->done];
        memcpy((void*)copy.to, copy.from, copy.n);
    }
    return 0;
}
// Returns whether a copy into these bytes has not been made.
static bool awaited(Pointer p, size_t n) {
    for (Stream* s = streams; s; s = s->before)
        for (size_t i = s->done; i < s->copies.size(); i++)
            if (s->copies[i].to - p < n) return true;
    return false;
}
int cuStreamCreate(void** s, unsigned) { *s = streams = new Stream{{}, 0, streams}; return 0; }
int cuStreamDestroy_v2(Stream* s) { return reach(s, s->copies.size()); }
int cuStreamSynchronize(Stream* s) { return s ? reach(s, s->copies.size()) : 0; }
int cuStreamWaitEvent(void*, Event* e, unsigned) { return reach(e->stream, e->after); }
int cuEventCreate(void** e, unsigned) { *e = new Event(); return 0; }
int cuEventDestroy_v2(Event* e) { delete e; return 0; }
int cuEventRecord(Event* e, Stream* s) { *e = {s, s ? s->copies.size() : 0}; return 0; }
int cuEventSynchronize(Event* e) { return reach(e->stream, e->after); }

int cuDeviceGetAttribute(int* v, int, int) { *v = 1; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int) { *c = (void*)1; return 0; }
int cuDeviceGet(int* d, int) { *d = 0; return 0; }
int cuDeviceGetCount(int* n) { *n = 2; return 0; } // the second is the first by another number
int cuDeviceGetDefaultMemPool(void** p, int) { *p = (void*)1; return 0; }
int cuModuleLoadDataEx(void** m, const void*, unsigned, void*, void**) {
    return *m = (void*)1, 0;
}
int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuGetErrorString(int, const char** text) {
    *text = "refused by the simulated GPU";
    return 0;
}
// Calls of dfdx and cudarc that need not do anything.
#define DONE(name) int name() { return 0; }
DONE(cuInit)
DONE(cuCtxSetCurrent)
DONE(cuCtxSynchronize)
DONE(cuDevicePrimaryCtxRelease_v2)
DONE(cuModuleUnload)
DONE(cublasSetStream_v2)
DONE(cublasSetMathMode)
DONE(cublasDestroy_v2)
