// nodes/compute/op/attention.rs without scores in memory, as FlashAttention-2 (Dao 2023, arXiv:2307.08691): a block has OWN frames of a
// head, sixteen a warp, and walks over all frames of its row in tiles. Of the softmax only the logarithm of each sum is kept.
// Every sum has one owner and one order. What lies beyond a row's frames
// is computed with zeros, and not written. Logarithms are to base 2. Grid (longest / OWN, rows heads).
#define OWN 128u
// Frames of a tile on the way forward, and backward, where a lane holds two products of it. Rust counts the same bytes.
#define FORWARD (D > 64 || sizeof(T) > 2 ? 32 : 64)
#define BACKWARD (FORWARD / 2)
#define LOG2E 1.44269504f

// Row r has the frames starts[r] to starts[r + 1]; gate is one factor a head, or absent.
struct AttentionShape { const size_t* starts; size_t heads, size; const float* gate; Mask mask; };
// nodes/compute/op/position_bias.rs: gate (frames, heads), or absent; relative (heads, 2 longest - 1), by key - query.
struct RelativeBias { const float *gate, *relative; size_t longest; };
// (frames, heads size), and what is added to every frame, or absent.
template <class T> struct Columns { const T* at; const float* add; };

#define ROW_OF_BATCH (blockIdx.y / (unsigned)all.heads)
#define HEAD (blockIdx.y % (unsigned)all.heads)
#define FIRST (all.starts[ROW_OF_BATCH])
#define FRAMES (all.starts[ROW_OF_BATCH + 1] - FIRST)
#define SCALE (1 / sqrtf(all.size))

// The row and head of a block.
struct Place {
    size_t first;
    unsigned frames, head, heads, size;
    __device__ __forceinline__ Place(const AttentionShape& all) : first(FIRST), frames(FRAMES), head(HEAD), heads(all.heads), size(all.size) {}
    // Of arrays (frames, heads) and (frames, heads size).
    __device__ __forceinline__ size_t scalar(unsigned t) const { return (first + t) * heads + head; }
    __device__ __forceinline__ size_t row(unsigned t) const { return scalar(t) * size; }
};

// Frames `from` to from + rows of a head, with zeros beyond its frames and its size.
template <int D, int V, class T> __device__ __forceinline__ void fetch(T* to, Columns<T> x, unsigned from, unsigned rows, const Place& at) {
    for (unsigned i = IN_BLOCK; i < rows * (D / V); i += 256) {
        unsigned t = from + i / (D / V), column = i % (D / V) * V;
        Pack<T, V> pack = {};
        if (t < at.frames && column < at.size) {
            pack = *(const Pack<T, V>*)(x.at + at.row(t) + column);
#pragma unroll
            for (int v = 0; v < V; v++) if (x.add) narrow(&pack.at[v], widen(pack.at[v]) + x.add[at.head * at.size + column + v]);
        }
        *(Pack<T, V>*)(to + i / (D / V) * STRIDE + column) = pack;
    }
}
template <int D, class T> __device__ __forceinline__ void tile(T* to, Columns<T> x, unsigned from, unsigned rows, const Place& at) {
    const int V = 16 / sizeof(T);
    if (at.size % V == 0) fetch<D, V>(to, x, from, rows, at); else fetch<D, 1>(to, x, from, rows, at);
}

// The way back of a warp's sixteen frames, through its own rows in shared memory.
template <int D, int V, class T> __device__ __forceinline__ void send(const T* from, T* to, unsigned t, const Place& at) {
    for (unsigned columns = at.size / V, i = threadIdx.x; i < 16 * columns; i += 32) {
        unsigned row = i / columns, column = i % columns * V;
        if (t + row < at.frames)
            *(Pack<T, V>*)(to + at.row(t + row) + column) = *(const Pack<T, V>*)(from + row * STRIDE + column);
    }
}
template <int D, class T> __device__ __forceinline__ void store_rows(const float (&x)[D / 8][4], const float (&factor)[2], T* own, T* to, unsigned t, const Place& at) {
    const int V = 16 / sizeof(T);
    __syncwarp();
#pragma unroll
    for (int d = 0; d < D / 8; d++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float two[2] = {x[d][2 * r] * factor[r], x[d][2 * r + 1] * factor[r]};
            store<2>(own + (DOWN + 8 * r) * STRIDE + d * 8 + ACROSS, two);
        }
    __syncwarp();
    if (at.size % V == 0) send<D, V>(own, to, t, at); else send<D, 1>(own, to, t, at);
}

// The logits of a head: scale q k + lift relative.
struct Logits {
    float scale;
    const float *gate, *relative;
    int farthest;
    __device__ __forceinline__ Logits(const Place& at, const RelativeBias& bias) : scale(LOG2E / sqrtf(at.size)), gate(0), relative(0), farthest(bias.longest - 1) {
        if (!bias.gate) return;
        gate = bias.gate + at.scalar(0);
        relative = bias.relative + at.head * (2 * bias.longest - 1) + farthest;
    }
    __device__ __forceinline__ float lift(const Place& at, unsigned t) const { return gate && t < at.frames ? gate[t * (size_t)at.heads] : 0; }
    // Frames beyond the row's are nearer than they are.
    __device__ __forceinline__ float along(unsigned t, unsigned key) const { return relative[max(min((int)(key - t), farthest), -farthest)]; }
    __device__ __forceinline__ float operator()(float dot, float lift, unsigned t, unsigned key) const {
        return scale * dot + (gate ? LOG2E * lift * along(t, key) : 0);
    }
};

// Rows and columns of a lane's c[n][i].
#define ROW_OF(i) (DOWN + (i) / 2 * 8)
#define COLUMN_OF(n, i) ((n) * 8 + ACROSS + (i) % 2)

// o = gate drop(softmax(logits)) v; sums (frames, heads): the logarithm of each frame's sum.
template <class T, int D> SHARED_KERNEL(D > 64 ? 1 : 2, attend, (Columns<T> q, Columns<T> k, Columns<T> v, T* o, float* sums, AttentionShape all, RelativeBias bias)) {
    const int N = FORWARD;
    const Place at(all);
    unsigned frames = at.frames, begin = blockIdx.x * OWN, t = begin + threadIdx.y * 16;
    if (begin >= frames) return;
    T *queries = (T*)dynamic, *keys = queries + OWN * STRIDE, *values = keys + N * STRIDE, *own = queries + threadIdx.y * 16 * STRIDE;
    Mask mask = fork(all.mask, blockIdx.y);
    Logits logit(at, bias);
    float out[D / 8][4] = {}, most[2] = {-1e30f, -1e30f}, sum[2] = {}, lift[2];
#pragma unroll
    for (int r = 0; r < 2; r++) lift[r] = logit.lift(at, t + ROW_OF(2 * r));
    tile<D>(queries, q, begin, OWN, at);
    for (unsigned from = 0; from < frames; from += N) {
        __syncthreads();
        tile<D>(keys, k, from, N, at);
        tile<D>(values, v, from, N, at);
        __syncthreads();
        if (t >= frames) continue;
        float p[N / 8][4] = {};
        dots<D, N>(own, keys, p);
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                unsigned key = from + COLUMN_OF(n, i);
                p[n][i] = key < frames ? logit(p[n][i], lift[i / 2], t + ROW_OF(i), key) : -1e30f;
            }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float top = most[r];
#pragma unroll
            for (int n = 0; n < N / 8; n++) top = fmaxf(top, fmaxf(p[n][2 * r], p[n][2 * r + 1]));
            top = quad_max(top);
            float shrink = exp2f(most[r] - top);
            most[r] = top;
            sum[r] *= shrink;
#pragma unroll
            for (int d = 0; d < D / 8; d++) { out[d][2 * r] *= shrink; out[d][2 * r + 1] *= shrink; }
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int i = 2 * r; i < 2 * r + 2; i++) {
                    p[n][i] = exp2f(p[n][i] - top);
                    sum[r] += p[n][i];
                    p[n][i] *= drop(mask, (t + ROW_OF(i)) * frames + from + COLUMN_OF(n, i));
                }
        }
        mix<D, N>(p, values, out);
    }
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] = quad_sum(sum[r]);
        factor[r] = (all.gate ? all.gate[at.head] : 1) / sum[r];
        if (ACROSS == 0 && t + ROW_OF(2 * r) < frames) sums[at.scalar(t + ROW_OF(2 * r))] = most[r] + log2f(sum[r]);
    }
    store_rows<D>(out, factor, own, o, t, at);
}

// What the way back reads besides: o and its gradient, (frames, heads size), and the sums.
template <class T> struct Outputs { const T* o; Columns<T> grad; const float* sums; };

// From the gradient D of p, with m = D p summed over keys: ds = p (D - m) is that of the logits, and dq = scale ds k.
// Writes m (frames, heads) for attend_keys, and, where there are gates, along = m / gate; adds to the gradient of the bias's gate;
// the sums of lift ds by distance, of every block, go to distances (rows heads, blocks, 2 longest - 1), zeros before.
template <class T, int D> SHARED_KERNEL(D > 64 ? 1 : 2, attend_queries, (Columns<T> q, Columns<T> k, Columns<T> v, Outputs<T> back, float* m, float* along, T* dq, float* dlift, float* distances, AttentionShape all, RelativeBias bias)) {
    const int N = BACKWARD;
    const Place at(all);
    unsigned frames = at.frames;
    T *queries = (T*)dynamic, *grads = queries + OWN * STRIDE, *keys = grads + OWN * STRIDE, *values = keys + N * STRIDE;
    T *own = queries + threadIdx.y * 16 * STRIDE, *own_grads = grads + threadIdx.y * 16 * STRIDE;
    float* square = (float*)(values + N * STRIDE); // (OWN, N + 1)
    Mask mask = fork(all.mask, blockIdx.y);
    Logits logit(at, bias);
    float open = all.gate ? all.gate[at.head] : 1;
    if (bias.gate) distances += (blockIdx.y * (size_t)gridDim.x + blockIdx.x) * (2 * bias.longest - 1);
    for (unsigned begin = blockIdx.x * OWN; begin < frames; begin += gridDim.x * OWN) {
        __syncthreads();
        tile<D>(queries, q, begin, OWN, at);
        tile<D>(grads, back.grad, begin, OWN, at);
        __syncthreads();
        float out[D / 8][4] = {}, sum[2], mean[2], of_gate[2] = {}, of_lift[2] = {}, lift[2];
        unsigned t = begin + threadIdx.y * 16;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            unsigned query = t + ROW_OF(2 * r);
            bool real = query < frames;
            lift[r] = logit.lift(at, query);
            sum[r] = real ? back.sums[at.scalar(query)] : 1e30f; // p is 0
            mean[r] = 0;
            if (real) for (unsigned column = threadIdx.x % 4; column < at.size; column += 4)
                mean[r] += widen(own_grads[ROW_OF(2 * r) * STRIDE + column]) * widen(back.o[at.row(query) + column]);
            mean[r] = quad_sum(mean[r]);
            if (ACROSS == 0 && real) m[at.scalar(query)] = mean[r];
        }
        for (unsigned from = 0; from < frames; from += N) {
            __syncthreads();
            tile<D>(keys, k, from, N, at);
            tile<D>(values, v, from, N, at);
            __syncthreads();
            if (t < frames) {
                float s[N / 8][4] = {}, d[N / 8][4] = {};
                dots<D, N>(own, keys, s);
                dots<D, N>(own_grads, values, d);
#pragma unroll
                for (int n = 0; n < N / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        unsigned key = from + COLUMN_OF(n, i);
                        float p = key < frames ? exp2f(logit(s[n][i], lift[i / 2], t + ROW_OF(i), key) - sum[i / 2]) : 0;
                        float kept = d[n][i] * drop(mask, (t + ROW_OF(i)) * frames + key);
                        of_gate[i / 2] += p * kept;
                        s[n][i] = p * (open * kept - mean[i / 2]);
                        if (bias.gate) {
                            if (key < frames) of_lift[i / 2] += s[n][i] * logit.along(t + ROW_OF(i), key);
                            square[(threadIdx.y * 16 + ROW_OF(i)) * (N + 1) + COLUMN_OF(n, i)] = lift[i / 2] * s[n][i];
                        }
                    }
                mix<D, N>(s, keys, out);
            }
            if (bias.gate) {
                __syncthreads();
                if (IN_BLOCK < OWN + N - 1) { // a thread a diagonal: key - query = from - begin + IN_BLOCK - (OWN - 1)
                    float total = 0;
                    for (int column = 0; column < N; column++) {
                        unsigned row = column + OWN - 1 - IN_BLOCK; // below 0 it is larger than any
                        if (row < min(OWN, frames - begin)) total += square[row * (N + 1) + column];
                    }
                    unsigned distance = (unsigned)bias.longest + from + IN_BLOCK - begin - OWN; // the same
                    if (distance < 2 * bias.longest - 1) distances[distance] += total;
                }
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            of_gate[r] = quad_sum(of_gate[r]);
            of_lift[r] = quad_sum(of_lift[r]);
            unsigned query = t + ROW_OF(2 * r);
            if (ACROSS || query >= frames) continue;
            if (all.gate) along[at.scalar(query)] = of_gate[r];
            if (bias.gate) dlift[at.scalar(query)] += of_lift[r];
        }
        float factor[2] = {SCALE, SCALE};
        store_rows<D>(out, factor, own, dq, t, at);
    }
}

// dv = (gate p drop)ᵀ grad, dk = scale dsᵀ q; a block has OWN keys.
template <class T, int D> SHARED_KERNEL(D > 64 ? 1 : 2, attend_keys, (Columns<T> q, Columns<T> k, Columns<T> v, Outputs<T> back, const float* m, T* dk, T* dv, AttentionShape all, RelativeBias bias)) {
    const int N = BACKWARD;
    const Place at(all);
    unsigned frames = at.frames, begin = blockIdx.x * OWN, t = begin + threadIdx.y * 16;
    if (begin >= frames) return;
    T *keys = (T*)dynamic, *values = keys + OWN * STRIDE, *queries = values + OWN * STRIDE, *grads = queries + N * STRIDE;
    float *sums = (float*)(grads + N * STRIDE), *means = sums + N, *lifts = means + N;
    T *own = keys + threadIdx.y * 16 * STRIDE, *own_values = values + threadIdx.y * 16 * STRIDE;
    Mask mask = fork(all.mask, blockIdx.y);
    Logits logit(at, bias);
    float open = all.gate ? all.gate[at.head] : 1, of_keys[D / 8][4] = {}, of_values[D / 8][4] = {};
    tile<D>(keys, k, begin, OWN, at);
    tile<D>(values, v, begin, OWN, at);
    for (unsigned from = 0; from < frames; from += N) {
        __syncthreads();
        tile<D>(queries, q, from, N, at);
        tile<D>(grads, back.grad, from, N, at);
        if (IN_BLOCK < N) {
            unsigned query = from + IN_BLOCK;
            sums[IN_BLOCK] = query < frames ? back.sums[at.scalar(query)] : 1e30f; // p is 0
            means[IN_BLOCK] = query < frames ? m[at.scalar(query)] : 0;
            lifts[IN_BLOCK] = logit.lift(at, query);
        }
        __syncthreads();
        if (t >= frames) continue;
#pragma unroll 1
        for (int half = 0; half < N; half += 16) { // two products of more would not fit in registers
            float s[2][4] = {}, d[2][4] = {};
            dots<D, 16>(own, queries + half * STRIDE, s);
            dots<D, 16>(own_values, grads + half * STRIDE, d);
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    unsigned column = half + COLUMN_OF(n, i), query = from + column, key = t + ROW_OF(i);
                    float p = exp2f(logit(s[n][i], lifts[column], query, key) - sums[column]);
                    float factor = open * drop(mask, query * frames + key);
                    s[n][i] = p * (factor * d[n][i] - means[column]);
                    d[n][i] = p * factor;
                }
            mix<D, 16>(d, grads + half * STRIDE, of_values);
            mix<D, 16>(s, queries + half * STRIDE, of_keys);
        }
    }
    float one[2] = {1, 1}, scale[2] = {SCALE, SCALE};
    store_rows<D>(of_values, one, own_values, dv, t, at);
    store_rows<D>(of_keys, scale, own, dk, t, at);
}


// drelative (heads, distances), from the sums of blocks, in their order; a thread a distance, grid (distances / 256, heads).
KERNEL(sum_distances, (const float* parts, float* drelative, size_t rows, size_t blocks, size_t distances)) {
    size_t i = THREAD, heads = gridDim.y;
    if (i >= distances) return;
    float sum = 0;
    for (size_t part = 0; part < rows * blocks; part++)
        sum += parts[((part / blocks * heads + blockIdx.y) * blocks + part % blocks) * distances + i];
    drelative[blockIdx.y * distances + i] = sum;
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
