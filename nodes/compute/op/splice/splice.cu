// The kernels of nodes/compute/op/splice.rs.

// `frames` frames of x, `dilation` apart, are joined to one of y; f is ReLU if `rectifies`.
struct SplicedFrames { size_t frames, dilation, width, rectifies; };

// y (n / width / frames, frames, width) = f(x), from the frame of x whose number is in sources
// (n / width / frames) on. A thread for each of the n numbers of y; grid (n / 256).
KERNEL(splice, (const float* x, const size_t* sources, float* y, size_t n, SplicedFrames spliced)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t part = i / spliced.width, joined = part / spliced.frames;
    size_t source = sources[joined] + part % spliced.frames * spliced.dilation;
    float value = x[source * spliced.width + i % spliced.width];
    y[i] = spliced.rectifies ? fmaxf(value, 0) : value;
}
// dx (n / width, width) += f'(x) times the sum of the parts of dy that read it. readers (n / width, 3)
// has the frame of y that would begin with a frame of x, and the range of its row's frames of y. A
// thread for each of the n numbers of x; grid (n / 256).
KERNEL(splice_backward, (const float* dy, const float* x, const size_t* readers, float* dx, size_t n,
                         SplicedFrames spliced)) {
    size_t i = THREAD;
    if (i >= n || (spliced.rectifies && x[i] <= 0)) return;
    const size_t* reader = readers + i / spliced.width * 3;
    float sum = 0;
    for (size_t j = 0; j < spliced.frames; j++) {
        size_t distance = j * spliced.dilation;
        if (reader[0] < reader[1] + distance || reader[0] - distance >= reader[2]) continue;
        size_t part = (reader[0] - distance) * spliced.frames + j;
        sum += dy[part * spliced.width + i % spliced.width];
    }
    dx[i] += sum;
}
