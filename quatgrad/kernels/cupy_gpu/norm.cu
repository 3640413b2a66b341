// Batch norm of rows (M, C). A thread has VECTOR neighbouring channels and every blockDim.y-th row
// of its block's share. Blocks write partial sums, and the last of them to be done adds those up in a
// fixed order: the same bits every time. Numbers of GROUP rows are added as they are, their sums as
// double.

#define GROUP 8
#define THREADS 512  // of a block that sums, at most
#define CHANNEL ((blockIdx.y * blockDim.x + threadIdx.x) * VECTOR)
// Row number k of a group that starts at m. Past the last, that one is read again, without a branch
// for which the other rows would wait; it does not count.
#define ROW(row, counts)                                                                 \
    long long row = m + k * (long long)blockDim.y;                                       \
    bool counts = row < last;                                                            \
    if (!counts) row = last - 1;
#define FOR_V(v) for (int v = 0; v < VECTOR; v++)

// Blocks that are done, in each column of the grid; 0 between launches, of which there is one at a
// time: all work is in one stream, or in those that wait for each other.
__device__ unsigned done[1 << 16];

// The sums of a and of b over the threads of a channel; right in the first of them.
__device__ void add_up(double* a, double* b) {
    __shared__ double all[2 * VECTOR][THREADS];
    int me = threadIdx.y * blockDim.x + threadIdx.x, half = 1;
    FOR_V(v) {
        all[v][me] = a[v];
        all[VECTOR + v][me] = b[v];
    }
    while (2 * half < blockDim.y) half *= 2;
    for (; half; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half && threadIdx.y + half < blockDim.y)
            for (int v = 0; v < 2 * VECTOR; v++) all[v][me] += all[v][me + half * blockDim.x];
    }
    FOR_V(v) {
        a[v] = all[v][me];
        b[v] = all[VECTOR + v][me];
    }
    __syncthreads();
}

// Adds up a and b of each channel over all blocks. True where they are right: in the first threads
// of the block that gets here last.
__device__ bool add_up_blocks(double* a, double* b, double* partial, int c, int C) {
    __shared__ bool last;
    add_up(a, b);
    bool first = threadIdx.y == 0 && c < C;
    if (first) FOR_V(v) {
        partial[2LL * blockIdx.x * C + c + v] = a[v];
        partial[(2LL * blockIdx.x + 1) * C + c + v] = b[v];
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicAdd(done + blockIdx.y, 1u) == gridDim.x - 1;
        if (last) done[blockIdx.y] = 0;
    }
    __syncthreads();
    if (!last) return false;
    __threadfence();
    FOR_V(v) a[v] = b[v] = 0;
    if (c < C)
#pragma unroll 4
        for (int k = threadIdx.y; k < gridDim.x; k += blockDim.y) FOR_V(v) {
            a[v] += __ldcg(partial + 2LL * k * C + c + v);  // not what this core may remember
            b[v] += __ldcg(partial + (2LL * k + 1) * C + c + v);
        }
    add_up(a, b);
    return first;
}

// mean and (biased) variance, from sums of d and d^2, d = x - x[0]: a large mean costs no digits.
extern "C" __global__ void moments(const X* __restrict__ x, double* partial, T* mean, T* var,
                                   long long M, int C, int rows) {
    int c = CHANNEL;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    double sum[VECTOR] = {}, square[VECTOR] = {};
    T pivot[VECTOR];
    if (c < C && first < last) {
        load(x + c, pivot);
        for (long long m = first + threadIdx.y; m < last; m += GROUP * blockDim.y) {
            T s[VECTOR] = {}, q[VECTOR] = {};
#pragma unroll
            for (int k = 0; k < GROUP; k++) {
                ROW(row, counts)
                T d[VECTOR];
                load(x + row * C + c, d);
                FOR_V(v) {
                    d[v] = counts ? d[v] - pivot[v] : T(0);
                    s[v] += d[v];
                    q[v] += d[v] * d[v];
                }
            }
            FOR_V(v) {
                sum[v] += s[v];
                square[v] += q[v];
            }
        }
    }
    if (add_up_blocks(sum, square, partial, c, C)) FOR_V(v) {
        double d = sum[v] / M, s = square[v] / M - d * d;
        mean[c + v] = pivot[v] + d;
        var[c + v] = s > 0 ? s : 0;
    }
}

// What a thread needs to know of its channels: z = (x - center) factor + offset.
// All is read before anything is computed: square roots and quotients have branches.
#define OF_CHANNELS                                                                      \
    T center[VECTOR], factor[VECTOR], offset[VECTOR], deviation[VECTOR];                 \
    FOR_V(v) {                                                                           \
        center[v] = mean[c + v];                                                         \
        factor[v] = scale[c + v];                                                        \
        deviation[v] = var[c + v];                                                       \
        offset[v] = shift[c + v];                                                        \
    }                                                                                    \
    FOR_V(v) {                                                                           \
        deviation[v] = sqrt(deviation[v] + eps);                                         \
        factor[v] /= deviation[v];                                                       \
    }
#define SCALED(x, v) (((x) - center[v]) * factor[v] + offset[v])

// The rows of a thread; whether there is a residual is known to the compiler.
template <bool ADD>
__device__ void write_rows(const X* __restrict__ x, const X* __restrict__ residual,
                           X* __restrict__ y, const T* center, const T* factor, const T* offset,
                           int relu, long long first, long long last, int C) {
#pragma unroll 4
    for (long long m = first; m < last; m += blockDim.y) {
        T here[VECTOR], more[VECTOR] = {};
        load(x + m * C, here);
        if (ADD) load(residual + m * C, more);
        FOR_V(v) {
            T value = SCALED(here[v], v);
            if (ADD) value += more[v];
            here[v] = relu && value < 0 ? T(0) : value;
        }
        save(here, y + m * C);
    }
}

// y = scale (x - mean) / sqrt(var + eps) + shift, + residual with `add`, max(y, 0) with `relu`.
extern "C" __global__ void normalize(const X* __restrict__ x, const T* mean, const T* var,
                                     const T* scale, const T* shift,
                                     const X* __restrict__ residual, X* __restrict__ y, T eps,
                                     int add, int relu, long long M, int C, int rows) {
    int c = CHANNEL;
    if (c >= C) return;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    OF_CHANNELS
    long long start = first + threadIdx.y;
    x += c, residual += c, y += c;
    if (add) write_rows<true>(x, residual, y, center, factor, offset, relu, start, last, C);
    else write_rows<false>(x, residual, y, center, factor, offset, relu, start, last, C);
}

// r <- (1 - momentum) r + momentum correction b.
extern "C" __global__ void update_running_stats(T* r, const T* b, T momentum, T correction,
                                                long long C) {
    FOR(c, C) r[c] = (1 - momentum) * r[c] + momentum * (correction * b[c]);
}

#define ALL_PASSES 0  // of g
#define WHERE_NORMED 1  // is above 0: a rectifier followed the norm
#define WHERE_Y 2  // is above 0: it followed the sum with a residual; `passed` takes that g

// The sums of g, and of g (x - mean), over the rows of a thread. What decides is known to the
// compiler: a branch in the loop would hold up the loads that follow.
template <int GATE>
__device__ void add_gradients(const X* __restrict__ g, const X* __restrict__ x,
                              const X* __restrict__ y, X* __restrict__ passed, const T* center,
                              const T* factor, const T* offset, double* sum, double* product,
                              long long first, long long last, int C) {
    for (long long m = first; m < last; m += GROUP * blockDim.y) {
        T s[VECTOR] = {}, p[VECTOR] = {};
#pragma unroll
        for (int k = 0; k < GROUP; k++) {
            ROW(row, counts)
            T share[VECTOR], here[VECTOR], there[VECTOR];
            load(g + row * C, share);
            load(x + row * C, here);
            if (GATE == WHERE_Y) load(y + row * C, there);
            FOR_V(v) {
                bool passes = GATE == ALL_PASSES ||
                              (GATE == WHERE_Y ? there[v] : SCALED(here[v], v)) > 0;
                if (!passes) share[v] = 0;
                T gradient = counts ? share[v] : T(0);
                s[v] += gradient;
                p[v] += gradient * (here[v] - center[v]);
            }
            if (GATE == WHERE_Y) save(share, passed + row * C);  // the last twice: all the same
        }
        FOR_V(v) {
            sum[v] += s[v];
            product[v] += p[v];
        }
    }
}

// dshift = sum g and dscale = sum g z.
extern "C" __global__ void gradient_moments(const X* __restrict__ g, const X* __restrict__ x,
                                            const X* __restrict__ y, const T* mean, const T* var,
                                            const T* scale, const T* shift,
                                            X* __restrict__ passed, double* partial, T* dscale,
                                            T* dshift, T eps, int gate, long long M, int C,
                                            int rows) {
    int c = CHANNEL;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    double sum[VECTOR] = {}, product[VECTOR] = {};
    if (c < C) {
        OF_CHANNELS
#define ADD(GATE)                                                                        \
    add_gradients<GATE>(g + c, x + c, y + c, passed + c, center, factor, offset, sum,    \
                        product, first + threadIdx.y, last, C)
        if (gate == WHERE_Y) ADD(WHERE_Y);
        else if (gate == WHERE_NORMED) ADD(WHERE_NORMED);
        else ADD(ALL_PASSES);
#undef ADD
    }
    if (add_up_blocks(sum, product, partial, c, C)) FOR_V(v) {
        dshift[c + v] = sum[v];
        dscale[c + v] = product[v] / sqrt(double(var[c + v] + eps));
    }
}

// dx = scale / sqrt(var + eps) (g - mean(g) - z mean(g z)).
extern "C" __global__ void normalize_dx(const X* __restrict__ g, const X* __restrict__ x,
                                        const T* mean, const T* var, const T* scale,
                                        const T* shift, const T* dscale, const T* dshift,
                                        X* __restrict__ dx, T eps, int gate, long long M, int C,
                                        int rows) {
    int c = CHANNEL;
    if (c >= C) return;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    OF_CHANNELS
    T mean_g[VECTOR], slope[VECTOR];
    FOR_V(v) {
        mean_g[v] = dshift[c + v];
        slope[v] = dscale[c + v];
    }
    FOR_V(v) {
        mean_g[v] /= M;
        slope[v] /= M * deviation[v];
    }
#pragma unroll 4
    for (long long m = first + threadIdx.y; m < last; m += blockDim.y) {
        T share[VECTOR], here[VECTOR];
        load(g + m * C + c, share);
        load(x + m * C + c, here);
        FOR_V(v) {
            if (gate == WHERE_NORMED && !(SCALED(here[v], v) > 0)) share[v] = 0;
            here[v] = factor[v] * (share[v] - mean_g[v] - (here[v] - center[v]) * slope[v]);
        }
        save(here, dx + m * C + c);
    }
}
