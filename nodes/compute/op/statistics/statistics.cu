// The kernels of nodes/compute/op/statistics.rs, with a thread for each channel of each row, n in all.
// Row r of x (frames, width) has the frames from bounds[r] to bounds[r + 1]. Grid (n / 256).

// y (n / width, 2, width) = mean and standard deviation of each row
KERNEL(statistics, (const float* x, const size_t* bounds, float* y, size_t n, size_t width)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t row = i / width, c = i % width, first = bounds[row], end = bounds[row + 1];
    float sum = 0, squares = 0;
    for (size_t t = first; t < end; t++) sum += x[t * width + c];
    float mean = end > first ? sum / (end - first) : 0;
    for (size_t t = first; t < end; t++) {
        float from = x[t * width + c] - mean;
        squares += from * from;
    }
    y[row * 2 * width + c] = mean;
    y[row * 2 * width + width + c] = end > first + 1 ? sqrtf(squares / (end - first - 1)) : 0;
}
// dx += the gradients through both
KERNEL(statistics_backward, (const float* dy, const float* x, const size_t* bounds, const float* y,
                             float* dx, size_t n, size_t width)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t row = i / width, c = i % width, at = row * 2 * width + c;
    size_t first = bounds[row], end = bounds[row + 1];
    if (end == first) return;
    float deviation = y[at + width], slope = dy[at] / (end - first);
    float factor = deviation > 0 ? dy[at + width] / ((end - first - 1) * deviation) : 0;
    for (size_t t = first; t < end; t++)
        dx[t * width + c] += slope + factor * (x[t * width + c] - y[at]);
}
