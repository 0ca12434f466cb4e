// The kernels of nodes/compute/op/logit_divergence.rs. Logits z of the student and x of the teacher
// are (rows, classes), `of_z` and `of_x` 1 / temperature; `compared` is 0 for all classes, 1 for
// the target class, 2 for the others. A warp for each row; grid (rows / 8).

// The logarithms of sums of exponentials over all classes, and over all but the target.
struct LogSums { float all, others; };
__device__ LogSums log_sums(const float* x, size_t target, size_t classes, float scale) {
    float most = -3e38f, others = -3e38f, sum = 0, sum_of_others = 0;
    for (size_t c = threadIdx.x; c < classes; c += 32) {
        most = fmaxf(most, scale * x[c]);
        if (c != target) others = fmaxf(others, scale * x[c]);
    }
    most = warp_max(most);
    others = warp_max(others);
    for (size_t c = threadIdx.x; c < classes; c += 32) {
        sum += expf(scale * x[c] - most);
        if (c != target) sum_of_others += expf(scale * x[c] - others);
    }
    return {most + logf(warp_sum(sum)), others + logf(warp_sum(sum_of_others))};
}
// p ln(p / q) from ln p and ln q, 0 for a p of 0
__device__ __forceinline__ float divergence_term(float p, float q) {
    float share = expf(p);
    return share > 0 ? share * (p - q) : 0;
}

// values (rows) = the divergences
KERNEL(logit_divergence, (const float* z, const float* x, const size_t* targets, float* values,
                          size_t rows, size_t classes, float of_z, float of_x, size_t compared)) {
    size_t row = WARP;
    if (row >= rows) return;
    size_t target = targets[row];
    z += row * classes;
    x += row * classes;
    LogSums q = log_sums(z, target, classes, of_z), p = log_sums(x, target, classes, of_x);
    float value = 0;
    if (compared == 1) {
        value = divergence_term(of_x * x[target] - p.all, of_z * z[target] - q.all) +
                divergence_term(p.others - p.all, q.others - q.all);
    } else {
        float p_sum = compared ? p.others : p.all, q_sum = compared ? q.others : q.all;
        for (size_t c = threadIdx.x; c < classes; c += 32)
            if (!compared || c != target)
                value += divergence_term(of_x * x[c] - p_sum, of_z * z[c] - q_sum);
        value = warp_sum(value);
    }
    if (threadIdx.x == 0) values[row] = value;
}

// dz += the gradient of the mean of values, times dy (1)
KERNEL(logit_divergence_backward, (const float* z, const float* x, const size_t* targets,
                                   const float* dy, float* dz, size_t rows, size_t classes,
                                   float of_z, float of_x, size_t compared)) {
    size_t row = WARP;
    if (row >= rows) return;
    size_t target = targets[row];
    z += row * classes;
    x += row * classes;
    dz += row * classes;
    LogSums q = log_sums(z, target, classes, of_z), p = log_sums(x, target, classes, of_x);
    float scale = *dy * of_z / rows;
    float excess = expf(of_z * z[target] - q.all) - expf(of_x * x[target] - p.all);
    for (size_t c = threadIdx.x; c < classes; c += 32) {
        float slope;
        if (compared == 0) slope = expf(of_z * z[c] - q.all) - expf(of_x * x[c] - p.all);
        else if (compared == 1)
            slope = c == target ? excess : -excess * expf(of_z * z[c] - q.others);
        else
            slope = c == target ? 0 : expf(of_z * z[c] - q.others) - expf(of_x * x[c] - p.others);
        dz[c] += scale * slope;
    }
}
