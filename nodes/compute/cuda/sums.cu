// Sums over rows, in a fixed order: first each block sums `per` rows into a row of parts (blocks,
// width), then a block for 32 columns adds the parts. Grid (width / 32 V, blocks).

// The column of a thread, and the rows that its warp sums.
#define COLUMN ((blockIdx.x * (size_t)32 + threadIdx.x) * V)
#define ROWS(row, rows, per) \
    for (size_t row = blockIdx.y * per + threadIdx.y; \
         row < (rows) && row < (blockIdx.y + 1) * per; row += 8)

// Writes the sums of the eight warps, added in their order, to a row of parts. All threads of the
// block call it.
template <int V>
__device__ void part(float* parts, size_t width, const float (&sum)[V]) {
    __shared__ float warps[8][32 * V];
#pragma unroll
    for (int i = 0; i < V; i++) warps[threadIdx.y][threadIdx.x * V + i] = sum[i];
    __syncthreads();
    if (threadIdx.y == 0 && COLUMN < width)
        for (int i = 0; i < V; i++) {
            float total = 0;
            for (int warp = 0; warp < 8; warp++) total += warps[warp][threadIdx.x * V + i];
            parts[blockIdx.y * width + COLUMN + i] = total;
        }
    __syncthreads();
}

// Writes parts of the column sums of x (rows, width).
template <class T, int V>
KERNEL(column_sums, (const T* x, float* parts, size_t rows, size_t width, size_t per)) {
    float sum[V] = {}, from[V];
    if (COLUMN < width) ROWS(row, rows, per) {
        load<V>(x + row * width + COLUMN, from);
#pragma unroll
        for (int i = 0; i < V; i++) sum[i] += from[i];
    }
    part<V>(parts, width, sum);
}

// Where sums go; only as many are read as there are sums.
struct SumTargets { float *first, *second, *third; };

// to (columns) += the sum over parts (targets, count, width) of the first columns, for each target.
// A block for 32 columns, of which each warp adds every eighth part; grid (columns / 32, targets).
KERNEL(add_parts, (const float* parts, SumTargets to, size_t count, size_t width,
                   size_t columns)) {
    __shared__ float warps[8][32];
    size_t column = blockIdx.x * (size_t)32 + threadIdx.x;
    float sum = 0;
    parts += blockIdx.y * count * width + column;
    if (column < columns) {
#pragma unroll 4
        for (size_t part = threadIdx.y; part < count; part += 8) sum += parts[part * width];
    }
    warps[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int warp = 1; warp < 8; warp++) sum += warps[warp][threadIdx.x];
    float* target = blockIdx.y == 0 ? to.first : blockIdx.y == 1 ? to.second : to.third;
    target[column] += sum;
}

// to (rows) = the dot products of the rows of a and b (rows, width). A warp for each row; grid
// (rows / 8).
template <int V>
KERNEL(dots, (const float* a, const float* b, float* to, size_t rows, size_t width)) {
    size_t row = WARP;
    if (row >= rows) return;
    float x[V], y[V], sum = 0;
    ALONG(column, width) {
        load<V>(a + row * width + column, x);
        load<V>(b + row * width + column, y);
#pragma unroll
        for (int i = 0; i < V; i++) sum += x[i] * y[i];
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0) to[row] = sum;
}

// Returns the sum over the threads of a block, in their order, to the first of them. All threads of
// the block call it.
__device__ __forceinline__ double block_sum(double sum) {
    __shared__ double threads[256];
    threads[IN_BLOCK] = sum;
    __syncthreads();
    if (IN_BLOCK == 0) for (int i = 1; i < 256; i++) sum += threads[i];
    return sum;
}

// to (1) += factor times the sum of n numbers, in double. Grid (1).
KERNEL(add_sum, (const float* numbers, float* to, size_t n, double factor)) {
    double sum = 0;
    for (size_t i = IN_BLOCK; i < n; i += 256) sum += numbers[i];
    sum = block_sum(sum);
    if (IN_BLOCK == 0) *to += sum * factor;
}
