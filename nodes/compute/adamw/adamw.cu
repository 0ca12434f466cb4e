// The update and the gradient norm of nodes/compute/adamw.rs.
struct Rule { float b1, b2, c1, c2, keep, rate, correction, eps; };

// Updates n weights w and their moments m and v by the gradient g times factor. copy, the weights
// in bf16, may be absent. A thread for each weight; grid (n / 256).
KERNEL(adamw, (float* w, float* m, float* v, const float* g, bf16* copy, size_t n, float factor,
               Rule rule)) {
    size_t i = THREAD;
    if (i >= n) return;
    float x = g[i] * factor;
    m[i] = rule.b1 * m[i] + rule.c1 * x;
    v[i] = rule.b2 * v[i] + rule.c2 * x * x;
    w[i] = w[i] * rule.keep - rule.rate * m[i] / (sqrtf(v[i]) * rule.correction + rule.eps);
    if (copy) narrow(copy + i, w[i]);
}

// parts[chunk] = the sum of squares of a chunk of 2^15 numbers. Grid (chunks).
KERNEL(squares, (const float* g, double* parts, size_t n)) {
    size_t from = blockIdx.x * (size_t)(1 << 15);
    double sum = 0;
    for (size_t i = from + IN_BLOCK; i < n && i < from + (1 << 15); i += 256)
        sum += (double)g[i] * g[i];
    sum = block_sum(sum);
    if (IN_BLOCK == 0) parts[blockIdx.x] = sum;
}
