// The kernels of nodes/compute/op/cross_entropy.rs. Logits x are (rows, classes). A warp for each
// row; grid (rows / 8).

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
