// The kernels of nodes/compute/op/mask_frames.rs over n numbers, with a thread for each. Grid
// (n / 256).

// y = e (width) in the rows where masked (n / width) is not 0, x in the others
KERNEL(mask_rows, (const float* x, const float* e, const size_t* masked, float* y, size_t n,
                   size_t width)) {
    size_t i = THREAD;
    if (i < n) y[i] = masked[i / width] ? e[i % width] : x[i];
}
// dx += dy in the rows that are not masked; hidden = dy in the masked rows, 0 in the others
KERNEL(unmask_rows, (const float* dy, const size_t* masked, float* dx, float* hidden, size_t n,
                     size_t width)) {
    size_t i = THREAD;
    if (i >= n) return;
    bool is_masked = masked[i / width];
    if (!is_masked) dx[i] += dy[i];
    hidden[i] = is_masked ? dy[i] : 0;
}
