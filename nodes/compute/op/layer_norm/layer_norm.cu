// nodes/compute/op/layer_norm.rs on x (rows, width). The norm is over `over` channels, of which
// those from `width` on are zero. stats (rows, 2) are the mean and 1 / sqrt(variance + eps) of each
// row. A warp for each row, grid (rows / 8), unless said otherwise.

// The input of a norm besides x. The sum x + drop(r + bias), with bias (width), is written to `sum`
// and normalised. r may be absent: then x is normalised, and the other fields are not read.
template <class T> struct Added { const T* r; const float* bias; float* sum; Mask mask; };

// Writes the normalised rows times gamma plus beta to y, and in bf16 to `operand`, which the GEMMs
// read that take y. y and operand may be absent.
template <class T, int V>
KERNEL(layer_norm, (const float* x, Added<T> added, const float* gamma, const float* beta, float* y,
                    bf16* operand, float* stats, size_t rows, size_t width, size_t over,
                    float eps)) {
    size_t row = WARP, first = row * width;
    if (row >= rows) return;
    float v[V], g[V], b[V], sum = 0, squares = 0;
    ALONG(column, width) {
        size_t at = first + column;
        load<V>(x + at, v);
        if (added.r) {
            load<V>(added.r + at, g);
            load<V>(added.bias + column, b);
#pragma unroll
            for (int i = 0; i < V; i++) v[i] += (g[i] + b[i]) * drop(added.mask, at + i);
            store<V>(added.sum + at, v);
        }
#pragma unroll
        for (int i = 0; i < V; i++) sum += v[i];
    }
    x = (added.r ? added.sum : x) + first; // each lane reads what it has written itself
    float mean = warp_sum(sum) / over;
    ALONG(column, width) {
        load<V>(x + column, v);
#pragma unroll
        for (int i = 0; i < V; i++) squares += (v[i] - mean) * (v[i] - mean);
    }
    float rstd = 1 / sqrtf((warp_sum(squares) + (over - width) * mean * mean) / over + eps);
    if (threadIdx.x == 0) { stats[2 * row] = mean; stats[2 * row + 1] = rstd; }
    ALONG(column, width) {
        load<V>(x + column, v);
        load<V>(gamma + column, g);
        load<V>(beta + column, b);
#pragma unroll
        for (int i = 0; i < V; i++) v[i] = (v[i] - mean) * rstd * g[i] + b[i];
        if (y) store<V>(y + first + column, v);
        if (operand) store<V>(operand + first + column, v);
    }
}

// dx += rstd (a - (sum a + dp) / over - n (sum(a n) + p dp) / over), with a = dy gamma, n the
// normalised row and p = -mean rstd; x is what was normalised. dp (rows), the gradient of p, may be
// absent. dr, the gradient of r, is the increase of dx through the mask; it may be absent.
template <class T, int V>
KERNEL(layer_norm_backward, (const float* dy, const float* x, const float* stats,
                             const float* gamma, const float* dp, float* dx, T* dr, Mask mask,
                             size_t rows, size_t width, size_t over)) {
    size_t row = WARP;
    if (row >= rows) return;
    dy += row * width;
    x += row * width;
    float mean = stats[2 * row], rstd = stats[2 * row + 1], d[V], v[V], g[V], sum = 0, along = 0;
    ALONG(column, width) {
        load<V>(dy + column, d);
        load<V>(x + column, v);
        load<V>(gamma + column, g);
#pragma unroll
        for (int i = 0; i < V; i++) {
            sum += d[i] * g[i];
            along += d[i] * g[i] * (v[i] - mean) * rstd;
        }
    }
    float outer = dp ? dp[row] : 0;
    sum = (warp_sum(sum) + outer) / over;
    along = (warp_sum(along) - mean * rstd * outer) / over;
    ALONG(column, width) {
        load<V>(dy + column, d);
        load<V>(x + column, v);
        load<V>(gamma + column, g);
#pragma unroll
        for (int i = 0; i < V; i++)
            d[i] = rstd * (d[i] * g[i] - sum - (v[i] - mean) * rstd * along);
        accumulate<V>(dx + row * width + column, d);
        if (!dr) continue;
#pragma unroll
        for (int i = 0; i < V; i++) d[i] *= drop(mask, row * width + column + i);
        store<V>(dr + row * width + column, d);
    }
}

// Writes parts of the column sums dgamma = sum of dy n and dbeta = sum of dy, as in sums.cu. Grid
// (width / 32 V, blocks).
template <int V>
KERNEL(layer_norm_sums, (const float* dy, const float* x, const float* stats, float* dgamma,
                         float* dbeta, size_t rows, size_t width, size_t per)) {
    float gain[V] = {}, shift[V] = {}, d[V], v[V];
    if (COLUMN < width) ROWS(row, rows, per) {
        load<V>(dy + row * width + COLUMN, d);
        load<V>(x + row * width + COLUMN, v);
        float mean = stats[2 * row], rstd = stats[2 * row + 1];
#pragma unroll
        for (int i = 0; i < V; i++) { gain[i] += d[i] * (v[i] - mean) * rstd; shift[i] += d[i]; }
    }
    part<V>(dgamma, width, gain);
    part<V>(dbeta, width, shift);
}

// p (rows) = -mean rstd. A thread for each row; grid (rows / 256).
KERNEL(shares_of_mean, (const float* stats, float* p, size_t rows)) {
    size_t row = THREAD;
    if (row < rows) p[row] = -stats[2 * row] * stats[2 * row + 1];
}
