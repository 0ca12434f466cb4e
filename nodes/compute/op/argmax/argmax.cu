// The kernel of nodes/compute/op/argmax.rs. x is (rows, classes). A warp for each row; grid
// (rows / 8).

// places (rows) = the index of the first largest number of each row, as a float, below 2^24
KERNEL(argmax, (const float* x, float* places, size_t rows, size_t classes)) {
    size_t row = WARP;
    if (row >= rows) return;
    x += row * classes;
    float most = -1e38f, place = -1e38f;
    for (size_t c = threadIdx.x; c < classes; c += 32) most = fmaxf(most, x[c]);
    most = warp_max(most);
    for (size_t c = threadIdx.x; c < classes; c += 32)
        if (x[c] == most) place = fmaxf(place, -(float)c);
    place = warp_max(place);
    if (threadIdx.x == 0) places[row] = fmaxf(-place, 0);
}
