// The kernels of nodes/compute/op/glu.rs over the n numbers of y (n / width, width), with a thread
// for each; x (n / width, 2, width). Grid (n / 256).

// y = a sigmoid(b)
KERNEL(glu, (const float* x, float* y, size_t n, size_t width)) {
    size_t i = THREAD;
    if (i >= n) return;
    const float* a = x + i / width * 2 * width + i % width;
    y[i] = a[0] * sigmoid(a[width]);
}
// dx += the gradients of a and of b
KERNEL(glu_backward, (const float* dy, const float* x, float* dx, size_t n, size_t width)) {
    size_t i = THREAD;
    if (i >= n) return;
    size_t at = i / width * 2 * width + i % width;
    float gate = sigmoid(x[at + width]);
    dx[at] += dy[i] * gate;
    dx[at + width] += dy[i] * x[at] * gate * (1 - gate);
}
