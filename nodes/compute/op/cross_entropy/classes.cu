// nodes/compute/op/cross_entropy.rs, argmax.rs and cosine_logits.rs. Logits x are (rows, classes).
// A warp for each row; grid (rows / 8).

// values (rows) = weight (ln sum exp x - x[label]). Writes to soft (rows, 2) the largest logit of a
// row and the sum of exp (x - largest).
KERNEL(cross_entropy, (const float* x, const size_t* labels, const float* weights, float* values,
                       float* soft, size_t rows, size_t classes)) {
    size_t row = WARP;
    if (row >= rows) return;
    x += row * classes;
    float most = -1e30f, sum = 0;
    for (size_t c = threadIdx.x; c < classes; c += 32) most = fmaxf(most, x[c]);
    most = warp_max(most);
    for (size_t c = threadIdx.x; c < classes; c += 32) sum += expf(x[c] - most);
    sum = warp_sum(sum);
    if (threadIdx.x) return;
    soft[2 * row] = most;
    soft[2 * row + 1] = sum;
    values[row] = weights[row] ? weights[row] * (logf(sum) + (most - x[labels[row]])) : 0;
}

// dx += dy (1) weight unit (softmax - [c = label])
KERNEL(cross_entropy_backward, (const float* x, const size_t* labels, const float* weights,
                                const float* soft, const float* dy, float* dx, size_t rows,
                                size_t classes, float unit)) {
    size_t row = WARP;
    if (row >= rows) return;
    float scale = *dy * weights[row] * unit;
    if (!scale) return;
    for (size_t c = threadIdx.x; c < classes; c += 32) {
        float p = expf(x[row * classes + c] - soft[2 * row]) / soft[2 * row + 1];
        dx[row * classes + c] += scale * (p - (c == labels[row]));
    }
}

// places (rows) = the index of the first largest number of each row, as a float, below 2^24
KERNEL(argmax, (const float* x, float* places, size_t rows, size_t classes)) {
    size_t row = WARP;
    if (row >= rows) return;
    x += row * classes;
    float most = -1e38f, place = -1e38f;
    for (size_t c = threadIdx.x; c < classes; c += 32) most = fmaxf(most, x[c]);
    most = warp_max(most);
    for (size_t c = threadIdx.x; c < classes; c += 32)
        if (x[c] == most) place = fmaxf(place, -(float)c);
    place = warp_max(place);
    if (threadIdx.x == 0) places[row] = fmaxf(-place, 0);
}

// u = x / |x| (rows, width); norms (rows) = |x|, at least 1e-8
KERNEL(units, (const float* x, float* u, float* norms, size_t rows, size_t width)) {
    size_t row = WARP;
    if (row >= rows) return;
    float sum = 0;
    for (size_t i = threadIdx.x; i < width; i += 32) sum += x[row * width + i] * x[row * width + i];
    float norm = fmaxf(sqrtf(warp_sum(sum)), 1e-8f);
    for (size_t i = threadIdx.x; i < width; i += 32) u[row * width + i] = x[row * width + i] / norm;
    if (threadIdx.x == 0) norms[row] = norm;
}
// dx += factor (du - (du u) u) / |x|
KERNEL(units_backward, (const float* u, const float* norms, const float* du, float* dx, size_t rows,
                        size_t width, float factor)) {
    size_t row = WARP;
    if (row >= rows) return;
    float along = 0;
    for (size_t i = threadIdx.x; i < width; i += 32)
        along += du[row * width + i] * u[row * width + i];
    along = warp_sum(along);
    for (size_t i = threadIdx.x; i < width; i += 32)
        dx[row * width + i] += factor / norms[row] *
            (du[row * width + i] - along * u[row * width + i]);
}
