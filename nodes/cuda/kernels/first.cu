// nodes/op/conv_first.rs: u = conv(waveform, w), z = its group norm over a row's windows, whose statistics follow from the
// moments of the windows. In double: they are small differences. Row r has the samples from starts[r] and the windows from
// windows[r] to windows[r + 1]; ROW is blockIdx.y.
struct Waves { const size_t *starts, *windows; size_t k, s; };
#define WINDOWS(row) (at.windows[(row) + 1] - at.windows[row])

// moments (rows, k + k k): the means of window[i], and of window[i] window[j]. A block a number; grid (k + k k, rows).
KERNEL(window_moments, (const float* x, double* moments, Waves at)) {
    size_t k = at.k, n = WINDOWS(ROW), number = blockIdx.x;
    size_t i = number < k ? number : (number - k) / k, j = (number - k) % k;
    double sum = 0;
    for (size_t t = IN_BLOCK; t < n; t += 256) {
        const float* window = x + at.starts[ROW] + t * at.s;
        sum += number < k ? (double)window[i] : (double)window[i] * window[j];
    }
    sum = block_sum(sum);
    if (IN_BLOCK == 0) moments[ROW * (k + k * k) + number] = n ? sum / n : 0;
}

// stats (rows, out, 2 + k): mean u, r = 1 / sqrt(var u + eps), C w. z = scaled (rows, k, out) window + shift (rows, out).
// A thread a channel; grid (out / 256, rows).
KERNEL(first_stats, (const float* w, const float* gamma, const float* beta, const double* moments, double* stats, float* scaled, float* shift, size_t out, Waves at)) {
    size_t c = THREAD, k = at.k;
    if (c >= out) return;
    const double *mean = moments + ROW * (k + k * k), *square = mean + k;
    double *own = stats + (ROW * out + c) * (2 + k), middle = 0, variance = 0;
    w += c * k;
    for (size_t i = 0; i < k; i++) {
        double along = 0;
        for (size_t j = 0; j < k; j++) along += (square[i * k + j] - mean[i] * mean[j]) * w[j];
        own[2 + i] = along;
        middle += w[i] * mean[i];
        variance += w[i] * along;
    }
    double rstd = 1 / sqrt((variance > 0 ? variance : 0) + 1e-5), factor = gamma[c] * rstd;
    own[0] = middle;
    own[1] = rstd;
    for (size_t i = 0; i < k; i++) scaled[(ROW * k + i) * out + c] = w[i] * factor;
    shift[ROW * out + c] = beta[c] - middle * factor;
}

// A warp a window; grid (most windows / 8, rows).
template <int V> __device__ void first(const float* x, const float* scaled, const float* shift, float* z, size_t out, Waves at) {
    size_t t = WARP;
    if (t >= WINDOWS(ROW)) return;
    const float* window = x + at.starts[ROW] + t * at.s;
    float sum[V], w[V];
    ALONG(column, out) {
        load<V>(shift + ROW * out + column, sum);
        for (size_t i = 0; i < at.k; i++) {
            load<V>(scaled + (ROW * at.k + i) * out + column, w);
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] += w[v] * window[i];
        }
        store<V>(z + (at.windows[ROW] + t) * out + column, sum);
    }
}

// Parts (k + 1, rows chunks, out) of the sums of dz window[i], and, last, of dz. Grid (out / 32 V, rows chunks).
#define TAPS 16
template <int V> __device__ void first_sums(const float* dz, const float* x, float* parts, size_t out, size_t rows, size_t chunks, Waves at) {
    size_t row = blockIdx.y / chunks, n = WINDOWS(row), per = (n + chunks - 1) / chunks, begin = blockIdx.y % chunks * per;
    float d[V];
    for (size_t from = 0; from <= at.k; from += TAPS) {
        float sum[TAPS][V] = {};
        if (COLUMN < out) for (size_t t = begin + threadIdx.y; t < n && t < begin + per; t += 8) {
            load<V>(dz + (at.windows[row] + t) * out + COLUMN, d);
            const float* window = x + at.starts[row] + t * at.s + from;
#pragma unroll
            for (int i = 0; i < TAPS; i++) {
                float sample = from + i < at.k ? window[i] : 1;
#pragma unroll
                for (int v = 0; v < V; v++) sum[i][v] += d[v] * sample;
            }
        }
#pragma unroll
        for (int i = 0; i < TAPS; i++) if (from + i <= at.k) part<V>(parts + (from + i) * rows * chunks * out, out, sum[i]);
    }
}

#define FIRST_CONVOLUTION(V) \
    KERNEL(first_##V, (const float* x, const float* scaled, const float* shift, float* z, size_t out, Waves at)) { first<V>(x, scaled, shift, z, out, at); } \
    KERNEL(first_sums_##V, (const float* dz, const float* x, float* parts, size_t out, size_t rows, size_t chunks, Waves at)) { first_sums<V>(dz, x, parts, out, rows, chunks, at); }
WIDTHS(FIRST_CONVOLUTION)

// sums (k + 1, rows, out) of parts; grid (out / 256, (k + 1) rows).
KERNEL(fold_chunks, (const float* parts, double* sums, size_t out, size_t chunks)) {
    size_t c = THREAD;
    if (c >= out) return;
    double sum = 0;
    for (size_t chunk = 0; chunk < chunks; chunk++) sum += parts[(blockIdx.y * chunks + chunk) * out + c];
    sums[blockIdx.y * out + c] = sum;
}

// A thread a channel.
KERNEL(first_gradient, (const double* sums, const double* moments, const double* stats, const float* w, const float* gamma, float* dw, float* dgamma, float* dbeta, size_t out, size_t rows, Waves at)) {
    size_t c = THREAD, k = at.k;
    if (c >= out) return;
    for (size_t row = 0; row < rows; row++) {
        const double *mean = moments + row * (k + k * k), *own = stats + (row * out + c) * (2 + k);
        double product = 0, total = sums[(k * rows + row) * out + c];
        for (size_t i = 0; i < k; i++) product += w[c * k + i] * sums[(i * rows + row) * out + c];
        double pull = own[1] * (product - own[0] * total), factor = gamma[c] * own[1];
        dgamma[c] += pull;
        dbeta[c] += total;
        for (size_t i = 0; i < k; i++) dw[c * k + i] += factor * (sums[(i * rows + row) * out + c] - total * mean[i] - own[1] * pull * own[2 + i]);
    }
}
