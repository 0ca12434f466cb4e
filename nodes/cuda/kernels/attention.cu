// nodes/op/attention.rs. The products are cuBLAS's, one for each (row of the batch, head): q, k, v and o are copied into
// (rows, heads, padded, size), frames padded with zeros to a multiple of 8, so that every matrix is aligned for the tensor
// cores. A warp a frame; grid (padded / 8, rows heads).

// Row r has the frames starts[r] to starts[r + 1]; before these rows the batch has `before` heads; gate is one factor a head,
// or absent.
struct Heads { const size_t* starts; size_t before, heads, padded, size; const float* gate; Mask mask; };
#define MASK fork(all.mask, all.before + blockIdx.y)
// nodes/op/position_bias.rs: gate (frames, heads), or absent; relative (heads, 2 longest - 1), by key - query.
struct Bias { const float *gate, *relative; size_t longest; };

#define ROW_OF_BATCH (blockIdx.y / all.heads)
#define HEAD (blockIdx.y % all.heads)
#define FIRST (all.starts[ROW_OF_BATCH])
#define FRAMES (all.starts[ROW_OF_BATCH + 1] - FIRST)
#define SCALE (1 / sqrtf(all.size))

template <class T, int V> __device__ void split(const float* from, T* to, Heads all) {
    size_t t = WARP;
    float x[V] = {};
    ALONG(column, all.size) {
        if (t < FRAMES) load<V>(from + ((FIRST + t) * all.heads + HEAD) * all.size + column, x);
        store<V>(to + (blockIdx.y * all.padded + t) * all.size + column, x);
    }
}

// to += from
template <class T, int V> __device__ void merge(const T* from, float* to, Heads all) {
    size_t t = WARP;
    float x[V];
    if (t < FRAMES) ALONG(column, all.size) {
        load<V>(from + (blockIdx.y * all.padded + t) * all.size + column, x);
        accumulate<V>(to + ((FIRST + t) * all.heads + HEAD) * all.size + column, x);
    }
}

#define SPLIT(T, V, S) \
    KERNEL(split_##S, (const float* from, T* to, Heads all)) { split<T, V>(from, to, all); } \
    KERNEL(merge_##S, (const T* from, float* to, Heads all)) { merge<T, V>(from, to, all); }
FORMATS(SPLIT)

// The bias of frame t, by key, and its gate.
#define OF_FRAME(t) (bias.gate ? bias.relative + HEAD * (2 * bias.longest - 1) + bias.longest - 1 - (t) : 0)
#define GATE_OF_FRAME(t) (bias.gate ? bias.gate[(FIRST + (t)) * all.heads + HEAD] : 0)
// Keys of a row's frame, 4 at once; those from `frames` on are padding.
#define KEYS(key) for (size_t key = threadIdx.x * 4; key < frames; key += 32 * 4)

// From scores s (padded, padded): p = softmax(scale s + bias), and dropped = p drop gate; p may be absent, each may be s.
template <class T> __device__ void softmax(const T* s, T* p, T* dropped, Heads all, Bias bias) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * all.padded + t) * all.padded;
    float x[4], kept[4], most = -1e30f, sum = 0, scale = SCALE, open = all.gate ? all.gate[HEAD] : 1;
    if (t >= frames) frames = 0;
    const float *relative = OF_FRAME(t), lift = frames ? GATE_OF_FRAME(t) : 0;
    Mask mask = MASK;
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
    for (size_t key = threadIdx.x * 4; key < all.padded; key += 32 * 4) {
        load<4>(s + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            bool real = key + i < frames;
            x[i] = real ? expf(scale * x[i] + (lift ? lift * relative[key + i] : 0) - most) / sum : 0;
            kept[i] = real ? x[i] * drop(mask, t * frames + key + i) * open : 0;
        }
        if (p) store<4>(p + row + key, x);
        store<4>(dropped + row + key, kept);
    }
}

// From the gradient d of dropped / gate, in its place: ds = scale gate p (D - m), D = d drop, m = sum of D p over keys.
template <class T> __device__ void softmax_backward(const T* p, T* d, float* along, Heads all) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * all.padded + t) * all.padded;
    float x[4], y[4], sum = 0, factor = SCALE * (all.gate ? all.gate[HEAD] : 1);
    if (t >= frames) frames = 0;
    Mask mask = MASK;
    KEYS(key) {
        load<4>(p + row + key, x);
        load<4>(d + row + key, y);
#pragma unroll
        for (int i = 0; i < 4; i++) if (key + i < frames) sum += x[i] * y[i] * drop(mask, t * frames + key + i);
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0) along[blockIdx.y * all.padded + t] = sum;
    for (size_t key = threadIdx.x * 4; key < all.padded; key += 32 * 4) {
        load<4>(p + row + key, x);
        load<4>(d + row + key, y);
#pragma unroll
        for (int i = 0; i < 4; i++) y[i] = key + i < frames ? factor * x[i] * (y[i] * drop(mask, t * frames + key + i) - sum) : 0;
        store<4>(d + row + key, y);
    }
}

// nodes/op/attention_map.rs. dropped = p drop gate
template <class T> __device__ void drop_scores(const T* p, T* dropped, Heads all) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * all.padded + t) * all.padded;
    float x[4], open = all.gate ? all.gate[HEAD] : 1;
    Mask mask = MASK;
    for (size_t key = threadIdx.x * 4; key < all.padded; key += 32 * 4) {
        load<4>(p + row + key, x);
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] *= t < frames && key + i < frames ? drop(mask, t * frames + key + i) * open : 0;
        store<4>(dropped + row + key, x);
    }
}
// From the gradient d of dropped: dp += gate drop d, along = sum of p drop d over keys.
template <class T> __device__ void drop_scores_backward(const T* p, const T* d, float* dp, float* along, Heads all) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * all.padded + t) * all.padded;
    float x[4], y[4], sum = 0, open = all.gate ? all.gate[HEAD] : 1;
    Mask mask = MASK;
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
    if (threadIdx.x == 0) along[blockIdx.y * all.padded + t] = sum;
}

// dgate += sum of ds relative / scale over keys
template <class T> __device__ void bias_gate(const T* ds, float* dgate, Heads all, Bias bias) {
    size_t t = WARP, frames = FRAMES, row = (blockIdx.y * all.padded + t) * all.padded;
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
template <class T> __device__ void bias_relative(const T* ds, float* drelative, size_t rows, Heads all, Bias bias) {
    size_t distances = 2 * bias.longest - 1, i = THREAD, head = blockIdx.y;
    if (i >= distances) return;
    float sum = 0;
    for (size_t row = 0; row < rows; row++) {
        size_t first = all.starts[row], frames = all.starts[row + 1] - first;
        for (size_t t = 0; t < frames; t++) {
            size_t key = t + i - (bias.longest - 1); // below 0 it is larger than any
            if (key < frames) sum += bias.gate[(first + t) * all.heads + head] * widen(ds[((row * all.heads + head) * all.padded + t) * all.padded + key]);
        }
    }
    drelative[head * distances + i] = sum / SCALE;
}

#define SOFTMAX(T, S) \
    KERNEL(softmax_##S, (const T* s, T* p, T* dropped, Heads all, Bias bias)) { softmax<T>(s, p, dropped, all, bias); } \
    KERNEL(softmax_backward_##S, (const T* p, T* d, float* along, Heads all)) { softmax_backward<T>(p, d, along, all); } \
    KERNEL(drop_scores_##S, (const T* p, T* dropped, Heads all)) { drop_scores<T>(p, dropped, all); } \
    KERNEL(drop_scores_backward_##S, (const T* p, const T* d, float* dp, float* along, Heads all)) { drop_scores_backward<T>(p, d, dp, along, all); } \
    KERNEL(bias_gate_##S, (const T* ds, float* dgate, Heads all, Bias bias)) { bias_gate<T>(ds, dgate, all, bias); } \
    KERNEL(bias_relative_##S, (const T* ds, float* drelative, size_t rows, Heads all, Bias bias)) { bias_relative<T>(ds, drelative, rows, all, bias); }
SOFTMAX(float, f32_4) SOFTMAX(bf16, bf16_4)

// dgate += along, summed over rows and frames; a warp a head.
KERNEL(head_gates, (const float* along, float* dgate, size_t rows, Heads all)) {
    size_t head = WARP;
    if (head >= all.heads) return;
    float sum = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t t = threadIdx.x; t < all.padded; t += 32) sum += along[(row * all.heads + head) * all.padded + t];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) dgate[head] += sum;
}

// The table (buckets, wide) by head and distance, and the way back; the table's column of a head is columns[head].
// Grid (distances / 256, heads), and (buckets / 256, heads).
KERNEL(relative, (const float* table, float* relative, const size_t* buckets, const size_t* columns, size_t distances, size_t wide)) {
    size_t i = THREAD;
    if (i < distances) relative[blockIdx.y * distances + i] = table[buckets[i] * wide + columns[blockIdx.y]];
}
KERNEL(table_gradient, (const float* drelative, float* dtable, const size_t* buckets, const size_t* columns, size_t distances, size_t wide)) {
    size_t bucket = THREAD;
    float sum = 0;
    bool any = false;
    for (size_t i = 0; i < distances; i++)
        if (buckets[i] == bucket) { sum += drelative[blockIdx.y * distances + i]; any = true; }
    if (any) dtable[bucket * wide + columns[blockIdx.y]] += sum;
}
