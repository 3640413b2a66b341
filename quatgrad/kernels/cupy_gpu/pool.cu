// A window of U x V pixels slides over maps (N, H, W, C), with strides s, t and padding r, c (rows,
// columns), and meets the maps at I x J places. One thread for each number that is written.

// The output row (or column) whose window meets row h at offset u, or -1 where there is none.
__device__ int output_of(int h, int u, int stride, int padding, int I) {
    int start = h + padding - u;
    return start >= 0 && start % stride == 0 && start / stride < I ? start / stride : -1;
}

// P[n,i,j,u,v,c] = x[n, i s + u - pad, j s + v - pad, c], zero outside the map.
extern "C" __global__ void patches(const T* x, T* P, int N, int H, int W, int C, int I, int J,
                                   int U, int V, int s, int t, int r, int d) {
    FOR(k, (long long)N * I * J * U * V * C) {
        int c = k % C, v = k / C % V, u = k / C / V % U;
        long long pixel = k / C / V / U;
        int j = pixel % J, i = pixel / J % I;
        long long n = pixel / J / I;
        int h = i * s + u - r, w = j * t + v - d;
        bool inside = h >= 0 && h < H && w >= 0 && w < W;
        P[k] = inside ? x[((n * H + h) * W + w) * C + c] : T(0);
    }
}

// x[n,h,w,c] = the sum of all P[n,i,j,u,v,c] taken from there: the adjoint of patches.
extern "C" __global__ void unpatches(const T* P, T* x, int N, int H, int W, int C, int I, int J,
                                     int U, int V, int s, int t, int r, int d) {
    FOR(k, (long long)N * H * W * C) {
        int c = k % C, w = k / C % W, h = k / C / W % H;
        long long n = k / C / W / H;
        T sum = 0;
        for (int u = 0; u < U; u++)
            for (int v = 0; v < V; v++) {
                int i = output_of(h, u, s, r, I), j = output_of(w, v, t, d, J);
                if (i >= 0 && j >= 0) sum += P[((((n * I + i) * J + j) * U + u) * V + v) * C + c];
            }
        x[k] = sum;
    }
}

// y = the largest of a window, winner = its u V + v: the first of equals, or the first NaN; the
// border, of -inf, wins over no pixel of the map.
extern "C" __global__ void max_pool(const T* x, T* y, int* winner, int N, int H, int W, int C,
                                    int I, int J, int U, int V, int s, int t, int r, int d) {
    FOR(k, (long long)N * I * J * C) {
        int c = k % C, j = k / C % J, i = k / C / J % I;
        long long n = k / C / J / I;
        T best = log(T(0));  // -inf
        int at = -1;
        for (int u = 0; u < U; u++)
            for (int v = 0; v < V; v++) {
                int h = i * s + u - r, w = j * t + v - d;
                if (h < 0 || h >= H || w < 0 || w >= W) continue;
                T value = x[((n * H + h) * W + w) * C + c];
                if (at < 0 || value > best || (value != value && best == best)) {
                    best = value;
                    at = u * V + v;
                }
            }
        y[k] = best;
        winner[k] = at < 0 ? 0 : at;
    }
}

// dx[n,h,w,c] = the sum of g over the windows that this pixel has won.
extern "C" __global__ void max_pool_dx(const T* g, const int* winner, T* dx, int N, int H, int W,
                                       int C, int I, int J, int U, int V, int s, int t, int r,
                                       int d) {
    FOR(k, (long long)N * H * W * C) {
        int c = k % C, w = k / C % W, h = k / C / W % H;
        long long n = k / C / W / H;
        T sum = 0;
        for (int u = 0; u < U; u++)
            for (int v = 0; v < V; v++) {
                int i = output_of(h, u, s, r, I), j = output_of(w, v, t, d, J);
                long long from = ((n * I + i) * J + j) * C + c;
                if (i >= 0 && j >= 0 && winner[from] == u * V + v) sum += g[from];
            }
        dx[k] = sum;
    }
}

// y = the mean of a window; padding counts as zeros.
extern "C" __global__ void avg_pool(const T* x, T* y, int N, int H, int W, int C, int I, int J,
                                    int U, int V, int s, int t, int r, int d) {
    FOR(k, (long long)N * I * J * C) {
        int c = k % C, j = k / C % J, i = k / C / J % I;
        long long n = k / C / J / I;
        double sum = 0;  // of parts of at most 8192 pixels: see reference/sums.py
        T part = 0;
        int pixels = 0;
        for (int u = 0; u < U; u++)
            for (int v = 0; v < V; v++) {
                int h = i * s + u - r, w = j * t + v - d;
                if (h >= 0 && h < H && w >= 0 && w < W) part += x[((n * H + h) * W + w) * C + c];
                if (++pixels % 8192 == 0) {
                    sum += part;
                    part = 0;
                }
            }
        y[k] = T(sum + part) / T(U * V);
    }
}

// dx[n,h,w,c] = the sum of g / (U V) over the windows that meet this pixel.
extern "C" __global__ void avg_pool_dx(const T* g, T* dx, int N, int H, int W, int C, int I, int J,
                                       int U, int V, int s, int t, int r, int d) {
    FOR(k, (long long)N * H * W * C) {
        int c = k % C, w = k / C % W, h = k / C / W % H;
        long long n = k / C / W / H;
        T sum = 0;
        for (int u = 0; u < U; u++)
            for (int v = 0; v < V; v++) {
                int i = output_of(h, u, s, r, I), j = output_of(w, v, t, d, J);
                if (i >= 0 && j >= 0) sum += g[((n * I + i) * J + j) * C + c];
            }
        dx[k] = sum / T(U * V);
    }
}
