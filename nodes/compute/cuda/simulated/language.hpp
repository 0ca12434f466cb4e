// CUDA C++ as C++, and the tensor cores.
alignas(16) static unsigned char dynamic[227 << 10]; // shared memory
static std::map<std::string, Kernel> kernels;
template <class... A, size_t... I>
static void call(void (*f)(A...), void** p, std::index_sequence<I...>) { f(*(A*)p[I]...); }
template <class... A> static void call(void (*f)(A...), void** p) {
    call(f, p, std::index_sequence_for<A...>());
}
#define ENTRY(bounds, name, parameters) \
    static void name parameters; \
    static bool name##_is_known = \
        kernels.emplace(#name, [](void** p) { call(name, p); }).second; \
    static void name parameters
#define __device__
#define __forceinline__ inline
#define __shared__ static
static float __uint_as_float(unsigned x) { float y; memcpy(&y, &x, 4); return y; }
static unsigned short to_bf16(float x) {
    unsigned b;
    memcpy(&b, &x, 4);
    return (b + 0x7fff + (b >> 16 & 1)) >> 16;
}
#define NARROW(to, x) to = to_bf16(x)
#define CHECK_ALIGNED(address, bytes) check_aligned(address, bytes)
static void check_aligned(const void* address, size_t bytes) {
    if ((uintptr_t)address % bytes == 0) return;
    fprintf(stderr, "an access of %zu bytes at %p is not aligned\n", bytes, address);
    abort();
}
static float __fdividef(float x, float y) { return x / y; }
using std::min, std::max;

// The loads and the product of tile.cuh. A lane has, of square i of 8 x 8, row lane / 4 and there
// the two numbers from 2 (lane % 4) on.
static uint64_t rows[256];       // what each lane points to
static uint32_t factors[256][6]; // each lane's numbers of both factors
typedef unsigned short Row;
static void fragments(unsigned (&x)[4], const Row* row) {
    rows[current] = (uint64_t)row;
    yield();
    uint64_t* warp = rows + current / 32 * 32;
    for (int i = 0; i < 4; i++)
        memcpy(&x[i], (Row*)warp[8 * i + current % 32 / 4] + current % 4 * 2, 4);
    yield();
}
static void transposed_fragments(unsigned (&x)[4], const Row* row) {
    rows[current] = (uint64_t)row;
    yield();
    unsigned column = current % 32 / 4;
    for (int i = 0; i < 4; i++) {
        uint64_t* square = rows + current / 32 * 32 + 8 * i + current % 4 * 2;
        x[i] = ((Row*)square[0])[column] | (unsigned)((Row*)square[1])[column] << 16;
    }
    yield();
}
static float half(unsigned x, int which) {
    return __uint_as_float(which ? x & 0xffff0000 : x << 16);
}
static void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    std::copy(a, a + 4, factors[current]);
    factors[current][4] = b0;
    factors[current][5] = b1;
    yield();
    auto warp = factors + current / 32 * 32;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 16; k++) {
            unsigned left = warp[current % 32 / 4 * 4 + k % 8 / 2][i / 2 + k / 8 * 2];
            unsigned right = warp[(current % 4 * 2 + i % 2) * 4 + k % 8 / 2][4 + k / 8];
            c[i] += half(left, k % 2) * half(right, k % 2);
        }
    yield();
}
static unsigned pair(float low, float high) {
    return to_bf16(low) | (unsigned)to_bf16(high) << 16;
}
