// nodes/compute/op/conv1d.rs and conv_first.rs. The rows of a batch are copied into slots of s frames each, as many as the row has
// windows and (k - 1) / s more: then window w of all rows begins at frame s w of one matrix, and no window needs a copy.
// slots[r] is where row r begins, starts[r] and windows[r] are its first frame and its first window; each has one more, the
// end. A warp a frame of a row: grid (longest / 8, rows).
#define ROW blockIdx.y

struct SlotLayout { const size_t *starts, *windows, *slots; size_t k, s; };

// Frames of a row that a window sees.
#define SEEN(at, row) ((at.windows[(row) + 1] - at.windows[row]) ? (at.windows[(row) + 1] - at.windows[row] - 1) * at.s + at.k : 0)

// to = GELU(x) gate, or x
template <class T, int V> KERNEL(into_slots, (const float* x, const float* gate, T* to, size_t width, bool activates, SlotLayout at)) {
    size_t t = WARP, frames = (at.slots[ROW + 1] - at.slots[ROW]) * at.s;
    if (t >= frames) return;
    float v[V] = {}, g[V];
    ALONG(column, width) {
        if (t < SEEN(at, ROW)) {
            load<V>(x + (at.starts[ROW] + t) * width + column, v);
            if (gate) load<V>(gate + column, g);
#pragma unroll
            for (int i = 0; i < V; i++) if (activates) v[i] = gelu(v[i]) * (gate ? g[i] : 1);
        }
        store<V>(to + (at.slots[ROW] * at.s + t) * width + column, v);
    }
}

// The same from a convolution's own slots, a frame each, in the layout `from`; z is without its bias, which may be absent.
template <class T, int V> KERNEL(slots_into_slots, (const T* z, const float* bias, const float* gate, T* to, size_t width, SlotLayout from, SlotLayout at)) {
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

// y = from + bias, of the slots that are windows; `from` has a frame a slot.
template <class T, int V> KERNEL(from_slots, (const T* from, const float* bias, float* y, size_t width, SlotLayout at)) {
    size_t w = WARP;
    if (w >= at.windows[ROW + 1] - at.windows[ROW]) return;
    float v[V], b[V];
    ALONG(column, width) {
        load<V>(from + (at.slots[ROW] + w) * width + column, v);
        if (bias) load<V>(bias + column, b);
#pragma unroll
        for (int i = 0; i < V; i++) v[i] += bias ? b[i] : 0;
        store<V>(y + (at.windows[ROW] + w) * width + column, v);
    }
}

// The way back: to = dy, a frame a slot; slots that are no window get zeros.
template <class T, int V> KERNEL(gradient_into_slots, (const float* dy, T* to, size_t width, SlotLayout at)) {
    size_t w = WARP;
    if (w >= at.slots[ROW + 1] - at.slots[ROW]) return;
    float v[V] = {};
    ALONG(column, width) {
        if (w < at.windows[ROW + 1] - at.windows[ROW]) load<V>(dy + (at.windows[ROW] + w) * width + column, v);
        store<V>(to + (at.slots[ROW] + w) * width + column, v);
    }
}

// dx += dh gate slope(x), and, where there is a gate, dh GELU(x) in dh's place; dh is zero where no window sees it.
template <class T, int V> KERNEL(gradient_from_slots, (const float* x, const float* gate, T* dh, float* dx, size_t width, SlotLayout at)) {
    size_t t = WARP;
    if (t >= SEEN(at, ROW)) return;
    float v[V], d[V], g[V], h[V];
    ALONG(column, width) {
        T* place = dh + (at.slots[ROW] * at.s + t) * width + column;
        load<V>(place, d);
        load<V>(x + (at.starts[ROW] + t) * width + column, v);
        if (gate) load<V>(gate + column, g);
#pragma unroll
        for (int i = 0; i < V; i++) { h[i] = gate ? d[i] * gelu(v[i]) : 0; d[i] *= gelu_slope(v[i]) * (gate ? g[i] : 1); }
        accumulate<V>(dx + (at.starts[ROW] + t) * width + column, d);
        if (gate) store<V>(place, h);
    }
}

// The same where x = z + bias lies in slots: grad = dh gate slope(x) in the layout `of.own`, zero in slots that nobody sees.
template <class T, int V> KERNEL(gradient_between_slots, (const T* z, const float* bias, const float* gate, T* dh, T* grad, size_t width, SlotLayout own, SlotLayout seen)) {
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


// (out, in, k) -> (out, k, in), and back, added. A thread a tap, in the order of (out, k, in).
#define TAP(i) ((i) / (k * width) * k * width + (i) % width * k + (i) / width % k)
template <class T> KERNEL(taps_first, (const float* w, T* taps, size_t n, size_t k, size_t width)) {
    size_t i = THREAD;
    if (i < n) narrow(taps + i, w[TAP(i)]);
}
// (out, in, k) -> for each frame of a slot the taps that see it, those of the earliest window first: (q, out, in) of q windows.
template <class T> KERNEL(taps_by_frame, (const float* w, T* taps, size_t n, size_t out, size_t k, size_t width, size_t s)) {
    size_t to = THREAD, i = to, frame = 0, q = (k + s - 1) / s;
    if (to >= n) return;
    for (; i >= q * out * width; q = (k - ++frame + s - 1) / s) i -= q * out * width;
    size_t tap = frame + (q - 1 - i / width / out) * s;
    narrow(taps + to, w[(i / width % out * width + i % width) * k + tap]);
}
KERNEL(taps_last, (const float* dtaps, float* dw, size_t n, size_t k, size_t width)) {
    size_t i = THREAD;
    if (i < n) dw[TAP(i)] += dtaps[i];
}
