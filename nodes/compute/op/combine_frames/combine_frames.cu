// The kernel of nodes/compute/op/combine_frames.rs over the n numbers of y (n / width, width), with a
// thread for each. Grid (n / 256).

// y += open (rows, width) times the sum of weights x over sources, of which frame t has those from
// starts[t] to starts[t + 1]; rows (n / width) has the row of each frame
KERNEL(combine_frames, (const float* x, const size_t* starts, const size_t* sources,
                        const float* weights, const size_t* rows, const float* open, float* y,
                        size_t n, size_t width)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t frame = i / width, c = i % width;
    float sum = 0;
    for (size_t k = starts[frame]; k < starts[frame + 1]; k++)
        sum += weights[k] * x[sources[k] * width + c];
    y[i] += open[rows[frame] * width + c] * sum;
}
