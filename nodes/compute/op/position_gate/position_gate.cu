// nodes/compute/op/position_gate.rs. x (frames, all d), w (8, d), b (8), c (all), heads: which of all there are.
struct GateHeads { const size_t* heads; size_t count, all, d; };

// The sums of four rows: maps (2, d), and behind it offsets (2). A thread a number.
KERNEL(sum_maps, (const float* w, const float* b, float* maps, size_t d)) {
    size_t i = THREAD;
    if (i >= 2 * d + 2) return;
    float sum = 0;
    for (size_t row = 0; row < 4; row++) sum += i < 2 * d ? w[(i / d * 4 + row) * d + i % d] : b[(i - 2 * d) * 4 + row];
    maps[i] = sum;
}

__device__ __forceinline__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// ab (frames, count, 2), gate (frames, count); a warp a frame, grid (frames / 8, count).
KERNEL(position_gate, (const float* x, const float* maps, const float* c, float* ab, float* gate, size_t rows, GateHeads of)) {
    size_t row = WARP, head = of.heads[blockIdx.y], at = row * of.count + blockIdx.y;
    if (row >= rows) return;
    float u[2] = {};
    for (size_t i = threadIdx.x; i < of.d; i += 32)
        for (int j = 0; j < 2; j++) u[j] += x[(row * of.all + head) * of.d + i] * maps[j * of.d + i];
    float a = sigmoid(warp_sum(u[0]) + maps[2 * of.d]), b = sigmoid(warp_sum(u[1]) + maps[2 * of.d + 1]);
    if (threadIdx.x) return;
    ab[2 * at] = a;
    ab[2 * at + 1] = b;
    gate[at] = a * (b * c[head] - 1) + 2;
}

// From dgate: du (frames, count, 2), dc as dgate a b (frames, count), and dx += du maps. A warp a frame, as above.
KERNEL(position_gate_backward, (const float* dy, const float* ab, const float* maps, const float* c, float* du, float* dc, float* dx, size_t rows, GateHeads of)) {
    size_t row = WARP, head = of.heads[blockIdx.y], at = row * of.count + blockIdx.y;
    if (row >= rows) return;
    float d = dy[at], a = ab[2 * at], b = ab[2 * at + 1];
    float u0 = d * (b * c[head] - 1) * a * (1 - a), u1 = d * a * c[head] * b * (1 - b);
    for (size_t i = threadIdx.x; i < of.d; i += 32) dx[(row * of.all + head) * of.d + i] += u0 * maps[i] + u1 * maps[of.d + i];
    if (threadIdx.x) return;
    du[2 * at] = u0;
    du[2 * at + 1] = u1;
    dc[at] = d * a * b;
}

// Parts (blocks, 2 d + 2) of the gradient of maps and offsets. A thread a number; grid (2 d + 2 / 256, blocks).
KERNEL(map_sums, (const float* du, const float* x, float* parts, size_t rows, size_t per, GateHeads of)) {
    size_t i = THREAD, size = 2 * of.d + 2;
    if (i >= size) return;
    bool offset = i >= 2 * of.d;
    size_t j = offset ? i - 2 * of.d : i / of.d, column = i % of.d;
    float sum = 0;
    for (size_t row = blockIdx.y * per; row < rows && row < (blockIdx.y + 1) * per; row++)
        for (size_t h = 0; h < of.count; h++)
            sum += du[(row * of.count + h) * 2 + j] * (offset ? 1 : x[(row * of.all + of.heads[h]) * of.d + column]);
    parts[blockIdx.y * size + i] = sum;
}

// dw, db += what each of the four rows gets; dc[heads] += sums. A thread a number.
KERNEL(spread_maps, (const float* dmaps, float* dw, float* db, size_t d)) {
    size_t i = THREAD;
    if (i < 8 * d) dw[i] += dmaps[i / (4 * d) * d + i % d];
    if (i < 8) db[i] += dmaps[2 * d + i / 4];
}
KERNEL(spread_heads, (const float* sums, float* dc, GateHeads of)) {
    size_t i = THREAD;
    if (i < of.count) dc[of.heads[i]] += sums[i];
}
