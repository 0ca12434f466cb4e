// nodes/compute/op/layer_norm.rs. A warp a row; stats (rows, 2) are its mean and 1 / sqrt(variance + eps), over `over` channels, of
// which those beyond the width are zero.

// What is added to x first, r + bias through dropout, and where the sum goes, which is normed then. r may be absent.
template <class T> struct Added { const T* r; const float* bias; float* sum; Mask mask; };

// y, and in bf16 the operand of the products that read it; either may be absent.
template <class T, int V> KERNEL(layer_norm, (const float* x, Added<T> added, const float* gamma, const float* beta, float* y, bf16* operand, float* stats, size_t rows, size_t width, size_t over, float eps)) {
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
    x = (added.r ? added.sum : x) + first; // a lane reads what it has written
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

// Where something was added dr = drop(what dx gets).
// dx += rstd (a - (sum a + dp) / over - n (sum(a n) + p dp) / over), a = dy gamma, n the normalised row, p = -mean rstd.
template <class T, int V> KERNEL(layer_norm_backward, (const float* dy, const float* x, const float* stats, const float* gamma, const float* dp, float* dx, T* dr, Mask mask, size_t rows, size_t width, size_t over)) {
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
        if (!dr) continue;
#pragma unroll
        for (int i = 0; i < V; i++) d[i] *= drop(mask, row * width + column + i);
        store<V>(dr + row * width + column, d);
    }
}

// Parts of dgamma = sum of dy n and dbeta = sum of dy.
template <int V> KERNEL(layer_norm_sums, (const float* dy, const float* x, const float* stats, float* dgamma, float* dbeta, size_t rows, size_t width, size_t per)) {
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


// p = -mean rstd
KERNEL(shares_of_mean, (const float* stats, float* p, size_t rows)) {
    size_t row = THREAD;
    if (row < rows) p[row] = -stats[2 * row] * stats[2 * row + 1];
}
