// Cross-entropy of rows (N, K) of logits. A warp has a row: each of its 32 lanes every 32nd class.
// Blocks have 32 x 8 threads, or are alone and have 256.

#define ROW (blockIdx.x * 8LL + threadIdx.y)
#define ALL 0xffffffffu
#define FOR_CLASSES(k) for (int k = threadIdx.x; k < K; k += 32)

// NaN is larger than any number, as in NumPy.
__device__ bool larger(T a, T b) { return a > b || (a != a && b == b); }

template <class V> __device__ V sum_of_lanes(V v) {
    for (int lane = 16; lane; lane /= 2) v += __shfl_xor_sync(ALL, v, lane);
    return v;
}

// log_p = ln softmax(z), and the loss of each row; NaN where the label is no class.
extern "C" __global__ void log_softmax(const T* z, const long long* labels, T* log_p,
                                       double* losses, double smoothing, long long N, int K) {
    long long n = ROW;
    if (n >= N) return;
    z += n * K, log_p += n * K;
    T top = log(T(0)), sum = 0;
    FOR_CLASSES(k) top = larger(z[k], top) ? z[k] : top;
    for (int lane = 16; lane; lane /= 2) {
        T other = __shfl_xor_sync(ALL, top, lane);
        top = larger(other, top) ? other : top;
    }
    FOR_CLASSES(k) sum += exp(z[k] - top);
    T log_sum = log(sum_of_lanes(sum));
    double all = 0;
    FOR_CLASSES(k) {
        T value = z[k] - top - log_sum;
        log_p[k] = value;
        all += value;
    }
    if (smoothing) all = sum_of_lanes(all);
    if (threadIdx.x) return;
    long long label = labels[n];
    bool known = label >= 0 && label < K;
    double loss = (1 - smoothing) * (known ? double(z[label] - top - log_sum) : log(-1.0));
    losses[n] = smoothing ? loss + smoothing / K * all : loss;  // else 0 * -inf would be NaN
}

// The sum over n of a[n], by one block in a fixed order; right in thread 0.
template <class V> __device__ double sum_of_block(const V* a, long long N) {
    __shared__ double part[256];
    double sum = 0;
    for (long long n = threadIdx.x; n < N; n += 256) sum += a[n];
    part[threadIdx.x] = sum;
    for (int half = 128; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    return part[0];
}

// L = -1/N sum of the losses.
extern "C" __global__ void mean_loss(const double* losses, T* L, long long N) {
    double sum = sum_of_block(losses, N);
    if (threadIdx.x == 0) *L = -sum / N;
}

// dz = (exp(log_p) - t) g / N.
extern "C" __global__ void cross_entropy_dz(const T* log_p, const long long* labels, const T* g,
                                            T* dz, T smoothing, long long N, int K) {
    T factor = *g / N, off = smoothing / K, on = 1 - smoothing;
    FOR(i, N * K) {
        T d = exp(log_p[i]) - off;
        if (i % K == labels[i / K]) d -= on;
        dz[i] = d * factor;
    }
}

// hits[n] = 1 where row n is largest at its label, the first of equals.
extern "C" __global__ void find_hits(const T* z, const long long* labels, int* hits, long long N,
                                     int K) {
    long long n = ROW;
    if (n >= N) return;
    z += n * K;
    int at = threadIdx.x < K ? threadIdx.x : 0;
    T top = z[at];
    FOR_CLASSES(k) {
        if (larger(z[k], top)) {
            top = z[k];
            at = k;
        }
    }
    for (int lane = 16; lane; lane /= 2) {
        T value = __shfl_xor_sync(ALL, top, lane);
        int place = __shfl_xor_sync(ALL, at, lane);
        if (larger(value, top) || (!larger(top, value) && place < at)) {
            top = value;
            at = place;
        }
    }
    if (threadIdx.x == 0) hits[n] = at == labels[n];
}

// sums += (N L, the sum of the hits).
extern "C" __global__ void accumulate_metrics(double* sums, const int* hits, const T* L, long long N) {
    double right = sum_of_block(hits, N);
    if (threadIdx.x == 0) {
        sums[0] += double(*L) * N;
        sums[1] += right;
    }
}
