// Batch norm of rows (M, C). A block has 32 x 8 threads: 32 neighbouring channels, whose numbers are
// one line of memory, and every 8th row of its share. Blocks write partial sums and a second
// kernel, of up to 32 x 32 threads, adds them in a fixed order: the same bits every time. Sums are
// double, as the reference's. Loops are unrolled, so that a thread waits for several numbers at once.

#define CHANNEL (blockIdx.y * 32 + threadIdx.x)

// The sums of a and of b over the threads of a channel; right in the first of them.
__device__ void add_up(double& a, double& b) {
    __shared__ double A[32][32], B[32][32];
    A[threadIdx.y][threadIdx.x] = a;
    B[threadIdx.y][threadIdx.x] = b;
    __syncthreads();
    if (threadIdx.y == 0)
        for (int y = 1; y < blockDim.y; y++) {
            a += A[y][threadIdx.x];
            b += B[y][threadIdx.x];
        }
}

// With `rectify` the rectifier follows: y is 0 below 0, and g counts where y is above.
#define SCALED(x) ((number(x) - center) * factor + offset)

// Of the rows of each block: the sums of d and d^2, d = x - x[0]. A large mean costs no digits.
extern "C" __global__ void moments(const X* x, double* partial, long long M, int C, int rows) {
    int c = CHANNEL;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    double sum = 0, square = 0;
    if (c < C) {
        double pivot = number(x[c]);
#pragma unroll 4
        for (long long m = first + threadIdx.y; m < last; m += 8) {
            double d = number(x[m * C + c]) - pivot;
            sum += d;
            square += d * d;
        }
    }
    add_up(sum, square);
    if (threadIdx.y == 0 && c < C) {
        partial[2LL * blockIdx.x * C + c] = sum;
        partial[(2LL * blockIdx.x + 1) * C + c] = square;
    }
}

// mean and (biased) variance of each channel, from the sums of `parts` blocks.
extern "C" __global__ void statistics(const double* partial, const X* x, T* mean, T* var, int parts,
                                      long long M, int C) {
    int c = CHANNEL;
    double sum = 0, square = 0;
    if (c < C)
#pragma unroll 4
        for (int k = threadIdx.y; k < parts; k += blockDim.y) {
            sum += partial[2LL * k * C + c];
            square += partial[(2LL * k + 1) * C + c];
        }
    add_up(sum, square);
    if (threadIdx.y == 0 && c < C) {
        double d = sum / M, v = square / M - d * d;
        mean[c] = number(x[c]) + d;
        var[c] = v > 0 ? v : 0;
    }
}

// y = scale (x - mean) / sqrt(var + eps) + shift.
extern "C" __global__ void normalize(const X* __restrict__ x, const T* mean, const T* var,
                                     const T* scale, const T* shift, T* __restrict__ y, T eps,
                                     int rectify, long long M, int C, int rows) {
    int c = CHANNEL;
    if (c >= C) return;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    T center = mean[c], factor = scale[c] / sqrt(var[c] + eps), offset = shift[c];
#pragma unroll 4
    for (long long m = first + threadIdx.y; m < last; m += 8) {
        T value = SCALED(x[m * C + c]);
        y[m * C + c] = rectify && value < 0 ? T(0) : value;
    }
}

// r <- (1 - momentum) r + momentum b.
extern "C" __global__ void follow(T* r, const T* b, T momentum, long long C) {
    FOR(c, C) r[c] = (1 - momentum) * r[c] + momentum * b[c];
}

// Of the rows of each block: the sums of g and g (x - mean).
extern "C" __global__ void gradient_moments(const T* g, const X* x, const T* mean, const T* var,
                                            const T* scale, const T* shift, double* partial, T eps,
                                            int rectify, long long M, int C, int rows) {
    int c = CHANNEL;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    double sum = 0, product = 0;
    if (c < C) {
        T center = mean[c], factor = scale[c] / sqrt(var[c] + eps), offset = shift[c];
#pragma unroll 4
        for (long long m = first + threadIdx.y; m < last; m += 8) {
            X here = x[m * C + c];
            double gradient = rectify && !(SCALED(here) > 0) ? T(0) : g[m * C + c];
            sum += gradient;
            product += gradient * (number(here) - center);
        }
    }
    add_up(sum, product);
    if (threadIdx.y == 0 && c < C) {
        partial[2LL * blockIdx.x * C + c] = sum;
        partial[(2LL * blockIdx.x + 1) * C + c] = product;
    }
}

// dshift = sum g and dscale = sum g z, from the sums of `parts` blocks.
extern "C" __global__ void parameter_gradients(const double* partial, const T* var, T* dscale,
                                               T* dshift, T eps, int parts, int C) {
    int c = CHANNEL;
    double sum = 0, product = 0;
    if (c < C)
#pragma unroll 4
        for (int k = threadIdx.y; k < parts; k += blockDim.y) {
            sum += partial[2LL * k * C + c];
            product += partial[(2LL * k + 1) * C + c];
        }
    add_up(sum, product);
    if (threadIdx.y == 0 && c < C) {
        dshift[c] = sum;
        dscale[c] = product / sqrt(double(var[c] + eps));
    }
}

// dx = scale / sqrt(var + eps) (g - mean(g) - z mean(g z)).
extern "C" __global__ void normalize_dx(const T* __restrict__ g, const X* __restrict__ x,
                                        const T* mean, const T* var, const T* scale,
                                        const T* shift, const T* dscale, const T* dshift,
                                        X* __restrict__ dx, T eps, int rectify, long long M, int C,
                                        int rows) {
    int c = CHANNEL;
    if (c >= C) return;
    long long first = (long long)blockIdx.x * rows, last = first + rows < M ? first + rows : M;
    T inverse = 1 / sqrt(var[c] + eps), center = mean[c], slow = scale[c] * inverse;
    T factor = scale[c] / sqrt(var[c] + eps), offset = shift[c];
    T mean_g = dshift[c] / M, slope = dscale[c] / M * inverse;
#pragma unroll 4
    for (long long m = first + threadIdx.y; m < last; m += 8) {
        X here = x[m * C + c];
        T gradient = rectify && !(SCALED(here) > 0) ? T(0) : g[m * C + c];
        store(slow * (gradient - mean_g - (number(here) - center) * slope), dx + m * C + c);
    }
}
