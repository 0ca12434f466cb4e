// Kernels over n numbers, a multiple of V, with a thread for each V of them. Grid (n / 256 V). Rows
// have a width that is a multiple of V.

// to += drop(from)
template <int V> KERNEL(add, (const float* from, float* to, size_t n, Mask mask)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float x[V];
    load<V>(from + at, x);
#pragma unroll
    for (int i = 0; i < V; i++) x[i] *= drop(mask, at + i);
    accumulate<V>(to + at, x);
}

// y = x + drop(r)
template <int V> KERNEL(residual, (const float* x, const float* r, float* y, size_t n, Mask mask)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float sum[V], branch[V];
    load<V>(x + at, sum);
    load<V>(r + at, branch);
#pragma unroll
    for (int i = 0; i < V; i++) sum[i] += branch[i] * drop(mask, at + i);
    store<V>(y + at, sum);
}

// y (n / width, width) += b (width) in every row
template <int V> KERNEL(add_row, (float* y, const float* b, size_t n, size_t width)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float x[V];
    load<V>(b + at % width, x);
    accumulate<V>(y + at, x);
}

// to += gate (1) from
template <int V> KERNEL(add_times, (const float* from, const float* gate, float* to, size_t n)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float x[V];
    load<V>(from + at, x);
#pragma unroll
    for (int i = 0; i < V; i++) x[i] *= *gate;
    accumulate<V>(to + at, x);
}

// to += a b
KERNEL(add_products, (const float* a, const float* b, float* to, size_t n)) {
    size_t i = THREAD;
    if (i < n) to[i] += a[i] * b[i];
}

// to = from, in another format
template <int V, class X, class Y>
__device__ __forceinline__ void cast(const X* from, Y* to, size_t n) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float x[V];
    load<V>(from + at, x);
    store<V>(to + at, x);
}
template <class T, int V> KERNEL(narrow, (const float* from, T* to, size_t n)) {
    cast<V>(from, to, n);
}
template <class T, int V> KERNEL(widen, (const T* from, float* to, size_t n)) {
    cast<V>(from, to, n);
}

// to += from
template <class T, int V> KERNEL(add_wide, (const T* from, float* to, size_t n)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float x[V];
    load<V>(from + at, x);
    accumulate<V>(to + at, x);
}

// y (n / width, width) = from + b (width) in every row
template <class T, int V>
KERNEL(biased, (const T* from, const float* b, float* y, size_t n, size_t width)) {
    size_t at = THREAD * V;
    if (at >= n) return;
    float x[V], shift[V];
    load<V>(from + at, x);
    load<V>(b + at % width, shift);
#pragma unroll
    for (int i = 0; i < V; i++) x[i] += shift[i];
    store<V>(y + at, x);
}

// to (more_rows, more) = x (rows, width), with zeros in rows and columns that x has not. A thread for
// each number; grid (more_rows more / 256).
template <class T>
KERNEL(fill_up, (const float* x, T* to, size_t rows, size_t width, size_t more_rows, size_t more)) {
    size_t i = THREAD, row = i / more, column = i % more;
    if (row >= more_rows) return;
    narrow(to + i, row < rows && column < width ? x[row * width + column] : 0);
}

// to (n / width, width) += x, whose rows have `more` numbers. A thread for each of n numbers; grid
// (n / 256).
KERNEL(add_filled, (const float* x, float* to, size_t n, size_t width, size_t more)) {
    size_t i = THREAD;
    if (i < n) to[i] += x[i / width * more + i % width];
}
