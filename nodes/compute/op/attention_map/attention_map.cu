// nodes/compute/op/attention_map.rs. The products are cuBLAS's, one for each (row of the batch, head): q, k, v and o are copied into
// (rows, heads, padded, size), frames padded with zeros to a multiple of 8, so that every matrix is aligned for the tensor
// cores. A warp a frame; grid (padded / 8, rows heads).

template <class T, int V> KERNEL(split, (const float* from, T* to, size_t padded, AttentionShape all)) {
    size_t t = WARP;
    float x[V] = {};
    ALONG(column, all.size) {
        if (t < FRAMES) load<V>(from + ((FIRST + t) * all.heads + HEAD) * all.size + column, x);
        store<V>(to + (blockIdx.y * padded + t) * all.size + column, x);
    }
}

// to += from
template <class T, int V> KERNEL(merge, (const T* from, float* to, size_t padded, AttentionShape all)) {
    size_t t = WARP;
    float x[V];
    if (t < FRAMES) ALONG(column, all.size) {
        load<V>(from + (blockIdx.y * padded + t) * all.size + column, x);
        accumulate<V>(to + ((FIRST + t) * all.heads + HEAD) * all.size + column, x);
    }
}


// The bias of frame t, by key, and its gate.
#define OF_FRAME(t) (bias.gate ? bias.relative + HEAD * (2 * bias.longest - 1) + bias.longest - 1 - (t) : 0)
#define GATE_OF_FRAME(t) (bias.gate ? bias.gate[(FIRST + (t)) * all.heads + HEAD] : 0)
// Keys of a row's frame, 4 at once; those from `frames` on are padding.
#define KEYS(key) for (size_t key = threadIdx.x * 4; key < frames; key += 32 * 4)

// Scores s (padded, padded) become p = softmax(scale s + bias).
template <class T> KERNEL(softmax, (T* s, size_t padded, AttentionShape all, RelativeBias bias)) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * padded + t) * padded;
    float x[4], most = -1e30f, sum = 0, scale = SCALE;
    if (t >= frames) frames = 0;
    const float *relative = OF_FRAME(t), lift = frames ? GATE_OF_FRAME(t) : 0;
    KEYS(key) {
        load<4>(s + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) if (key + i < frames) most = fmaxf(most, scale * x[i] + (lift ? lift * relative[key + i] : 0));
    }
    most = warp_max(most);
    KEYS(key) {
        load<4>(s + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) if (key + i < frames) sum += expf(scale * x[i] + (lift ? lift * relative[key + i] : 0) - most);
    }
    sum = warp_sum(sum);
    for (size_t key = threadIdx.x * 4; key < padded; key += 32 * 4) {
        load<4>(s + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = key + i < frames ? expf(scale * x[i] + (lift ? lift * relative[key + i] : 0) - most) / sum : 0;
        store<4>(s + row + key, x);
    }
}

// From the gradient d of p, in its place: ds = scale p (d - m), m = sum of d p over keys.
template <class T> KERNEL(softmax_backward, (const T* p, T* d, size_t padded, AttentionShape all)) {
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

// dropped = p drop gate
template <class T> KERNEL(drop_scores, (const T* p, T* dropped, size_t padded, AttentionShape all)) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * padded + t) * padded;
    float x[4], open = all.gate ? all.gate[HEAD] : 1;
    Mask mask = fork(all.mask, blockIdx.y);
    for (size_t key = threadIdx.x * 4; key < padded; key += 32 * 4) {
        load<4>(p + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] *= t < frames && key + i < frames ? drop(mask, t * frames + key + i) * open : 0;
        store<4>(dropped + row + key, x);
    }
}
// From the gradient d of dropped: dp += gate drop d, along (frames, heads) = sum of p drop d over keys.
template <class T> KERNEL(drop_scores_backward, (const T* p, const T* d, float* dp, float* along, size_t padded, AttentionShape all)) {
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
    if (threadIdx.x == 0 && t < frames) along[(FIRST + t) * all.heads + HEAD] = sum;
}

// dgate += sum of ds relative / scale over keys
template <class T> KERNEL(bias_gate, (const T* ds, float* dgate, size_t padded, AttentionShape all, RelativeBias bias)) {
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

// drelative = sum of gate ds / scale over rows and queries; a thread a distance, grid (distances / 256, heads)
template <class T> KERNEL(bias_relative, (const T* ds, float* drelative, size_t rows, size_t padded, AttentionShape all, RelativeBias bias)) {
    size_t distances = 2 * bias.longest - 1, i = THREAD, head = blockIdx.y;
    if (i >= distances) return;
    float sum = 0;
    for (size_t row = 0; row < rows; row++) {
        size_t first = all.starts[row], frames = all.starts[row + 1] - first;
        for (size_t t = 0; t < frames; t++) {
            size_t key = t + i - (bias.longest - 1); // below 0 it is larger than any
            if (key < frames) sum += bias.gate[(first + t) * all.heads + head] * widen(ds[((row * all.heads + head) * padded + t) * padded + key]);
        }
    }
    drelative[head * distances + i] = sum / SCALE;
}

