// A block of a kernel. Its 256 threads are fibers, which yield at barriers and shuffles; each round
// gives every fiber a turn.
struct dim3 { unsigned x, y, z; };
static dim3 threadIdx, blockIdx, gridDim;
struct Fiber { ucontext_t first; jmp_buf at; std::vector<char> stack; bool started, done; };
static std::vector<Fiber> fibers(256);
static jmp_buf scheduler;
static unsigned current, alive, arrived, generation;
static uint32_t lanes[256]; // what each lane shows to its warp
static std::mutex one_at_a_time;

typedef void (*Kernel)(void** arguments);
static Kernel running;
static void** arguments;

// Switches by jumps, since swapcontext makes a system call; a context is for a fiber's first turn.
static void yield() {
    if (!_setjmp(fibers[current].at)) _longjmp(scheduler, 1);
}
static void take_turn(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.at, 1);
    fiber.started = true;
    setcontext(&fiber.first);
}
static void live() {
    for (;;) {
        running(arguments);
        fibers[current].done = true;
        alive--;
        yield();
    }
}
static void prepare(Fiber& fiber) {
    fiber.stack.resize(64 << 10);
    getcontext(&fiber.first);
    fiber.first.uc_stack.ss_sp = fiber.stack.data();
    fiber.first.uc_stack.ss_size = fiber.stack.size();
    makecontext(&fiber.first, live, 0);
}
static void run_block() {
    alive = fibers.size();
    arrived = 0;
    for (Fiber& fiber : fibers) fiber.done = false;
    // Turns alternate in direction from block to block: a result that depends on it is a race.
    bool reversed = (blockIdx.x + (size_t)blockIdx.y * gridDim.x) % 2;
    while (alive)
        for (unsigned turn = 0; turn < fibers.size(); turn++) {
            current = reversed ? fibers.size() - 1 - turn : turn;
            threadIdx = {current % 32, current / 32, 0};
            if (!fibers[current].done) take_turn(fibers[current]);
        }
}

static void __syncthreads() {
    unsigned mine = generation;
    arrived++;
    while (generation == mine)
        if (arrived == alive) { arrived = 0; generation++; } else yield();
}
static void __syncwarp() { yield(); }
// Returns the number of another lane. A round of turns is a barrier of the warp.
static float of_lane(float x, unsigned lane) {
    memcpy(&lanes[current], &x, 4);
    yield();
    memcpy(&x, &lanes[lane], 4);
    yield();
    return x;
}
static float __shfl_xor_sync(unsigned, float x, int mask) { return of_lane(x, current ^ mask); }
static float __shfl_sync(unsigned, float x, int lane) {
    return of_lane(x, current / 32 * 32 + lane);
}
