// The kernels of nodes/compute/op/map_divergence.rs. P is (rows, heads, padded, padded); its mean
// over heads, and the target, have (frames, frames) of each row, which begin at `squares`. A warp
// for each query; grid (padded / 8, rows).
#define LEAST_SHARE 1e-30f
// The frames of the row of a block, and where its part of the mean begins for query t.
#define ROW_FRAMES (all.starts[blockIdx.y + 1] - all.starts[blockIdx.y])
#define OF_QUERY(t) (squares[blockIdx.y] + (t) * ROW_FRAMES)

// mean = the mean of p over heads
KERNEL(mean_map, (const float* p, const size_t* squares, float* mean, size_t padded,
                  AttentionShape all)) {
    size_t t = WARP, frames = ROW_FRAMES;
    if (t >= frames) return;
    for (size_t key = threadIdx.x; key < frames; key += 32) {
        float sum = 0;
        for (size_t head = 0; head < all.heads; head++)
            sum += p[((blockIdx.y * all.heads + head) * padded + t) * padded + key];
        mean[OF_QUERY(t) + key] = sum / all.heads;
    }
}

// divergences (frames of all rows) = the sum of t ln(t / s) over keys
KERNEL(map_divergence, (const float* mean, const float* target, const size_t* squares,
                        float* divergences, AttentionShape all)) {
    size_t t = WARP, frames = ROW_FRAMES;
    if (t >= frames) return;
    float sum = 0;
    for (size_t key = threadIdx.x; key < frames; key += 32) {
        float share = target[OF_QUERY(t) + key];
        if (share >= LEAST_SHARE)
            sum += share * (logf(share) - logf(fmaxf(mean[OF_QUERY(t) + key], LEAST_SHARE)));
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0) divergences[all.starts[blockIdx.y] + t] = sum;
}

// dp += factor dy t / s, in each head
KERNEL(map_divergence_backward, (const float* mean, const float* target, const float* dy,
                                 const size_t* squares, float* dp, size_t padded, float factor,
                                 AttentionShape all)) {
    size_t t = WARP, frames = ROW_FRAMES;
    if (t >= frames) return;
    for (size_t key = threadIdx.x; key < frames; key += 32) {
        float share = target[OF_QUERY(t) + key];
        float d = *dy * factor * share / fmaxf(mean[OF_QUERY(t) + key], LEAST_SHARE);
        for (size_t head = 0; head < all.heads; head++)
            dp[((blockIdx.y * all.heads + head) * padded + t) * padded + key] += d;
    }
}
