// The update and the gradient norm of nodes/compute/adamw.rs. All parameters are handled by one
// launch, whose blocks each have a chunk of 2^15 numbers of one of them.
#define CHUNK_NUMBERS ((size_t)1 << 15)

struct Rule { float b1, b2, c1, c2, keep, rate, correction, eps; };
// A gradient, whose first chunk has this number among all.
struct Gradient { size_t first; const float* g; size_t n; };
// A parameter and what changes it, as adamw/cuda.rs writes it. copy, the weights in bf16, may be
// absent.
struct Update {
    size_t first;
    float *w, *m, *v;
    const float* g;
    bf16* copy;
    size_t n;
    Rule rule;
    float factor, unused;
};

// Returns which of the entries, ordered by their first chunks, has the chunk of this block.
template <class Entry>
__device__ __forceinline__ Entry entry_of_block(const Entry* entries, size_t count) {
    size_t low = 0, high = count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (entries[middle].first <= blockIdx.x) low = middle; else high = middle;
    }
    return entries[low];
}

// Updates weights w and their moments m and v by the gradients g times factor. Grid (chunks).
KERNEL(adamw, (const Update* updates, size_t count)) {
    Update at = entry_of_block(updates, count);
    Rule rule = at.rule;
    size_t from = (blockIdx.x - at.first) * CHUNK_NUMBERS;
    for (size_t i = from + IN_BLOCK; i < at.n && i < from + CHUNK_NUMBERS; i += 256) {
        float x = at.g[i] * at.factor;
        float m = rule.b1 * at.m[i] + rule.c1 * x;
        float v = rule.b2 * at.v[i] + rule.c2 * x * x;
        float w = at.w[i] * rule.keep - rule.rate * m / (sqrtf(v) * rule.correction + rule.eps);
        at.m[i] = m;
        at.v[i] = v;
        at.w[i] = w;
        if (at.copy) narrow(at.copy + i, w);
    }
}

// parts[chunk] = the sum of squares of a chunk. Grid (chunks).
KERNEL(squares, (const Gradient* gradients, double* parts, size_t count)) {
    Gradient at = entry_of_block(gradients, count);
    size_t from = (blockIdx.x - at.first) * CHUNK_NUMBERS;
    double sum = 0;
    for (size_t i = from + IN_BLOCK; i < at.n && i < from + CHUNK_NUMBERS; i += 256)
        sum += (double)at.g[i] * at.g[i];
    sum = block_sum(sum);
    if (IN_BLOCK == 0) parts[blockIdx.x] = sum;
}
