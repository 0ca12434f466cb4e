// The kernels of nodes/compute/op/select_frames.rs over the n numbers of y, with a thread for each.
// Grid (n / 256).

// y (n / width, width) = the rows of x whose numbers are in chosen (n / width)
KERNEL(select_rows, (const float* x, const size_t* chosen, float* y, size_t n, size_t width)) {
    size_t i = THREAD;
    if (i < n) y[i] = x[chosen[i / width] * width + i % width];
}
// the rows of dx whose numbers are in chosen (n / width) += dy (n / width, width)
KERNEL(unselect_rows, (const float* dy, const size_t* chosen, float* dx, size_t n, size_t width)) {
    size_t i = THREAD;
    if (i < n) dx[chosen[i / width] * width + i % width] += dy[i];
}
