// GELU(z) = z P(z), where P is the distribution function of the normal distribution and p its
// density; the slope is P(z) + z p(z). Arrays are (rows, width), gates and biases (width); those of
// `activate` and its gradient are filled up with zeros to `filled` columns. A kernel that takes n,
// the numbers of an array, has a thread for each V numbers, grid (n / 256 V); one that takes `per`
// writes parts of column sums as in sums.cu, grid (width / 32 V, blocks).

// Returns P(z) by the rational function of nodes/compute/math.rs, about half the instructions of
// normcdff; absolute error below 3e-7.
__device__ __forceinline__ float normal(float z) {
    float x = fminf(fmaxf(z * 0.7071067812f, -4.f), 4.f), s = x * x;
    float p = -2.7261423e-10f, q = -1.4566072e-5f;
    p = p * s + 2.7706814e-8f;
    p = p * s - 2.101024e-6f;
    p = p * s - 5.692506e-5f;
    p = p * s - 7.349906e-4f;
    p = p * s - 2.9546e-3f;
    p = p * s - 1.609603e-2f;
    q = q * s - 2.1337406e-4f;
    q = q * s - 1.682827e-3f;
    q = q * s - 7.373329e-3f;
    q = q * s - 1.426474e-2f;
    return 0.5f + 0.5f * __fdividef(x * p, q);
}
__device__ __forceinline__ float gelu(float z) { return z * normal(z); }
__device__ __forceinline__ float gelu_slope(float z) {
    return normal(z) + z * 0.3989422804f * expf(-0.5f * z * z);
}

// y = GELU(z + bias) drop gate; bias and gate may be absent.
template <class T, int V>
KERNEL(activate, (const T* z, const float* bias, const float* gate, T* y, size_t n, size_t width,
                  size_t filled, Mask mask)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    size_t row = at / filled, column = at % filled, number = row * width + column;
    float v[V], b[V] = {}, g[V];
    load<V>(z + at, v);
    if (bias) load<V>(bias + column, b);
    if (gate) load<V>(gate + column, g);
#pragma unroll
    for (int i = 0; i < V; i++)
        v[i] = gelu(v[i] + b[i]) * drop(mask, number + i) * (gate ? g[i] : 1);
    store<V>(y + at, v);
}

// Replaces dy by dz = dy gate drop slope, and z by y. Writes parts of the column sums of dz to
// dbias and of dy y / gate to dgate. bias and gate may be absent; without gate so may dgate.
template <class T, int V>
KERNEL(activate_backward, (T* z, T* dy, const float* bias, const float* gate, float* dbias,
                           float* dgate, size_t rows, size_t width, size_t filled, size_t per,
                           Mask mask)) {
    float shift[V] = {}, along[V] = {}, v[V], d[V], b[V] = {}, g[V];
    if (COLUMN < filled) {
        if (bias) load<V>(bias + COLUMN, b);
        if (gate) load<V>(gate + COLUMN, g);
        ROWS(row, rows, per) {
            size_t at = row * filled + COLUMN;
            load<V>(z + at, v);
            load<V>(dy + at, d);
#pragma unroll
            for (int i = 0; i < V; i++) {
                float factor = drop(mask, row * width + COLUMN + i), open = gate ? g[i] : 1;
                float x = v[i] + b[i], h = gelu(x) * factor;
                along[i] += d[i] * h;
                d[i] *= open * factor * gelu_slope(x);
                shift[i] += d[i];
                v[i] = h * open;
            }
            store<V>(z + at, v);
            store<V>(dy + at, d);
        }
    }
    part<V>(dbias, filled, shift);
    if (gate) part<V>(dgate, filled, along);
}

// y = GELU(x) gate fixed; gate and fixed may be absent.
template <int V>
KERNEL(gelu_gate, (const float* x, const float* gate, const float* fixed, float* y, size_t n,
                   size_t width)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float v[V], g[V], f[V];
    load<V>(x + at, v);
    if (gate) load<V>(gate + at % width, g);
    if (fixed) load<V>(fixed + at % width, f);
#pragma unroll
    for (int i = 0; i < V; i++) v[i] = gelu(v[i]) * (gate ? g[i] : 1) * (fixed ? f[i] : 1);
    store<V>(y + at, v);
}

// dx += dy gate fixed slope. Writes parts of the column sums of dy GELU(x) fixed to dgate. gate and
// fixed may be absent.
template <int V>
KERNEL(gelu_gate_backward, (const float* x, const float* gate, const float* fixed, const float* dy,
                            float* dx, float* dgate, size_t rows, size_t width, size_t per)) {
    float sum[V] = {}, v[V], d[V], g[V], f[V];
    if (COLUMN < width) {
        if (gate) load<V>(gate + COLUMN, g);
        if (fixed) load<V>(fixed + COLUMN, f);
        ROWS(row, rows, per) {
            load<V>(x + row * width + COLUMN, v);
            load<V>(dy + row * width + COLUMN, d);
#pragma unroll
            for (int i = 0; i < V; i++) {
                d[i] *= fixed ? f[i] : 1;
                sum[i] += d[i] * gelu(v[i]);
                d[i] *= gelu_slope(v[i]) * (gate ? g[i] : 1);
            }
            accumulate<V>(dx + row * width + COLUMN, d);
        }
    }
    part<V>(dgate, width, sum);
}
