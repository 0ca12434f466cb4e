// A GPU for tests on machines without one: libcuda and libcublas on host memory, and the kernels
// compiled as C++. Blocks run one after another, their threads as fibers.
//
// It shows wrong addresses, sizes, parameters, formulas and barriers. All work is done in order,
// except that copies on a stream of their own come as late as they may; memory is NaN when it is
// allocated and when it is freed. It cannot show races, speed, or dfdx's own kernels.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <setjmp.h>
#include <string>
#include <ucontext.h>
#include <utility>
#include <vector>

#include "simulated/block.hpp"
#include "simulated/language.hpp"
#include "all.cu"

// Of this thread: kernels, GEMMs, fills, allocations, copies from and to the host.
static thread_local uint64_t counts[5];
static int refuse(const char* why) {
    fprintf(stderr, "the simulated GPU refuses %s\n", why);
    return 1;
}

extern "C" {
void simulated_counts_of_thread(uint64_t* to) { memcpy(to, counts, sizeof counts); }
#include "simulated/driver.hpp"
#include "simulated/memory.hpp"
#include "simulated/cublas.hpp"
}
