// dw_l += p_l (g_l - sum_k p_k g_k), a thread for each of n numbers. Grid (n / 256).
KERNEL(add_softmax_gradient, (const float* p, const float* g, float* dw, size_t n)) {
    size_t at = THREAD;
    if (at >= n) return;
    float mean = 0;
    for (size_t k = 0; k < n; k++) mean += p[k] * g[k];
    dw[at] += p[at] * (g[at] - mean);
}
