// nodes/compute/op/position_gate.rs on x (frames, all d) with weights w (8, d), b (8), c (all), for
// the `count` heads of all that are named in heads.
struct GateHeads { const size_t* heads; size_t count, all, d; };

// maps = the sums of rows 0 to 3 and of rows 4 to 7 of w (2, d), and behind them the same sums of b
// (2). A thread for each number; grid (2 d + 2 / 256).
KERNEL(sum_maps, (const float* w, const float* b, float* maps, size_t d)) {
    size_t i = THREAD;
    if (i >= 2 * d + 2) return;
    float sum = 0;
    for (size_t row = 0; row < 4; row++)
        sum += i < 2 * d ? w[(i / d * 4 + row) * d + i % d] : b[(i - 2 * d) * 4 + row];
    maps[i] = sum;
}

__device__ __forceinline__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// gate (rows, count) = a (b c - 1) + 2, where a and b are the sigmoids of x maps, which are written
// to ab (rows, count, 2). A warp for each frame of each head; grid (rows / 8, count).
KERNEL(position_gate, (const float* x, const float* maps, const float* c, float* ab, float* gate,
                       size_t rows, GateHeads of)) {
    size_t row = WARP, head = of.heads[blockIdx.y], at = row * of.count + blockIdx.y;
    if (row >= rows) return;
    float u[2] = {};
    for (size_t i = threadIdx.x; i < of.d; i += 32)
        for (int j = 0; j < 2; j++)
            u[j] += x[(row * of.all + head) * of.d + i] * maps[j * of.d + i];
    float a = sigmoid(warp_sum(u[0]) + maps[2 * of.d]);
    float b = sigmoid(warp_sum(u[1]) + maps[2 * of.d + 1]);
    if (threadIdx.x) return;
    ab[2 * at] = a;
    ab[2 * at + 1] = b;
    gate[at] = a * (b * c[head] - 1) + 2;
}

// From dy, the gradient of gate: du (rows, count, 2), the gradient before the sigmoids, dc (rows,
// count) = dy a b, and dx += du maps. Grid (rows / 8, count), as above.
KERNEL(position_gate_backward, (const float* dy, const float* ab, const float* maps,
                                const float* c, float* du, float* dc, float* dx, size_t rows,
                                GateHeads of)) {
    size_t row = WARP, head = of.heads[blockIdx.y], at = row * of.count + blockIdx.y;
    if (row >= rows) return;
    float d = dy[at], a = ab[2 * at], b = ab[2 * at + 1];
    float u0 = d * (b * c[head] - 1) * a * (1 - a), u1 = d * a * c[head] * b * (1 - b);
    for (size_t i = threadIdx.x; i < of.d; i += 32)
        dx[(row * of.all + head) * of.d + i] += u0 * maps[i] + u1 * maps[of.d + i];
    if (threadIdx.x) return;
    du[2 * at] = u0;
    du[2 * at + 1] = u1;
    dc[at] = d * a * b;
}

// Writes parts (blocks, 2 d + 2) of the gradient of maps; a block sums `per` rows. A thread for
// each number; grid (2 d + 2 / 256, blocks).
KERNEL(map_sums, (const float* du, const float* x, float* parts, size_t rows, size_t per,
                  GateHeads of)) {
    size_t i = THREAD, size = 2 * of.d + 2;
    if (i >= size) return;
    bool offset = i >= 2 * of.d;
    size_t j = offset ? i - 2 * of.d : i / of.d, column = i % of.d;
    float sum = 0;
    for (size_t row = blockIdx.y * per; row < rows && row < (blockIdx.y + 1) * per; row++)
        for (size_t h = 0; h < of.count; h++)
            sum += du[(row * of.count + h) * 2 + j] *
                   (offset ? 1 : x[(row * of.all + of.heads[h]) * of.d + column]);
    parts[blockIdx.y * size + i] = sum;
}

// dw (8, d) and db (8) += the gradient dmaps (2 d + 2), the same for each of four rows. A thread
// for each number of dw; grid (8 d / 256).
KERNEL(spread_maps, (const float* dmaps, float* dw, float* db, size_t d)) {
    size_t i = THREAD;
    if (i < 8 * d) dw[i] += dmaps[i / (4 * d) * d + i % d];
    if (i < 8) db[i] += dmaps[2 * d + i / 4];
}
// dc[heads] += sums (count). Grid (count / 256).
KERNEL(spread_heads, (const float* sums, float* dc, GateHeads of)) {
    size_t i = THREAD;
    if (i < of.count) dc[of.heads[i]] += sums[i];
}
