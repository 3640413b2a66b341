// The rectifier, and sums of gradients, which may be bits; N packs. NaN stays NaN.

// y = max(x, 0).
extern "C" __global__ void relu(const X* x, X* y, long long N) {
    FOR(n, N) {
        T a[VECTOR];
        load(x + n * VECTOR, a);
        for (int v = 0; v < VECTOR; v++) a[v] = a[v] < 0 ? T(0) : a[v];
        save(a, y + n * VECTOR);
    }
}

// y[n] = f(a[n], b[n]).
template <class F>
__device__ void each_pair(const X* a, const X* b, X* y, long long N, F f) {
    FOR(n, N) {
        T one[VECTOR], two[VECTOR];
        load(a + n * VECTOR, one);
        load(b + n * VECTOR, two);
        for (int v = 0; v < VECTOR; v++) one[v] = f(one[v], two[v]);
        save(one, y + n * VECTOR);
    }
}

// dx = g where y > 0, else 0.
extern "C" __global__ void relu_dx(const X* g, const X* y, X* dx, long long N) {
    each_pair(g, y, dx, N, [](T g, T y) { return y > 0 ? g : T(0); });
}

// y = a + b.
extern "C" __global__ void add(const X* a, const X* b, X* y, long long N) {
    each_pair(a, b, y, N, [](T a, T b) { return a + b; });
}
