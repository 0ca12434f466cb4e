// nodes/compute/op/positional.rs as a convolution of slots: `places` frames of the c channels of a
// group are one slot, and the weight of a group is written out for each place in a slot, (places
// c_out, window, c_in). A window has k + places - 1 frames, filled up to whole slots. x in slots is
// (groups, total places, c).

// Row r of the batch has the frames from starts[r] and the slots from slots[r] on, to the next
// row's; there are `total` slots. ROW is blockIdx.y.
struct BlockLayout { const size_t *starts, *slots; size_t total, k, c, places, window; };

// norms (k) = |v[:, :, t]| for each tap t of v (n, k). Grid (k).
KERNEL(tap_norms, (const float* v, double* norms, size_t n, size_t k)) {
    double sum = 0;
    for (size_t i = IN_BLOCK; i < n; i += 256)
        sum += (double)v[i * k + blockIdx.x] * v[i * k + blockIdx.x];
    sum = block_sum(sum);
    if (IN_BLOCK == 0) norms[blockIdx.x] = sqrt(sum);
}

// taps (groups, places, c_out, window, c_in) = W = g v / norm, from v (width, c, k). Transposed,
// taps (groups, places, c_in, window, c_out) for the gradient of x, from windows of the gradient of
// u that end where the slot ends. A thread for each of n taps; grid (n / 256).
template <class T>
KERNEL(write_out, (const float* v, const float* g, const double* norms, T* taps, size_t n,
                   bool transposed, BlockLayout at)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t from = i % at.c, seen = i / at.c % at.window, to = i / at.c / at.window % at.c;
    size_t place = i / at.c / at.window / at.c % at.places;
    size_t group = i / at.c / at.window / at.c / at.places;
    // before the first tap it wraps and is larger than any
    size_t tap = transposed ? at.window - at.places + place - seen : seen - place;
    size_t out = transposed ? from : to, in = transposed ? to : from;
    float w = tap < at.k
        ? g[tap] / norms[tap] * v[((group * at.c + out) * at.c + in) * at.k + tap] : 0;
    narrow(taps + i, w);
}
// dw (width, k, c) = the sum over places of dtaps, the gradient of the written-out taps. A thread
// for each of n numbers; grid (n / 256).
KERNEL(sum_places, (const float* dtaps, float* dw, size_t n, BlockLayout at)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t in = i % at.c, tap = i / at.c % at.k;
    size_t out = i / at.c / at.k % at.c, group = i / at.c / at.k / at.c;
    float sum = 0;
    for (size_t place = 0; place < at.places; place++) {
        size_t channel = (group * at.places + place) * at.c + out;
        sum += dtaps[(channel * at.window + tap + place) * at.c + in];
    }
    dw[i] = sum;
}

// The position in (groups, total places, c) of a channel of a frame, counted from the row's slots.
#define PLACE(frame, channel) \
    ((((channel) / at.c * at.total + at.slots[ROW]) * at.places + (frame)) * at.c + \
     (channel) % at.c)
#define FRAMES_OF_ROW (at.starts[ROW + 1] - at.starts[ROW])

// Copies from (frames, width) into slots, `before` frames behind the begin of the row's, with zeros
// around. A warp for each frame of the slots; grid (longest row / 8, rows).
template <class T>
KERNEL(into_blocks, (const float* from, T* to, size_t width, size_t before, BlockLayout at)) {
    size_t frame = WARP, t = frame - before;
    if (frame >= (at.slots[ROW + 1] - at.slots[ROW]) * at.places) return;
    for (size_t c = threadIdx.x; c < width; c += 32)
        narrow(to + PLACE(frame, c),
               t < FRAMES_OF_ROW ? from[(at.starts[ROW] + t) * width + c] : 0);
}

// u = from + b, where `from` lies in slots, and y = x + GELU(u) (frames, width). Grid as above.
KERNEL(positional, (const float* x, const float* from, const float* b, float* u, float* y,
                    size_t width, BlockLayout at)) {
    size_t t = WARP;
    if (t >= FRAMES_OF_ROW) return;
    for (size_t c = threadIdx.x; c < width; c += 32) {
        size_t i = (at.starts[ROW] + t) * width + c;
        u[i] = from[PLACE(t, c)] + b[c];
        y[i] = x[i] + gelu(u[i]);
    }
}

// dx (frames, width) += dy + from, where `from` lies in slots, `before` frames behind the begin of
// the row's. Grid as above.
KERNEL(positional_backward, (const float* dy, const float* from, float* dx, size_t width,
                             size_t before, BlockLayout at)) {
    size_t t = WARP;
    if (t >= FRAMES_OF_ROW) return;
    for (size_t c = threadIdx.x; c < width; c += 32) {
        size_t i = (at.starts[ROW] + t) * width + c;
        dx[i] += dy[i] + from[PLACE(t + before, c)];
    }
}

// Replaces u (n) by its gradient du = dy slope(u). Grid (n / 256).
KERNEL(positional_slope, (const float* dy, float* u, size_t n)) {
    size_t i = THREAD;
    if (i < n) u[i] = dy[i] * gelu_slope(u[i]);
}

// From dw (width, k, c), n = width c: along (k) = sum of dw v / norm, which is added to dg (k), the
// gradient of g. A block for each tap; grid (k).
KERNEL(tap_gradients, (const float* dw, const float* v, const double* norms, double* along,
                       float* dg, size_t n, size_t k, size_t c)) {
    size_t tap = blockIdx.x;
    double sum = 0;
    for (size_t i = IN_BLOCK; i < n; i += 256)
        sum += (double)dw[(i / c * k + tap) * c + i % c] * v[i * k + tap];
    sum = block_sum(sum);
    if (IN_BLOCK) return;
    along[tap] = sum / norms[tap];
    dg[tap] += along[tap];
}
// dv (width, c, k) += g / norm (dw - v along / norm). A thread for each of n numbers; grid (n /
// 256).
KERNEL(direction_gradient, (const float* dw, const float* v, const float* g, const double* norms,
                            const double* along, float* dv, size_t n, size_t k, size_t c)) {
    size_t i = THREAD, tap = i % k, channel = i / k;
    if (i < n)
        dv[i] += g[tap] / norms[tap] *
            (dw[(channel / c * k + tap) * c + channel % c] - v[i] * along[tap] / norms[tap]);
}
