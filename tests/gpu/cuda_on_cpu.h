// Runs CUDA kernels on the CPU, one block after another. The threads of a block are fibers that take
// turns: each runs until it waits, so a missing __syncthreads() shows as a value not yet written,
// every time. Where no thread of the first block waits, the other blocks run without fibers, which
// is much faster. Not covered: the memory model, and races between blocks.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <vector>

struct dim3 {
    unsigned x, y, z;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__ static
#define __forceinline__ inline
#define __restrict__
#define __shared__ static

namespace fibers {

enum State { READY, AT_BLOCK, AT_WARP, DONE };
constexpr size_t STACK = 1 << 16;

struct Fiber {
    ucontext_t context;
    State state;
    uint64_t slots[2];  // of the last shuffle and of this one: its readers may lag by one
    unsigned shuffles;
};
static std::vector<Fiber> all;
static std::vector<char> stacks;
static ucontext_t scheduler;
static unsigned current;
static const std::function<void()>* body;
static bool plain, waited;
struct Unexpected {};

static void enter() {
    (*body)();
    all[current].state = DONE;
}

static void wait(State state) {
    if (plain) throw Unexpected();
    waited = true;
    unsigned me = current;
    all[me].state = state;
    swapcontext(&all[me].context, &scheduler);
}

static void become(unsigned t) {
    current = t;
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
}

static void run_ready(unsigned n) {
    for (unsigned t = 0; t < n; t++)
        if (all[t].state == READY) {
            become(t);
            swapcontext(&scheduler, &all[t].context);
        }
}

// Lets go on who may: a warp whose lanes all wait for it, else the block. False: they never meet.
static bool release(unsigned n) {
    bool released = false, warps_wait = false;
    for (unsigned first = 0; first < n; first += 32) {
        unsigned end = first + 32 < n ? first + 32 : n, waiting = 0;
        for (unsigned t = first; t < end; t++) waiting += all[t].state == AT_WARP;
        if (waiting) warps_wait = true;
        if (waiting != end - first) continue;
        for (unsigned t = first; t < end; t++) all[t].state = READY;
        released = true;
    }
    if (released || warps_wait) return released;
    for (unsigned t = 0; t < n; t++)
        if (all[t].state == AT_BLOCK) all[t].state = READY;
    return true;
}

// False where threads wait that never meet.
static bool run_fibers(unsigned n) {
    for (unsigned t = 0; t < n; t++) {
        all[t].state = READY;
        all[t].shuffles = 0;
        getcontext(&all[t].context);
        all[t].context.uc_stack = {&stacks[t * STACK], 0, STACK};
        all[t].context.uc_link = &scheduler;
        makecontext(&all[t].context, enter, 0);
    }
    for (;;) {
        run_ready(n);
        unsigned done = 0;
        for (unsigned t = 0; t < n; t++) done += all[t].state == DONE;
        if (done == n) return true;
        if (!release(n)) return false;
    }
}

static bool run_plain(unsigned n) {
    try {
        for (unsigned t = 0; t < n; t++) {
            become(t);
            (*body)();
        }
    } catch (Unexpected) {
        return false;
    }
    return true;
}

static bool launch(const unsigned* grid, const unsigned* block, const std::function<void()>& f) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    unsigned n = block[0] * block[1] * block[2];
    body = &f;
    plain = waited = false;
    if (all.size() < n) {
        all.resize(n);
        stacks.resize(n * STACK);
    }
    for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++) {
                if (!(plain ? run_plain(n) : run_fibers(n))) return false;
                plain = !waited;
            }
    return true;
}

}  // namespace fibers

static void __syncthreads() { fibers::wait(fibers::AT_BLOCK); }
static void __threadfence() {}
template <class V> static V __ldcg(const V* at) { return *at; }

static unsigned atomicAdd(unsigned* at, unsigned value) {
    unsigned old = *at;
    *at += value;
    return old;
}

template <class V> static V __shfl_xor_sync(unsigned, V value, int mask) {
    unsigned me = fibers::current, slot = fibers::all[me].shuffles++ % 2;
    std::memcpy(&fibers::all[me].slots[slot], &value, sizeof value);
    fibers::wait(fibers::AT_WARP);
    std::memcpy(&value, &fibers::all[me ^ mask].slots[slot], sizeof value);
    return value;
}
