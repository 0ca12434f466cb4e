// nodes/compute/op/attention_map.rs with GEMMs of cuBLAS, one for each row of the batch and head:
// q, k, v and o are copied into (rows, heads, padded, size), frames padded with zeros to a multiple
// of 8, so that every matrix is aligned for the tensor cores. Scores are (rows, heads, padded,
// padded). A warp for each frame; grid (padded / 8, rows heads), unless said otherwise.

// to (rows, heads, padded, size) = from (frames, heads size), with zeros beyond a row's frames
template <class T, int V>
KERNEL(split, (const float* from, T* to, size_t padded, AttentionShape all)) {
    size_t t = WARP;
    float x[V] = {};
    ALONG(column, all.size) {
        if (t < FRAMES)
            load<V>(from + ((FIRST + t) * all.heads + HEAD) * all.size + column, x);
        store<V>(to + (blockIdx.y * padded + t) * all.size + column, x);
    }
}

// to (frames, heads size) += from (rows, heads, padded, size)
template <class T, int V>
KERNEL(merge, (const T* from, float* to, size_t padded, AttentionShape all)) {
    size_t t = WARP;
    float x[V];
    if (t < FRAMES) ALONG(column, all.size) {
        load<V>(from + (blockIdx.y * padded + t) * all.size + column, x);
        accumulate<V>(to + ((FIRST + t) * all.heads + HEAD) * all.size + column, x);
    }
}

// The bias of query t by key, 0 if there is none, and its gate.
#define OF_FRAME(t) \
    (bias.gate ? bias.relative + HEAD * (2 * bias.longest - 1) + bias.longest - 1 - (t) : 0)
#define GATE_OF_FRAME(t) (bias.gate ? bias.gate[(FIRST + (t)) * all.heads + HEAD] : 0)
// Lets the lanes of a warp walk over the keys of a query, 4 at once; keys from `frames` on are
// padding.
#define KEYS(key) for (size_t key = threadIdx.x * 4; key < frames; key += 32 * 4)

// Replaces scores s by p = softmax(scale s + bias), with zeros in the padding.
template <class T> KERNEL(softmax, (T* s, size_t padded, AttentionShape all, RelativeBias bias)) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * padded + t) * padded;
    float x[4], most = -1e30f, sum = 0, scale = SCALE;
    if (t >= frames) frames = 0;
    const float *relative = OF_FRAME(t), lift = frames ? GATE_OF_FRAME(t) : 0;
#define LOGIT(i) (scale * x[i] + (lift ? lift * relative[key + i] : 0))
    KEYS(key) {
        load<4>(s + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) if (key + i < frames) most = fmaxf(most, LOGIT(i));
    }
    most = warp_max(most);
    KEYS(key) {
        load<4>(s + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) if (key + i < frames) sum += expf(LOGIT(i) - most);
    }
    sum = warp_sum(sum);
    for (size_t key = threadIdx.x * 4; key < padded; key += 32 * 4) {
        load<4>(s + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = key + i < frames ? expf(LOGIT(i) - most) / sum : 0;
        store<4>(s + row + key, x);
    }
#undef LOGIT
}

// Replaces d, the gradient of p, by that of the scores, ds = scale p (d - m), where m is the sum of
// d p over keys.
template <class T>
KERNEL(softmax_backward, (const T* p, T* d, size_t padded, AttentionShape all)) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * padded + t) * padded;
    float x[4], y[4], sum = 0, scale = SCALE;
    if (t >= frames) frames = 0;
    KEYS(key) {
        load<4>(p + row + key, x);
        load<4>(d + row + key, y);
#pragma unroll
        for (int i = 0; i < 4; i++) if (key + i < frames) sum += x[i] * y[i];
    }
    sum = warp_sum(sum);
    for (size_t key = threadIdx.x * 4; key < padded; key += 32 * 4) {
        load<4>(p + row + key, x);
        load<4>(d + row + key, y);
#pragma unroll
        for (int i = 0; i < 4; i++) y[i] = key + i < frames ? scale * x[i] * (y[i] - sum) : 0;
        store<4>(d + row + key, y);
    }
}

// dropped = drop(p) gate, with zeros in the padding
template <class T>
KERNEL(drop_scores, (const T* p, T* dropped, size_t padded, AttentionShape all)) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * padded + t) * padded;
    float x[4], open = all.gate ? all.gate[HEAD] : 1;
    Mask mask = fork(all.mask, blockIdx.y);
    for (size_t key = threadIdx.x * 4; key < padded; key += 32 * 4) {
        load<4>(p + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++)
            x[i] *= t < frames && key + i < frames ? drop(mask, t * frames + key + i) * open : 0;
        store<4>(dropped + row + key, x);
    }
}
// From d, the gradient of dropped: dp += gate drop d, and dgate (frames, heads) = the sum of
// p drop d over keys.
template <class T>
KERNEL(drop_scores_backward, (const T* p, const T* d, float* dp, float* dgate, size_t padded,
                              AttentionShape all)) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * padded + t) * padded;
    float x[4], y[4], sum = 0, open = all.gate ? all.gate[HEAD] : 1;
    Mask mask = fork(all.mask, blockIdx.y);
    if (t < frames) KEYS(key) {
        load<4>(p + row + key, x);
        load<4>(d + row + key, y);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            y[i] = key + i < frames ? y[i] * drop(mask, t * frames + key + i) : 0;
            sum += x[i] * y[i];
            y[i] *= open;
        }
        accumulate<4>(dp + row + key, y);
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0 && t < frames) dgate[(FIRST + t) * all.heads + HEAD] = sum;
}

// dgate (frames, heads), the gradient of the bias's gate, += the sum of ds relative / scale over
// keys
template <class T>
KERNEL(bias_gate, (const T* ds, float* dgate, size_t padded, AttentionShape all,
                   RelativeBias bias)) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * padded + t) * padded;
    if (t >= frames) return;
    const float* relative = OF_FRAME(t);
    float x[4], sum = 0;
    KEYS(key) {
        load<4>(ds + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) if (key + i < frames) sum += x[i] * relative[key + i];
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0) dgate[(FIRST + t) * all.heads + HEAD] += sum / SCALE;
}

// drelative (heads, distances) = the sum of gate ds / scale over rows and queries. A thread for
// each distance; grid (distances / 256, heads).
template <class T>
KERNEL(bias_relative, (const T* ds, float* drelative, size_t rows, size_t padded,
                       AttentionShape all, RelativeBias bias)) {
    size_t distances = 2 * bias.longest - 1, i = THREAD, head = blockIdx.y;
    if (i >= distances) return;
    float sum = 0;
    for (size_t row = 0; row < rows; row++) {
        size_t first = all.starts[row], frames = all.starts[row + 1] - first;
        for (size_t t = 0; t < frames; t++) {
            size_t key = t + i - (bias.longest - 1); // wraps below 0
            if (key < frames)
                sum += bias.gate[(first + t) * all.heads + head] *
                       widen(ds[((row * all.heads + head) * padded + t) * padded + key]);
        }
    }
    drelative[head * distances + i] = sum / SCALE;
}
