// nodes/compute/op/distance.rs. A warp a frame; which: 0 l1, 1 mse, 2 cosine, 3 log-sigmoid cosine.
#define LEAST_NORM 1e-8f

// cos, 1 / (|o| |t|), and cos / |o|^2, or 0 where |o| is held at its least.
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
    float inverse = 1 / (fmaxf(norm, LEAST_NORM) * fmaxf(other, LEAST_NORM)), cos = warp_sum(ot) * inverse;
    return {cos, inverse, norm > LEAST_NORM ? cos / (norm * norm) : 0};
}

// values[frame]
template <int V> KERNEL(distance, (const float* o, const float* t, float* values, size_t rows, size_t width, size_t which)) {
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
            for (int i = 0; i < V; i++) value += which ? (a[i] - b[i]) * (a[i] - b[i]) : fabsf(a[i] - b[i]);
        }
        value = warp_sum(value) / width;
    } else {
        float cos = cosine<V>(o, t, width).cos;
        value = which == 2 ? -cos : log1pf(expf(-cos));
    }
    if (threadIdx.x == 0) values[row] = value;
}

// do += gradient dy / rows
template <int V> KERNEL(distance_backward, (const float* o, const float* t, const float* dy, float* d, size_t rows, size_t width, size_t which)) {
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
            float apart = a[i] - b[i];
            if (which == 0) b[i] = scale / width * ((apart > 0) - (apart < 0));
            else if (which == 1) b[i] = scale / width * 2 * apart;
            else b[i] = towards * b[i] - back * a[i];
        }
        accumulate<V>(d + row * width + column, b);
    }
}

