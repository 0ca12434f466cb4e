// libcublas: GEMMs of column-major matrices in formats 0 (float) and 14 (bf16).
int cublasCreate_v2(void** h) { *h = (void*)1; return 0; }
int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const float* alpha,
                               const void* a, int at, int lda, long long sa, const void* b, int bt,
                               int ldb, long long sb, const float* beta, void* c, int ct, int ldc,
                               long long sc, int batch, int computes, int) {
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m)
        return refuse("rows of a matrix that overlap"), 7;
    counts[1]++;
    auto get = [computes](const void* p, int type, long long i) {
        if (type == 14) return widen(((const bf16*)p)[i]);
        float x = ((const float*)p)[i];
        return computes == 77 ? __uint_as_float(((uint32_t&)x + 0x1000) & ~0x1fff) : x; // tf32
    };
    for (int l = 0; l < batch; l++)
        for (int j = 0; j < n; j++)
            for (int i = 0; i < m; i++) {
                float sum = 0;
                for (long long x = 0; x < k; x++) {
                    long long left = ta ? x + (long long)i * lda : i + x * lda;
                    long long right = tb ? j + x * ldb : x + (long long)j * ldb;
                    sum += get(a, at, l * sa + left) * get(b, bt, l * sb + right);
                }
                long long o = l * sc + i + (long long)j * ldc;
                sum = *alpha * sum + (*beta ? *beta * get(c, ct, o) : 0);
                if (ct == 14) ((bf16*)c)[o] = to_bf16(sum); else ((float*)c)[o] = sum;
            }
    return 0;
}
// The same of matrices at any addresses; counted as one GEMM.
int cublasGemmBatchedEx(void* h, int ta, int tb, int m, int n, int k, const float* alpha,
                        const void* const* a, int at, int lda, const void* const* b, int bt, int ldb,
                        const float* beta, void* const* c, int ct, int ldc, int batch, int computes,
                        int algorithm) {
    for (int l = 0; l < batch; l++) {
        int error = cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a[l], at, lda, 0, b[l], bt,
                                               ldb, 0, beta, c[l], ct, ldc, 0, 1, computes, algorithm);
        if (error) return error;
    }
    counts[1] -= batch - 1;
    return 0;
}
