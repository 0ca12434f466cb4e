// One step of nodes/compute/op/lstm.rs for the n rows that are still running: row r is at frame
// frames[r] of the batch. The gates i, f, g, o of all frames are (frames, 4, units), h and c of the
// step (n, units). A thread for each unit of a row; grid (n units / 256).
struct LstmStep { const size_t* frames; size_t n, units; };
#define UNIT \
    size_t i = THREAD, r = i / at.units, k = i % at.units; \
    if (i >= at.n * at.units) return; \
    size_t frame = at.frames[r]

// Adds the recurrent `product` (n, 4, units) to the gates and activates them; replaces h and c of
// the step before by those of this one. Writes h and c of the step before to h_before and c_before
// (frames, units), and h to y (frames, wide).
KERNEL(lstm_step, (float* gates, const float* product, float* h, float* c, float* h_before,
                   float* c_before, float* y, size_t wide, LstmStep at)) {
    UNIT;
    float z[4];
    for (int q = 0; q < 4; q++) {
        float* own = gates + (frame * 4 + q) * at.units + k;
        z[q] = *own + product[(r * 4 + q) * at.units + k];
        z[q] = q == 2 ? tanhf(z[q]) : sigmoid(z[q]);
        *own = z[q];
    }
    h_before[frame * at.units + k] = h[i];
    c_before[frame * at.units + k] = c[i];
    c[i] = z[1] * c[i] + z[0] * z[2];
    h[i] = z[3] * tanhf(c[i]);
    y[frame * wide + k] = h[i];
}

// Replaces the gates by their gradient before the activation, and writes that to dz (n, 4, units)
// too. dy is the gradient of y, dh (n, units) that of h from the step after; dc (n, units) is
// replaced by that of the step before.
KERNEL(lstm_step_backward, (float* gates, const float* dy, const float* dh, float* dc,
                            const float* c_before, float* dz, size_t wide, LstmStep at)) {
    UNIT;
    float *own = gates + frame * 4 * at.units + k, z[4], before = c_before[frame * at.units + k];
    for (int q = 0; q < 4; q++) z[q] = own[q * at.units];
    float d = dh[i] + dy[frame * wide + k], t = tanhf(z[1] * before + z[0] * z[2]);
    float cell = dc[i] + d * z[3] * (1 - t * t);
    dc[i] = cell * z[1];
    float slopes[4] = {cell * z[2] * z[0] * (1 - z[0]), cell * before * z[1] * (1 - z[1]),
                       cell * z[0] * (1 - z[2] * z[2]), d * t * z[3] * (1 - z[3])};
    for (int q = 0; q < 4; q++) own[q * at.units] = dz[(r * 4 + q) * at.units + k] = slopes[q];
}
