// The kernels of nodes/compute/op/cosine_logits.rs on unit vectors (rows, width). A warp for each
// row; grid (rows / 8).

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
