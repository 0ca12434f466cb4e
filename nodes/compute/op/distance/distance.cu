// The distances of nodes/compute/op/distance.rs between o and t (rows, width); `which` is 0 for l1,
// 1 for mse, 2 for cosine, 3 for log-sigmoid cosine. A warp for each row; grid (rows / 8).
#define LEAST_NORM 1e-8f

// cos, 1 / (|o| |t|), and cos / |o|^2, which is 0 where |o| is raised to the least norm.
struct Cosine { float cos, inverse, along; };
template <int V> __device__ Cosine cosine(const float* o, const float* t, size_t width) {
    float a[V], b[V], oo = 0, tt = 0, ot = 0;
    ALONG(column, width) {
        load<V>(o + column, a);
        load<V>(t + column, b);
#pragma unroll
        for (int i = 0; i < V; i++) { oo += a[i] * a[i]; tt += b[i] * b[i]; ot += a[i] * b[i]; }
    }
    float norm = sqrtf(warp_sum(oo)), other = sqrtf(warp_sum(tt));
    float inverse = 1 / (fmaxf(norm, LEAST_NORM) * fmaxf(other, LEAST_NORM));
    float cos = warp_sum(ot) * inverse;
    return {cos, inverse, norm > LEAST_NORM ? cos / (norm * norm) : 0};
}

// values (rows) = the distances of rows
template <int V>
KERNEL(distance, (const float* o, const float* t, float* values, size_t rows, size_t width,
                  size_t which)) {
    size_t row = WARP;
    if (row >= rows) return;
    o += row * width;
    t += row * width;
    float a[V], b[V], value = 0;
    if (which < 2) {
        ALONG(column, width) {
            load<V>(o + column, a);
            load<V>(t + column, b);
#pragma unroll
            for (int i = 0; i < V; i++)
                value += which ? (a[i] - b[i]) * (a[i] - b[i]) : fabsf(a[i] - b[i]);
        }
        value = warp_sum(value) / width;
    } else {
        float cos = cosine<V>(o, t, width).cos;
        value = which == 2 ? -cos : log1pf(expf(-cos));
    }
    if (threadIdx.x == 0) values[row] = value;
}

// d (rows, width) += the gradient of the mean of values, times dy (1)
template <int V>
KERNEL(distance_backward, (const float* o, const float* t, const float* dy, float* d, size_t rows,
                           size_t width, size_t which)) {
    size_t row = WARP;
    if (row >= rows) return;
    o += row * width;
    t += row * width;
    float scale = *dy / rows, towards = 0, back = 0, a[V], b[V];
    if (which >= 2) {
        Cosine c = cosine<V>(o, t, width);
        scale = which == 2 ? -scale : -scale / (1 + expf(c.cos));
        towards = scale * c.inverse;
        back = scale * c.along;
    }
    ALONG(column, width) {
        load<V>(o + column, a);
        load<V>(t + column, b);
#pragma unroll
        for (int i = 0; i < V; i++) {
            float difference = a[i] - b[i];
            if (which == 0) b[i] = scale / width * ((difference > 0) - (difference < 0));
            else if (which == 1) b[i] = scale / width * 2 * difference;
            else b[i] = towards * b[i] - back * a[i];
        }
        accumulate<V>(d + row * width + column, b);
    }
}
