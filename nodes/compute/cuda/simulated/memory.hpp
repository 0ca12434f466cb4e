// libcuda: memory of the device's pool, pinned memory, fills and copies.
static std::atomic<size_t> used, most;
static thread_local size_t used_here, most_here;
uint64_t simulated_peak_of_thread() { return most_here; }

// A block is preceded by 256 bytes, of which the first hold its size.
int cuMemAllocAsync(Pointer* p, size_t n, void*) {
    counts[3]++;
    size_t now = used += n;
    for (size_t before = most; before < now && !most.compare_exchange_weak(before, now);) {}
    most_here = std::max(most_here, used_here += n);
    size_t* block = (size_t*)aligned_alloc(256, (n + 511) / 256 * 256);
    *block = n;
    *p = (Pointer)block + 256;
    memset((void*)*p, 0xff, n);
    return 0;
}
int cuMemFreeAsync(Pointer p, void*) {
    size_t* block = (size_t*)(p - 256);
    if (awaited(p, *block)) return refuse("to free what a copy is on its way to");
    memset((void*)p, 0xff, *block);
    used -= *block;
    used_here -= *block;
    free(block);
    return 0;
}
// The attributes that are used are the most bytes in use (8) and the bytes that a pool keeps.
int cuMemPoolGetAttribute(void*, int, uint64_t* bytes) { *bytes = most; return 0; }
int cuMemPoolSetAttribute(void*, int attribute, void*) {
    if (attribute == 8) most = size_t(used);
    return 0;
}
int cuMemsetD8Async(Pointer p, unsigned char x, size_t n, void*) {
    counts[2]++;
    memset((void*)p, x, n);
    return 0;
}

int cuMemHostAlloc(void** p, size_t n, unsigned) {
    *p = malloc(n);
    memset(*p, 0xff, n);
    return *p ? 0 : 2;
}
int cuMemFreeHost(void* p) { free(p); return 0; }
int cuMemcpyHtoDAsync_v2(Pointer p, const void* q, size_t n, Stream* s) {
    counts[4]++;
    if (s) s->copies.push_back({p, q, n}); else memcpy((void*)p, q, n);
    return 0;
}
int cuMemcpyHtoD_v2(Pointer p, const void* q, size_t n) { memcpy((void*)p, q, n); return 0; }
int cuMemcpyDtoHAsync_v2(void* q, Pointer p, size_t n, void*) {
    counts[4]++;
    memcpy(q, (void*)p, n);
    return 0;
}
int cuMemcpyDtoH_v2(void* q, Pointer p, size_t n) { memcpy(q, (void*)p, n); return 0; }
int cuMemcpyDtoDAsync_v2(Pointer p, Pointer q, size_t n, void*) {
    memcpy((void*)p, (void*)q, n);
    return 0;
}

// Calls for devices without memory pools. This one has a pool.
int cuMemAlloc_v2() { return refuse("memory without a pool"); }
int cuMemFree_v2() { return refuse("memory without a pool"); }
int cuMemsetD8_v2() { return refuse("memory without a pool"); }
int cuMemcpyDtoD_v2() { return refuse("memory without a pool"); }
