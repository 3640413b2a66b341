// The rectifier. NaN stays NaN.

// y = max(x, 0).
extern "C" __global__ void relu(const T* x, T* y, long long N) {
    FOR(n, N) y[n] = x[n] < 0 ? T(0) : x[n];
}

// dx = g where y > 0, else 0.
extern "C" __global__ void relu_dx(const T* g, const T* y, T* dx, long long N) {
    FOR(n, N) dx[n] = y[n] > 0 ? g[n] : T(0);
}
