// nodes/compute/op/conv1d.rs with kernel width k and stride s. The rows of a batch are copied into
// slots of s frames each, as many as the row has windows and (k - 1) / s more: then window w of all
// rows begins at frame s w of one matrix, and no window needs a copy. Frames in slots are filled up
// with zeros to `filled` channels; a kernel without it takes `width` of filled channels. A warp for
// each frame of a row, grid (longest row / 8, rows), unless said otherwise.
#define ROW blockIdx.y

// Row r of the batch begins at frame starts[r], window windows[r] and slot slots[r]; each array has
// the end of the last row behind it.
struct SlotLayout { const size_t *starts, *windows, *slots; size_t k, s; };

// The number of frames of a row that its windows see.
#define SEEN(at, row) \
    ((at.windows[(row) + 1] - at.windows[row]) \
         ? (at.windows[(row) + 1] - at.windows[row] - 1) * at.s + at.k : 0)

// to, in slots, = GELU(x) gate if `activates`, else x (frames, width), with zeros in frames that no
// window sees; gate (width) may be absent.
template <class T, int V>
KERNEL(into_slots, (const float* x, const float* gate, T* to, size_t width, size_t filled,
                    bool activates, SlotLayout at)) {
    size_t t = WARP, frames = (at.slots[ROW + 1] - at.slots[ROW]) * at.s;
    if (t >= frames) return;
    ALONG(column, filled) {
        float v[V] = {}, g[V];
        if (t < SEEN(at, ROW) && column < width) {
            load<V>(x + (at.starts[ROW] + t) * width + column, v);
            if (gate) load<V>(gate + column, g);
#pragma unroll
            for (int i = 0; i < V; i++) if (activates) v[i] = gelu(v[i]) * (gate ? g[i] : 1);
        }
        store<V>(to + (at.slots[ROW] * at.s + t) * filled + column, v);
    }
}

// to, in the slots `at`, = GELU(z + bias) gate, where z, the result of a convolution, has a frame
// in each slot of `from`; bias and gate (width) may be absent.
template <class T, int V>
KERNEL(slots_into_slots, (const T* z, const float* bias, const float* gate, T* to, size_t width,
                          SlotLayout from, SlotLayout at)) {
    size_t t = WARP, frames = (at.slots[ROW + 1] - at.slots[ROW]) * at.s;
    if (t >= frames) return;
    float v[V] = {}, b[V] = {}, g[V];
    ALONG(column, width) {
        if (t < SEEN(at, ROW)) {
            load<V>(z + (from.slots[ROW] + t) * width + column, v);
            if (bias) load<V>(bias + column, b);
            if (gate) load<V>(gate + column, g);
#pragma unroll
            for (int i = 0; i < V; i++) v[i] = gelu(v[i] + b[i]) * (gate ? g[i] : 1);
        }
        store<V>(to + (at.slots[ROW] * at.s + t) * width + column, v);
    }
}

// y (windows, width) = from + bias, where `from` has a frame in each slot; bias (width) may be
// absent. A warp for each slot; grid (longest row's slots / 8, rows).
template <class T, int V>
KERNEL(from_slots, (const T* from, const float* bias, float* y, size_t width, size_t filled,
                    SlotLayout at)) {
    size_t w = WARP;
    if (w >= at.windows[ROW + 1] - at.windows[ROW]) return;
    float v[V], b[V];
    ALONG(column, width) {
        load<V>(from + (at.slots[ROW] + w) * filled + column, v);
        if (bias) load<V>(bias + column, b);
#pragma unroll
        for (int i = 0; i < V; i++) v[i] += bias ? b[i] : 0;
        store<V>(y + (at.windows[ROW] + w) * width + column, v);
    }
}

// to, a frame in each slot, = dy (windows, width), with zeros in slots without a window. A warp for
// each slot; grid (longest row's slots / 8, rows).
template <class T, int V>
KERNEL(gradient_into_slots, (const float* dy, T* to, size_t width, size_t filled,
                             SlotLayout at)) {
    size_t w = WARP;
    if (w >= at.slots[ROW + 1] - at.slots[ROW]) return;
    ALONG(column, filled) {
        float v[V] = {};
        if (w < at.windows[ROW + 1] - at.windows[ROW] && column < width)
            load<V>(dy + (at.windows[ROW] + w) * width + column, v);
        store<V>(to + (at.slots[ROW] + w) * filled + column, v);
    }
}

// dx (frames, width) += dh gate slope(x), where dh lies in slots. With a gate, replaces dh by dh
// GELU(x), the terms of the gate's gradient. dh is zero in frames that no window sees; gate (width)
// may be absent.
template <class T, int V>
KERNEL(gradient_from_slots, (const float* x, const float* gate, T* dh, float* dx, size_t width,
                             size_t filled, SlotLayout at)) {
    size_t t = WARP;
    if (t >= SEEN(at, ROW)) return;
    float v[V], d[V], g[V], h[V];
    ALONG(column, width) {
        T* place = dh + (at.slots[ROW] * at.s + t) * filled + column;
        load<V>(place, d);
        load<V>(x + (at.starts[ROW] + t) * width + column, v);
        if (gate) load<V>(gate + column, g);
#pragma unroll
        for (int i = 0; i < V; i++) {
            h[i] = gate ? d[i] * gelu(v[i]) : 0;
            d[i] *= gelu_slope(v[i]) * (gate ? g[i] : 1);
        }
        accumulate<V>(dx + (at.starts[ROW] + t) * width + column, d);
        if (gate) store<V>(place, h);
    }
}

// grad = dh gate slope(z + bias), where grad and z have a frame in each slot of `own` and dh lies
// in the slots `seen`; zero in slots of `own` that no window of `seen` sees. With a gate, replaces
// dh by dh GELU(z + bias). bias and gate (width) may be absent.
template <class T, int V>
KERNEL(gradient_between_slots, (const T* z, const float* bias, const float* gate, T* dh, T* grad,
                                size_t width, SlotLayout own, SlotLayout seen)) {
    size_t t = WARP;
    if (t >= own.slots[ROW + 1] - own.slots[ROW]) return;
    float v[V], d[V] = {}, b[V] = {}, g[V], h[V];
    ALONG(column, width) {
        size_t at = (own.slots[ROW] + t) * width + column;
        if (t < SEEN(seen, ROW)) {
            T* place = dh + (seen.slots[ROW] * seen.s + t) * width + column;
            load<V>(place, d);
            load<V>(z + at, v);
            if (bias) load<V>(bias + column, b);
            if (gate) load<V>(gate + column, g);
#pragma unroll
            for (int i = 0; i < V; i++) {
                float x = v[i] + b[i];
                h[i] = gate ? d[i] * gelu(x) : 0;
                d[i] *= gelu_slope(x) * (gate ? g[i] : 1);
            }
            if (gate) store<V>(place, h);
        }
        store<V>(grad + at, d);
    }
}

// The weight of a tap, or zero where the filled weight has no such channel.
#define WEIGHT(o, c, tap) ((o) < out && (c) < width ? w[((o) * width + (c)) * k + (tap)] : 0)

// taps (filled out, k, filled width) = w (out, width, k). A thread for each of n numbers; grid
// (n / 256).
template <class T>
KERNEL(taps_first, (const float* w, T* taps, size_t n, size_t out, size_t k, size_t width,
                    size_t filled)) {
    size_t i = THREAD;
    if (i < n) narrow(taps + i, WEIGHT(i / filled / k, i % filled, i / filled % k));
}
// taps = w (out, width, k), ordered by the frames of a slot: for each frame the q taps that see it,
// those of the earliest window first, (q, filled_out, filled). A thread for each of n numbers; grid
// (n / 256).
template <class T>
KERNEL(taps_by_frame, (const float* w, T* taps, size_t n, size_t out, size_t filled_out, size_t k,
                       size_t width, size_t filled, size_t s)) {
    size_t to = THREAD, i = to, frame = 0, q = (k + s - 1) / s;
    if (to >= n) return;
    for (; i >= q * filled_out * filled; q = (k - ++frame + s - 1) / s)
        i -= q * filled_out * filled;
    size_t tap = frame + (q - 1 - i / filled / filled_out) * s;
    narrow(taps + to, WEIGHT(i / filled % filled_out, i % filled, tap));
}
// dw (out, width, k) += the sum over parts of dtaps (parts, filled out, k, filled); a part has `step`
// numbers. A thread for each of n numbers of dw; grid (n / 256).
KERNEL(taps_last, (const float* dtaps, float* dw, size_t parts, size_t step, size_t n, size_t k,
                   size_t width, size_t filled)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t column = i % width, tap = i / width % k, o = i / width / k;
    float sum = 0;
    for (size_t part = 0; part < parts; part++)
        sum += dtaps[part * step + (o * k + tap) * filled + column];
    dw[(o * width + column) * k + tap] += sum;
}
