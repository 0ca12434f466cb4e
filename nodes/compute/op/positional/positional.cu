// nodes/compute/op/positional.rs, as a convolution of blocks: S frames of c channels are a slot of S c channels, and the weight of a
// group is written out for the S places in a slot, (S c out, window, c in), a window being k + S - 1 frames, filled up to
// whole slots. So a group is one convolution of slots, and the groups are as many: x (groups, slots S, c).
struct BlockLayout { const size_t *starts, *slots; size_t total, k, c, places, window; };
// Rows of the batch by frames and by slots, of which there are `total`; ROW is blockIdx.y.

// norms[t] = |v[:, :, t]|; a block a tap.
KERNEL(tap_norms, (const float* v, double* norms, size_t n, size_t k)) {
    double sum = 0;
    for (size_t i = IN_BLOCK; i < n; i += 256) sum += (double)v[i * k + blockIdx.x] * v[i * k + blockIdx.x];
    sum = block_sum(sum);
    if (IN_BLOCK == 0) norms[blockIdx.x] = sqrt(sum);
}

// v (width, c, k) -> taps (groups, places, c out, window, c in) of W = g v / norm; turned, for the gradient of x from windows
// of that of u which end where the slot does: (groups, places, c in, window, c out). A thread a tap of the result.
template <class T> KERNEL(write_out, (const float* v, const float* g, const double* norms, T* taps, size_t n, bool transposed, BlockLayout at)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t from = i % at.c, seen = i / at.c % at.window, to = i / at.c / at.window % at.c, place = i / at.c / at.window / at.c % at.places;
    size_t group = i / at.c / at.window / at.c / at.places;
    size_t tap = transposed ? at.window - at.places + place - seen : seen - place; // before the first it is larger than any
    size_t out = transposed ? from : to, in = transposed ? to : from;
    float w = tap < at.k ? g[tap] / norms[tap] * v[((group * at.c + out) * at.c + in) * at.k + tap] : 0;
    narrow(taps + i, w);
}
// dw (width, k, c): the sum over places.
KERNEL(sum_places, (const float* dtaps, float* dw, size_t n, BlockLayout at)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t in = i % at.c, tap = i / at.c % at.k, out = i / at.c / at.k % at.c, group = i / at.c / at.k / at.c;
    float sum = 0;
    for (size_t place = 0; place < at.places; place++)
        sum += dtaps[(((group * at.places + place) * at.c + out) * at.window + tap + place) * at.c + in];
    dw[i] = sum;
}

// Where a channel of frame `at_frame` of a row's slots lies in (groups, total places, c).
#define PLACE(frame, channel) ((((channel) / at.c * at.total + at.slots[ROW]) * at.places + (frame)) * at.c + (channel) % at.c)
#define FRAMES_OF_ROW (at.starts[ROW + 1] - at.starts[ROW])

// to = from, `before` frames into the slots; zeros around it. A warp a frame of the slots; grid (longest / 8, rows).
template <class T> KERNEL(into_blocks, (const float* from, T* to, size_t width, size_t before, BlockLayout at)) {
    size_t frame = WARP, t = frame - before;
    if (frame >= (at.slots[ROW + 1] - at.slots[ROW]) * at.places) return;
    for (size_t c = threadIdx.x; c < width; c += 32)
        narrow(to + PLACE(frame, c), t < FRAMES_OF_ROW ? from[(at.starts[ROW] + t) * width + c] : 0);
}

// u += b, and y = x + GELU(u); u comes from the slots.
KERNEL(positional, (const float* x, const float* from, const float* b, float* u, float* y, size_t width, BlockLayout at)) {
    size_t t = WARP;
    if (t >= FRAMES_OF_ROW) return;
    for (size_t c = threadIdx.x; c < width; c += 32) {
        size_t i = (at.starts[ROW] + t) * width + c;
        u[i] = from[PLACE(t, c)] + b[c];
        y[i] = x[i] + gelu(u[i]);
    }
}

// dx += dy + what is `before` frames into the slots.
KERNEL(positional_backward, (const float* dy, const float* from, float* dx, size_t width, size_t before, BlockLayout at)) {
    size_t t = WARP;
    if (t >= FRAMES_OF_ROW) return;
    for (size_t c = threadIdx.x; c < width; c += 32) {
        size_t i = (at.starts[ROW] + t) * width + c;
        dx[i] += dy[i] + from[PLACE(t + before, c)];
    }
}

// u becomes du = dy slope(u).
KERNEL(positional_slope, (const float* dy, float* u, size_t n)) {
    size_t i = THREAD;
    if (i < n) u[i] = dy[i] * gelu_slope(u[i]);
}


// along[t] = sum of dw v / norm, the gradient of g; a block a tap. dw is (width, k, c), v (width, c, k).
KERNEL(tap_gradients, (const float* dw, const float* v, const double* norms, double* along, float* dg, size_t n, size_t k, size_t c)) {
    size_t tap = blockIdx.x;
    double sum = 0;
    for (size_t i = IN_BLOCK; i < n; i += 256) sum += (double)dw[(i / c * k + tap) * c + i % c] * v[i * k + tap];
    sum = block_sum(sum);
    if (IN_BLOCK) return;
    along[tap] = sum / norms[tap];
    dg[tap] += along[tap];
}
// dv += g / norm (dw - v along / norm)
KERNEL(direction_gradient, (const float* dw, const float* v, const float* g, const double* norms, const double* along, float* dv, size_t n, size_t k, size_t c)) {
    size_t i = THREAD, tap = i % k, channel = i / k;
    if (i < n) dv[i] += g[tap] / norms[tap] * (dw[(channel / c * k + tap) * c + channel % c] - v[i] * along[tap] / norms[tap]);
}
