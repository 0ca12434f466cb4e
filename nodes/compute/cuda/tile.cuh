// Products of one warp with rows in shared memory. A row has D numbers of T and 16 bytes of
// padding, which keep rows in different banks. A product of 16 x 8 lies in the lanes as
// mma.m16n8k16 leaves it: a lane has rows DOWN (c[0], c[1]) and DOWN + 8 (c[2], c[3]), of each the
// columns ACROSS and ACROSS + 1. bf16 is multiplied by the tensor cores, float by ordinary
// instructions.
#pragma once
#define DOWN (threadIdx.x / 4)
#define ACROSS (threadIdx.x % 4 * 2)
#define STRIDE (D + 16 / (int)sizeof(T))

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic[];

// Loads four squares of 8 x 8: the lanes 8 i to 8 i + 7 point to the rows of square i. A lane gets
// two neighbours of row DOWN of each.
__device__ __forceinline__ void fragments(unsigned (&x)[4], const bf16* row) {
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
        : "r"((unsigned)__cvta_generic_to_shared(row))
        : "memory");
}
// Loads the transposed squares.
__device__ __forceinline__ void transposed_fragments(unsigned (&x)[4], const bf16* row) {
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
        : "r"((unsigned)__cvta_generic_to_shared(row))
        : "memory");
}
// c (16, 8) += a (16, 16) b (16, 8)
__device__ __forceinline__ void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                    unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Returns two numbers in bf16, the first in the lower half.
__device__ __forceinline__ unsigned pair(float low, float high) {
    unsigned x;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
    return x;
}
#endif

// c (16, N) += a (16, D) bᵀ, where b is (N, D).
template <int D, int N>
__device__ __forceinline__ void multiply_transposed(const bf16* a, const bf16* b,
                                                    float (&c)[N / 8][4]) {
    typedef bf16 T;
    const int lane = threadIdx.x;
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        unsigned x[4], y[4];
        fragments(x, a + lane % 16 * STRIDE + k + lane / 16 * 8);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            fragments(y, b + (n + lane / 16 * 8 + lane % 8) * STRIDE + k + lane / 8 % 2 * 8);
            mma(c[n / 8], x, y[0], y[1]);
            mma(c[n / 8 + 1], x, y[2], y[3]);
        }
    }
}
template <int D, int N>
__device__ __forceinline__ void multiply_transposed(const float* a, const float* b,
                                                    float (&c)[N / 8][4]) {
    typedef float T;
#pragma unroll 1
    for (int k = 0; k < D; k += 4) {
        float x[2][4], y[4];
        load<4>(a + DOWN * STRIDE + k, x[0]);
        load<4>(a + (DOWN + 8) * STRIDE + k, x[1]);
#pragma unroll
        for (int n = 0; n < N / 4; n++) {
            load<4>(b + (n / 2 * 8 + ACROSS + n % 2) * STRIDE + k, y);
#pragma unroll
            for (int i = 0; i < 8; i++) c[n / 2][i / 4 * 2 + n % 2] += x[i / 4][i % 4] * y[i % 4];
        }
    }
}

// c (16, D) += a (16, N) b, where a lies in the lanes as a product does, and b is (N, D).
template <int D, int N>
__device__ __forceinline__ void multiply(const float (&a)[N / 8][4], const bf16* b,
                                         float (&c)[D / 8][4]) {
    typedef bf16 T;
    const int lane = threadIdx.x;
#pragma unroll
    for (int n = 0; n < N; n += 16) {
        const float(&left)[4] = a[n / 8], (&right)[4] = a[n / 8 + 1];
        unsigned x[4] = {pair(left[0], left[1]), pair(left[2], left[3]), pair(right[0], right[1]),
                         pair(right[2], right[3])};
        unsigned y[4];
#pragma unroll
        for (int d = 0; d < D; d += 16) {
            transposed_fragments(y, b + (n + lane % 16) * STRIDE + d + lane / 16 * 8);
            mma(c[d / 8], x, y[0], y[1]);
            mma(c[d / 8 + 1], x, y[2], y[3]);
        }
    }
}
template <int D, int N>
__device__ __forceinline__ void multiply(const float (&a)[N / 8][4], const float* b,
                                         float (&c)[D / 8][4]) {
    typedef float T;
#pragma unroll
    for (int n = 0; n < N; n++) {
        const int from = (threadIdx.x & ~3) + n % 8 / 2;
        float upper = __shfl_sync(~0u, a[n / 8][n % 2], from);
        float lower = __shfl_sync(~0u, a[n / 8][2 + n % 2], from), x[2];
#pragma unroll
        for (int d = 0; d < D / 8; d++) {
            load<2>(b + n * STRIDE + d * 8 + ACROSS, x);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                c[d][i] += upper * x[i];
                c[d][2 + i] += lower * x[i];
            }
        }
    }
}

// Return the sum, or the largest, of the numbers of the four lanes that share a row to all four.
__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
