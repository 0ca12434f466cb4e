// Means over the frames of each row, with a thread for each of the n numbers of y. Grid (n / 256).
// Row r of x (frames, width) has the frames starts[r] to starts[r + 1], at least one.

// y (rows, width) = the mean of each row's frames
KERNEL(row_means, (const float* x, const size_t* starts, float* y, size_t n, size_t width)) {
    size_t at = THREAD;
    if (at >= n) return;
    size_t row = at / width, channel = at % width;
    float sum = 0;
    for (size_t t = starts[row]; t < starts[row + 1]; t++) sum += x[t * width + channel];
    y[at] = sum / (starts[row + 1] - starts[row]);
}
// dx += dy (rows, width) / the frames of the row, in every frame of it
KERNEL(add_row_means_gradient, (const float* dy, const size_t* starts, float* dx, size_t n,
                                size_t width)) {
    size_t at = THREAD;
    if (at >= n) return;
    size_t row = at / width, channel = at % width;
    float share = dy[at] / (starts[row + 1] - starts[row]);
    for (size_t t = starts[row]; t < starts[row + 1]; t++) dx[t * width + channel] += share;
}
