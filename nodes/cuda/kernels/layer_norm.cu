// nodes/op/layer_norm.rs. A warp a row; stats (rows, 2) are its mean and 1 / sqrt(variance + eps), over `over` channels, of
// which those beyond the width are zero.

template <int V> __device__ void layer_norm(const float* x, const float* gamma, const float* beta, float* y, float* stats, size_t rows, size_t width, size_t over, float eps) {
    size_t row = WARP;
    if (row >= rows) return;
    x += row * width;
    y += row * width;
    float v[V], g[V], b[V], sum = 0, squares = 0;
    ALONG(column, width) {
        load<V>(x + column, v);
#pragma unroll
        for (int i = 0; i < V; i++) sum += v[i];
    }
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
        store<V>(y + column, v);
    }
}

// dx += rstd (a - (sum a + dp) / over - n (sum(a n) + p dp) / over), a = dy gamma, n the normalised row, p = -mean rstd.
template <int V> __device__ void layer_norm_backward(const float* dy, const float* x, const float* stats, const float* gamma, const float* dp, float* dx, size_t rows, size_t width, size_t over) {
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
        for (int i = 0; i < V; i++) { sum += d[i] * g[i]; along += d[i] * g[i] * (v[i] - mean) * rstd; }
    }
    float outer = dp ? dp[row] : 0;
    sum = (warp_sum(sum) + outer) / over;
    along = (warp_sum(along) - mean * rstd * outer) / over;
    ALONG(column, width) {
        load<V>(dy + column, d);
        load<V>(x + column, v);
        load<V>(gamma + column, g);
#pragma unroll
        for (int i = 0; i < V; i++) d[i] = rstd * (d[i] * g[i] - sum - (v[i] - mean) * rstd * along);
        accumulate<V>(dx + row * width + column, d);
    }
}

// Parts of dgamma = sum of dy n and dbeta = sum of dy.
template <int V> __device__ void layer_norm_sums(const float* dy, const float* x, const float* stats, float* dgamma, float* dbeta, size_t rows, size_t width, size_t per) {
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

#define LAYER_NORM(V) \
    KERNEL(layer_norm_##V, (const float* x, const float* gamma, const float* beta, float* y, float* stats, size_t rows, size_t width, size_t over, float eps)) { layer_norm<V>(x, gamma, beta, y, stats, rows, width, over, eps); } \
    KERNEL(layer_norm_backward_##V, (const float* dy, const float* x, const float* stats, const float* gamma, const float* dp, float* dx, size_t rows, size_t width, size_t over)) { layer_norm_backward<V>(dy, x, stats, gamma, dp, dx, rows, width, over); } \
    KERNEL(layer_norm_sums_##V, (const float* dy, const float* x, const float* stats, float* dgamma, float* dbeta, size_t rows, size_t width, size_t per)) { layer_norm_sums<V>(dy, x, stats, dgamma, dbeta, rows, width, per); }
WIDTHS(LAYER_NORM)

// p = -mean rstd
KERNEL(shares_of_mean, (const float* stats, float* p, size_t rows)) {
    size_t row = THREAD;
    if (row < rows) p[row] = -stats[2 * row] * stats[2 * row + 1];
}
