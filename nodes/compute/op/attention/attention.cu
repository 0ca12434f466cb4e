// nodes/compute/op/attention.rs without scores in memory, as FlashAttention-2 (Dao 2023,
// arXiv:2307.08691): a block owns OWN frames of a head, sixteen for each warp, and walks over all
// frames of its row in tiles. Of the softmax only the logarithm of each sum is kept, to base 2.
// Every sum has one owner and one order. Frames beyond a row's and channels beyond a head's are
// computed as zeros and not written. Grid (longest row / OWN, rows heads), unless said otherwise.
#define OWN 128u
// Frames of a tile forward, and backward, where a lane holds two products of a tile. op/attention/
// cuda.rs computes the bytes of shared memory from the same numbers.
#define FORWARD (D > 64 || sizeof(T) > 2 ? 32 : 64)
#define BACKWARD (FORWARD / 2)
#define LOG2E 1.44269504f

// Row r of the batch has the frames starts[r] to starts[r + 1], each of `heads` heads of `size`
// channels; gate (heads) may be absent.
struct AttentionShape { const size_t* starts; size_t heads, size; const float* gate; Mask mask; };
// The bias of nodes/compute/op/position_bias.rs: gate (frames, heads) times relative (heads,
// 2 longest - 1), by key - query. Without gate there is no bias.
struct RelativeBias { const float *gate, *relative; size_t longest; };
// An array (frames, heads size), and add (heads size), which is added to every frame or absent.
template <class T> struct Columns { const T* at; const float* add; };

#define ROW_OF_BATCH (blockIdx.y / (unsigned)all.heads)
#define HEAD (blockIdx.y % (unsigned)all.heads)
#define FIRST (all.starts[ROW_OF_BATCH])
#define FRAMES (all.starts[ROW_OF_BATCH + 1] - FIRST)
#define SCALE (1 / sqrtf(all.size))

// The row and head of a block.
struct RowHead {
    size_t first;
    unsigned frames, head, heads, size;
    __device__ __forceinline__ RowHead(const AttentionShape& all)
        : first(FIRST), frames(FRAMES), head(HEAD), heads(all.heads), size(all.size) {}
    // Return where frame t begins in arrays (frames, heads) and (frames, heads size).
    __device__ __forceinline__ size_t scalar(unsigned t) const {
        return (first + t) * heads + head;
    }
    __device__ __forceinline__ size_t row(unsigned t) const { return scalar(t) * size; }
};

// Loads frames `from` to from + rows of a head into shared memory, with zeros around.
template <int D, int V, class T>
__device__ __forceinline__ void load_frames(T* to, Columns<T> x, unsigned from, unsigned rows,
                                            const RowHead& at) {
    for (unsigned i = IN_BLOCK; i < rows * (D / V); i += 256) {
        unsigned t = from + i / (D / V), column = i % (D / V) * V;
        Pack<T, V> pack = {};
        if (t < at.frames && column < at.size) {
            pack = *pack_at<V>(x.at + at.row(t) + column);
#pragma unroll
            for (int v = 0; v < V; v++)
                if (x.add)
                    narrow(&pack.at[v],
                           widen(pack.at[v]) + x.add[at.head * at.size + column + v]);
        }
        *pack_at<V>(to + i / (D / V) * STRIDE + column) = pack;
    }
}
template <int D, class T>
__device__ __forceinline__ void load_tile(T* to, Columns<T> x, unsigned from, unsigned rows,
                                          const RowHead& at) {
    const int V = 16 / sizeof(T);
    if (at.size % V == 0) load_frames<D, V>(to, x, from, rows, at);
    else load_frames<D, 1>(to, x, from, rows, at);
}

// Stores the sixteen frames of a warp from frame t on, out of its own rows in shared memory.
template <int D, int V, class T>
__device__ __forceinline__ void store_frames(const T* from, T* to, unsigned t, const RowHead& at) {
    for (unsigned columns = at.size / V, i = threadIdx.x; i < 16 * columns; i += 32) {
        unsigned row = i / columns, column = i % columns * V;
        if (t + row < at.frames)
            *pack_at<V>(to + at.row(t + row) + column) =
                *pack_at<V>(from + row * STRIDE + column);
    }
}
// Stores a product of a warp times a factor for each row, through its own rows in shared memory.
template <int D, class T>
__device__ __forceinline__ void store_rows(const float (&x)[D / 8][4], const float (&factor)[2],
                                           T* own, T* to, unsigned t, const RowHead& at) {
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
    if (at.size % V == 0) store_frames<D, V>(own, to, t, at);
    else store_frames<D, 1>(own, to, t, at);
}

// The logits of a head, times log2 e: scale q k + gate relative.
struct Logits {
    float scale;
    const float *gate, *relative;
    int farthest;
    __device__ __forceinline__ Logits(const RowHead& at, const RelativeBias& bias)
        : scale(LOG2E / sqrtf(at.size)), gate(0), relative(0), farthest(bias.longest - 1) {
        if (!bias.gate) return;
        gate = bias.gate + at.scalar(0);
        relative = bias.relative + at.head * (2 * bias.longest - 1) + farthest;
    }
    // Returns the gate of query t, 0 without a bias.
    __device__ __forceinline__ float lift(const RowHead& at, unsigned t) const {
        return gate && t < at.frames ? gate[t * (size_t)at.heads] : 0;
    }
    // Returns the bias before its gate. Distances of frames beyond the row are cut to the largest.
    __device__ __forceinline__ float along(unsigned t, unsigned key) const {
        return relative[max(min((int)(key - t), farthest), -farthest)];
    }
    __device__ __forceinline__ float operator()(float dot, float lift, unsigned t,
                                                unsigned key) const {
        return scale * dot + (gate ? LOG2E * lift * along(t, key) : 0);
    }
};

// The row and the column of a lane's number c[n][i] of a product.
#define ROW_OF(i) (DOWN + (i) / 2 * 8)
#define COLUMN_OF(n, i) ((n) * 8 + ACROSS + (i) % 2)

// o (frames, heads size) = gate drop(softmax(logits)) v; sums (frames, heads) = the logarithm of
// the sum of each frame's softmax. Shared memory: OWN + 2 FORWARD rows of a tile.
template <class T, int D>
SHARED_KERNEL(D > 64 ? 1 : 2, attend,
              (Columns<T> q, Columns<T> k, Columns<T> v, T* o, float* sums, AttentionShape all,
               RelativeBias bias)) {
    const int N = FORWARD;
    const RowHead at(all);
    unsigned frames = at.frames, begin = blockIdx.x * OWN, t = begin + threadIdx.y * 16;
    if (begin >= frames) return;
    T *queries = (T*)dynamic, *keys = queries + OWN * STRIDE, *values = keys + N * STRIDE;
    T* own = queries + threadIdx.y * 16 * STRIDE;
    Mask mask = fork(all.mask, blockIdx.y);
    Logits logit(at, bias);
    float out[D / 8][4] = {}, most[2] = {-1e30f, -1e30f}, sum[2] = {}, lift[2];
#pragma unroll
    for (int r = 0; r < 2; r++) lift[r] = logit.lift(at, t + ROW_OF(2 * r));
    load_tile<D>(queries, q, begin, OWN, at);
    for (unsigned from = 0; from < frames; from += N) {
        __syncthreads();
        load_tile<D>(keys, k, from, N, at);
        load_tile<D>(values, v, from, N, at);
        __syncthreads();
        if (t >= frames) continue;
        float p[N / 8][4] = {};
        multiply_transposed<D, N>(own, keys, p);
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
            for (int n = 0; n < N / 8; n++)
                top = fmaxf(top, fmaxf(p[n][2 * r], p[n][2 * r + 1]));
            top = quad_max(top);
            float shrink = exp2f(most[r] - top);
            most[r] = top;
            sum[r] *= shrink;
#pragma unroll
            for (int d = 0; d < D / 8; d++) {
                out[d][2 * r] *= shrink;
                out[d][2 * r + 1] *= shrink;
            }
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int i = 2 * r; i < 2 * r + 2; i++) {
                    p[n][i] = exp2f(p[n][i] - top);
                    sum[r] += p[n][i];
                    p[n][i] *= drop(mask, (t + ROW_OF(i)) * frames + from + COLUMN_OF(n, i));
                }
        }
        multiply<D, N>(p, values, out);
    }
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] = quad_sum(sum[r]);
        factor[r] = (all.gate ? all.gate[at.head] : 1) / sum[r];
        if (ACROSS == 0 && t + ROW_OF(2 * r) < frames)
            sums[at.scalar(t + ROW_OF(2 * r))] = most[r] + log2f(sum[r]);
    }
    store_rows<D>(out, factor, own, o, t, at);
}

// The result of attend, and the gradient of o.
template <class T> struct Outputs { const T* o; Columns<T> grad; const float* sums; };

// With D the gradient of p, and m (frames, heads) the sums of D p over keys: the gradient of the
// logits is ds = p (D - m), and dq = scale ds k. Writes m for attend_keys, and with gates dgate
// (frames, heads) = m / gate. With a bias adds the gradient of its gate to dlift (frames, heads),
// and the sums of lift ds by distance, of each block, to distances (rows heads, blocks,
// 2 longest - 1), which are zero before; without one dlift and distances may be absent. A row may
// have fewer blocks than frames / OWN: grid (blocks, rows heads). Shared memory: 2 OWN + 2 BACKWARD
// rows of a tile, and with a bias (OWN, BACKWARD + 1) floats.
template <class T, int D>
SHARED_KERNEL(D > 64 ? 1 : 2, attend_queries,
              (Columns<T> q, Columns<T> k, Columns<T> v, Outputs<T> back, float* m, float* dgate,
               T* dq, float* dlift, float* distances, AttentionShape all, RelativeBias bias)) {
    const int N = BACKWARD;
    const RowHead at(all);
    unsigned frames = at.frames;
    T *queries = (T*)dynamic, *grads = queries + OWN * STRIDE;
    T *keys = grads + OWN * STRIDE, *values = keys + N * STRIDE;
    T *own = queries + threadIdx.y * 16 * STRIDE, *own_grads = grads + threadIdx.y * 16 * STRIDE;
    float* square = (float*)(values + N * STRIDE); // (OWN, N + 1)
    Mask mask = fork(all.mask, blockIdx.y);
    Logits logit(at, bias);
    float open = all.gate ? all.gate[at.head] : 1;
    if (bias.gate)
        distances += (blockIdx.y * (size_t)gridDim.x + blockIdx.x) * (2 * bias.longest - 1);
    for (unsigned begin = blockIdx.x * OWN; begin < frames; begin += gridDim.x * OWN) {
        __syncthreads();
        load_tile<D>(queries, q, begin, OWN, at);
        load_tile<D>(grads, back.grad, begin, OWN, at);
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
                mean[r] += widen(own_grads[ROW_OF(2 * r) * STRIDE + column]) *
                           widen(back.o[at.row(query) + column]);
            mean[r] = quad_sum(mean[r]);
            if (ACROSS == 0 && real) m[at.scalar(query)] = mean[r];
        }
        for (unsigned from = 0; from < frames; from += N) {
            __syncthreads();
            load_tile<D>(keys, k, from, N, at);
            load_tile<D>(values, v, from, N, at);
            __syncthreads();
            if (t < frames) {
                float s[N / 8][4] = {}, d[N / 8][4] = {};
                multiply_transposed<D, N>(own, keys, s);
                multiply_transposed<D, N>(own_grads, values, d);
#pragma unroll
                for (int n = 0; n < N / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        unsigned key = from + COLUMN_OF(n, i);
                        float p = key < frames
                            ? exp2f(logit(s[n][i], lift[i / 2], t + ROW_OF(i), key) - sum[i / 2])
                            : 0;
                        float kept = d[n][i] * drop(mask, (t + ROW_OF(i)) * frames + key);
                        of_gate[i / 2] += p * kept;
                        s[n][i] = p * (open * kept - mean[i / 2]);
                        if (bias.gate) {
                            if (key < frames)
                                of_lift[i / 2] += s[n][i] * logit.along(t + ROW_OF(i), key);
                            square[(threadIdx.y * 16 + ROW_OF(i)) * (N + 1) + COLUMN_OF(n, i)] =
                                lift[i / 2] * s[n][i];
                        }
                    }
                multiply<D, N>(s, keys, out);
            }
            if (bias.gate) {
                __syncthreads();
                // A thread for each diagonal: key - query = from - begin + IN_BLOCK - (OWN - 1).
                if (IN_BLOCK < OWN + N - 1) {
                    float total = 0;
                    for (int column = 0; column < N; column++) {
                        unsigned row = column + OWN - 1 - IN_BLOCK; // wraps below 0
                        if (row < min(OWN, frames - begin)) total += square[row * (N + 1) + column];
                    }
                    unsigned distance = (unsigned)bias.longest + from + IN_BLOCK - begin - OWN;
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
            if (all.gate) dgate[at.scalar(query)] = of_gate[r];
            if (bias.gate) dlift[at.scalar(query)] += of_lift[r];
        }
        float factor[2] = {SCALE, SCALE};
        store_rows<D>(out, factor, own, dq, t, at);
    }
}

// dv = (gate p drop)ᵀ grad and dk = scale dsᵀ q (frames, heads size), with m of attend_queries.
// A block owns OWN keys. Shared memory: 2 OWN + 2 BACKWARD rows of a tile, and 3 BACKWARD floats.
template <class T, int D>
SHARED_KERNEL(D > 64 ? 1 : 2, attend_keys,
              (Columns<T> q, Columns<T> k, Columns<T> v, Outputs<T> back, const float* m, T* dk,
               T* dv, AttentionShape all, RelativeBias bias)) {
    const int N = BACKWARD;
    const RowHead at(all);
    unsigned frames = at.frames, begin = blockIdx.x * OWN, t = begin + threadIdx.y * 16;
    if (begin >= frames) return;
    T *keys = (T*)dynamic, *values = keys + OWN * STRIDE;
    T *queries = values + OWN * STRIDE, *grads = queries + N * STRIDE;
    float *sums = (float*)(grads + N * STRIDE), *means = sums + N, *lifts = means + N;
    T *own = keys + threadIdx.y * 16 * STRIDE, *own_values = values + threadIdx.y * 16 * STRIDE;
    Mask mask = fork(all.mask, blockIdx.y);
    Logits logit(at, bias);
    float open = all.gate ? all.gate[at.head] : 1;
    float of_keys[D / 8][4] = {}, of_values[D / 8][4] = {};
    load_tile<D>(keys, k, begin, OWN, at);
    load_tile<D>(values, v, begin, OWN, at);
    for (unsigned from = 0; from < frames; from += N) {
        __syncthreads();
        load_tile<D>(queries, q, from, N, at);
        load_tile<D>(grads, back.grad, from, N, at);
        if (IN_BLOCK < N) {
            unsigned query = from + IN_BLOCK;
            sums[IN_BLOCK] = query < frames ? back.sums[at.scalar(query)] : 1e30f; // p is 0
            means[IN_BLOCK] = query < frames ? m[at.scalar(query)] : 0;
            lifts[IN_BLOCK] = logit.lift(at, query);
        }
        __syncthreads();
        if (t >= frames) continue;
#pragma unroll 1
        for (int half = 0; half < N; half += 16) { // two larger products do not fit in registers
            float s[2][4] = {}, d[2][4] = {};
            multiply_transposed<D, 16>(own, queries + half * STRIDE, s);
            multiply_transposed<D, 16>(own_values, grads + half * STRIDE, d);
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    unsigned column = half + COLUMN_OF(n, i);
                    unsigned query = from + column, key = t + ROW_OF(i);
                    float p = exp2f(logit(s[n][i], lifts[column], query, key) - sums[column]);
                    float factor = open * drop(mask, query * frames + key);
                    s[n][i] = p * (factor * d[n][i] - means[column]);
                    d[n][i] = p * factor;
                }
            multiply<D, 16>(d, grads + half * STRIDE, of_values);
            multiply<D, 16>(s, queries + half * STRIDE, of_keys);
        }
    }
    float one[2] = {1, 1}, scale[2] = {SCALE, SCALE};
    store_rows<D>(of_values, one, own_values, dv, t, at);
    store_rows<D>(of_keys, scale, own, dk, t, at);
}


// drelative (heads, distances) = the sums over rows and blocks of attend_queries' distances, parts
// (rows heads, blocks, distances), in their order. A thread for each distance; grid
// (distances / 256, heads).
KERNEL(sum_distances, (const float* parts, float* drelative, size_t rows, size_t blocks,
                       size_t distances)) {
    size_t i = THREAD, heads = gridDim.y;
    if (i >= distances) return;
    float sum = 0;
    for (size_t part = 0; part < rows * blocks; part++)
        sum += parts[((part / blocks * heads + blockIdx.y) * blocks + part % blocks) * distances +
                     i];
    drelative[blockIdx.y * distances + i] = sum;
}

// relative (heads, distances) = the numbers of the table (buckets, wide) for each distance, whose
// bucket is buckets[distance]; the column of a head is columns[head]. Grid (distances / 256,
// heads).
KERNEL(relative, (const float* table, float* relative, const size_t* buckets,
                  const size_t* columns, size_t distances, size_t wide)) {
    size_t i = THREAD;
    if (i < distances)
        relative[blockIdx.y * distances + i] = table[buckets[i] * wide + columns[blockIdx.y]];
}
// dtable (buckets, wide) += the sums of drelative over the distances of a bucket. Grid
// (buckets / 256, heads).
KERNEL(table_gradient, (const float* drelative, float* dtable, const size_t* buckets,
                        const size_t* columns, size_t distances, size_t wide)) {
    size_t bucket = THREAD;
    float sum = 0;
    bool any = false;
    for (size_t i = 0; i < distances; i++)
        if (buckets[i] == bucket) { sum += drelative[blockIdx.y * distances + i]; any = true; }
    if (any) dtable[bucket * wide + columns[blockIdx.y]] += sum;
}
