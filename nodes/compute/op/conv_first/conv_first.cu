// nodes/compute/op/conv_first.rs: u = conv(waveform, w), z = the group norm of u over a row's
// windows. The statistics follow from the moments of the windows; they are small differences, so
// they are in double. w is (out, k), gamma and beta (out). Channels are filled up with zeros to
// `filled` in slots and in scaled and shift. ROW is blockIdx.y.

// Row r of the batch has the samples from starts[r] and the windows from windows[r] on, to the next
// row's.
struct Waves { const size_t *starts, *windows; size_t k, s; };
#define WINDOWS(row) (waves.windows[(row) + 1] - waves.windows[row])

// moments (rows, k + k k) = the means of window[i], and of window[i] window[j], over a row's
// windows. A block for each number; grid (k + k k, rows).
KERNEL(window_moments, (const float* x, double* moments, Waves waves)) {
    size_t k = waves.k, n = WINDOWS(ROW), number = blockIdx.x;
    size_t i = number < k ? number : (number - k) / k, j = (number - k) % k;
    double sum = 0;
    for (size_t t = IN_BLOCK; t < n; t += 256) {
        const float* window = x + waves.starts[ROW] + t * waves.s;
        sum += number < k ? (double)window[i] : (double)window[i] * window[j];
    }
    sum = block_sum(sum);
    if (IN_BLOCK == 0) moments[ROW * (k + k * k) + number] = n ? sum / n : 0;
}

// stats (rows, out, 2 + k) = mean u, r = 1 / sqrt(var u + eps), C w, where C is the covariance of
// windows. scaled (rows, k, filled) and shift (rows, filled) are such that z = scaled window +
// shift. A thread for each channel; grid (filled / 256, rows).
KERNEL(first_stats, (const float* w, const float* gamma, const float* beta, const double* moments,
                     double* stats, float* scaled, float* shift, size_t out, size_t filled,
                     Waves waves)) {
    size_t c = THREAD, k = waves.k;
    if (c >= filled) return;
    if (c >= out) {
        for (size_t i = 0; i < k; i++) scaled[(ROW * k + i) * filled + c] = 0;
        shift[ROW * filled + c] = 0;
        return;
    }
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
    for (size_t i = 0; i < k; i++) scaled[(ROW * k + i) * filled + c] = w[i] * factor;
    shift[ROW * filled + c] = beta[c] - middle * factor;
}

// Windows of a warp; op/conv_first/cuda.rs has the same number.
#define NEIGHBOURS 4
// Computes z of `windows` neighbouring windows, at most F, for V channels; scaled and shift point
// to the first of these channels.
template <int V, int F>
__device__ __forceinline__ void normed(const float* samples, const float* scaled,
                                       const float* shift, size_t filled, const Waves& waves,
                                       size_t windows, float (&z)[F][V]) {
    float w[V];
#pragma unroll
    for (int f = 0; f < F; f++) load<V>(shift, z[f]);
    for (size_t i = 0; i < waves.k; i++) {
        load<V>(scaled + i * filled, w);
#pragma unroll
        for (int f = 0; f < F; f++) {
            float sample = f < windows ? samples[f * waves.s + i] : 0;
#pragma unroll
            for (int v = 0; v < V; v++) z[f][v] += w[v] * sample;
        }
    }
}
#define OF_ROW(row, column) \
    scaled + (row) * waves.k * filled + column, shift + (row) * filled + column, filled, waves

// z (windows, out), from samples x. A warp for NEIGHBOURS windows; grid (longest row's windows / 8
// NEIGHBOURS, rows).
template <int V>
KERNEL(first, (const float* x, const float* scaled, const float* shift, float* z, size_t out,
               size_t filled, Waves waves)) {
    size_t t = WARP * NEIGHBOURS, n = WINDOWS(ROW);
    if (t >= n) return;
    float sum[NEIGHBOURS][V];
    ALONG(column, out) {
        normed<V>(x + waves.starts[ROW] + t * waves.s, OF_ROW(ROW, column), n - t, sum);
#pragma unroll
        for (int f = 0; f < NEIGHBOURS; f++)
            if (t + f < n) store<V>(z + (waves.windows[ROW] + t + f) * out + column, sum[f]);
    }
}

// to = GELU(z) gate in the slots of the next convolution, as into_slots writes them, without z in
// memory; gate (filled) may be absent. Grid (frames of the longest row's slots / 8 NEIGHBOURS, rows).
template <class T, int V>
KERNEL(first_into_slots, (const float* x, const float* scaled, const float* shift,
                          const float* gate, T* to, size_t filled, Waves waves, SlotLayout at)) {
    size_t t = WARP * NEIGHBOURS;
    size_t frames = (at.slots[ROW + 1] - at.slots[ROW]) * at.s, seen = SEEN(at, ROW);
    float z[NEIGHBOURS][V], g[V];
    ALONG(column, filled) {
        if (t < seen)
            normed<V>(x + waves.starts[ROW] + t * waves.s, OF_ROW(ROW, column), seen - t, z);
        if (gate) load<V>(gate + column, g);
#pragma unroll
        for (int f = 0; f < NEIGHBOURS; f++) {
#pragma unroll
            for (int v = 0; v < V; v++)
                z[f][v] = t + f < seen ? gelu(z[f][v]) * (gate ? g[v] : 1) : 0;
            if (t + f < frames)
                store<V>(to + (at.slots[ROW] * at.s + t + f) * filled + column, z[f]);
        }
    }
}

// Writes parts (k + 1, rows chunks, out): the sums of dz window[i] over a chunk of a row's windows,
// and, last, of dz. at.slots may be absent: then d is dz. Else d lies in these slots and is the
// gradient of GELU(z) gate, dz = d gate slope(z), and parts have one more sum, that of d GELU(z).
// `out` are the channels of d: in slots they are filled up, and so is the gate, which may be absent.
// Grid (out / 32 V, rows chunks).
#define TAPS 12
template <class T, int V>
KERNEL(first_sums, (const T* d, const float* gate, const float* x, const float* scaled,
                    const float* shift, float* parts, size_t out, size_t rows, size_t chunks,
                    Waves waves, SlotLayout at)) {
    size_t row = blockIdx.y / chunks, n = at.slots ? SEEN(at, row) : WINDOWS(row);
    size_t per = (n + chunks - 1) / chunks, begin = blockIdx.y % chunks * per;
    size_t k = waves.k, sums = at.slots ? k + 2 : k + 1;
    size_t first = at.slots ? at.slots[row] * at.s : waves.windows[row];
    size_t filled = out; // in slots, where z is computed again
    float dz[V], g[V], along[V] = {}, z[1][V];
    for (size_t from = 0; from < sums; from += TAPS) {
        float sum[TAPS][V] = {};
        if (COLUMN < out) for (size_t t = begin + threadIdx.y; t < n && t < begin + per; t += 8) {
            const float* window = x + waves.starts[row] + t * waves.s;
            load<V>(d + (first + t) * out + COLUMN, dz);
            if (at.slots) {
                normed<V>(window, OF_ROW(row, COLUMN), 1, z);
                if (gate) load<V>(gate + COLUMN, g);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    along[v] = dz[v] * gelu(z[0][v]);
                    dz[v] *= gelu_slope(z[0][v]) * (gate ? g[v] : 1);
                }
            }
#pragma unroll
            for (int i = 0; i < TAPS; i++) {
                float sample = from + i < k ? window[from + i] : 1;
#pragma unroll
                for (int v = 0; v < V; v++) sum[i][v] += from + i > k ? along[v] : dz[v] * sample;
            }
        }
#pragma unroll
        for (int i = 0; i < TAPS; i++)
            if (from + i < sums) part<V>(parts + (from + i) * rows * chunks * out, out, sum[i]);
    }
}

// sums (k + 1 or k + 2, rows, out) = the sums over chunks of parts. A thread for each channel; grid
// (out / 256, (k + 1 or k + 2) rows).
KERNEL(fold_chunks, (const float* parts, double* sums, size_t out, size_t chunks)) {
    size_t c = THREAD;
    if (c >= out) return;
    double sum = 0;
    for (size_t chunk = 0; chunk < chunks; chunk++)
        sum += parts[(blockIdx.y * chunks + chunk) * out + c];
    sums[blockIdx.y * out + c] = sum;
}

// Adds the gradients of w, gamma, beta and gate (out), from the sums of fold_chunks, which are of
// `summed` channels; dgate may be absent. A thread for each channel; grid (out / 256).
KERNEL(first_gradient, (const double* sums, const double* moments, const double* stats,
                        const float* w, const float* gamma, float* dw, float* dgamma,
                        float* dbeta, float* dgate, size_t out, size_t summed, size_t rows,
                        Waves waves)) {
    size_t c = THREAD, k = waves.k;
    if (c >= out) return;
    for (size_t row = 0; row < rows; row++) {
        const double* mean = moments + row * (k + k * k);
        const double* own = stats + (row * out + c) * (2 + k);
        double product = 0, total = sums[(k * rows + row) * summed + c];
        for (size_t i = 0; i < k; i++) product += w[c * k + i] * sums[(i * rows + row) * summed + c];
        double pull = own[1] * (product - own[0] * total), factor = gamma[c] * own[1];
        dgamma[c] += pull;
        dbeta[c] += total;
        if (dgate) dgate[c] += sums[((k + 1) * rows + row) * summed + c];
        for (size_t i = 0; i < k; i++)
            dw[c * k + i] += factor * (sums[(i * rows + row) * summed + c] - total * mean[i] -
                                       own[1] * pull * own[2 + i]);
    }
}
