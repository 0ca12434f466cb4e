// The loss of nodes/compute/op/gram.rs on the squares of all rows (rows, padded, padded), whose
// padding is 0.

// d = target - d (frames, padded); squares (frames) = the sums of d d. A warp for each frame; grid
// (frames / 8).
KERNEL(gram_difference, (const float* target, float* d, float* squares, size_t frames,
                         size_t padded)) {
    size_t row = WARP;
    if (row >= frames) return;
    float sum = 0;
    for (size_t i = row * padded + threadIdx.x; i < (row + 1) * padded; i += 32) {
        d[i] = target[i] - d[i];
        sum += d[i] * d[i];
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0) squares[row] = sum;
}

// products (n) *= dy (1) factor. Grid (n / 256).
KERNEL(gram_scale, (float* products, const float* dy, size_t n, float factor)) {
    size_t i = THREAD;
    if (i < n) products[i] *= *dy * factor;
}
