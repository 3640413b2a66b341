// Quaternion products. e_a e_b = sign(a, b) e_(a ^ b): the units multiply like bits under XOR, and
// NEGATIVE has bit 4a + b set where HAMILTON[a, b] is -1.

__device__ T sign(int a, int b) { return NEGATIVE >> (4 * a + b) & 1 ? T(-1) : T(1); }

// y[n] = p[n] q[n] for n quaternions.
extern "C" __global__ void hamilton(const T* p, const T* q, T* y, long long N) {
    FOR(n, N) {
        for (int c = 0; c < 4; c++) {
            T sum = 0;
            for (int a = 0; a < 4; a++) sum += sign(a, a ^ c) * p[4 * n + a] * q[4 * n + (a ^ c)];
            y[4 * n + c] = sum;
        }
    }
}

// Number i of the K P Q quaternions of a weight, in the order in which W lies: then neighbouring
// threads meet its memory, of which there is four times as much as of w, at neighbouring places.
#define QUATERNION(i)                                                                    \
    long long k = i / P / Q, p = along_row == 1 ? i % P : i / Q % P,                     \
              q = along_row == 1 ? i / P % Q : i % Q, at = (k * P + p) * Q + q;
#define PLACE(b, c) (k * along_k + (b * P + p) * along_row + (c * Q + q) * along_column)

// W[k, (b, p), (c, q)] = sign(a, b) w[a, k, p, q] with a = b ^ c. W lies in memory as its strides
// along k, rows and columns say: a matrix for each k, or a filter (4Q, K, 4P) for cuDNN.
extern "C" __global__ void expand(const T* w, X* W, long long K, long long P, long long Q,
                                  long long along_k, long long along_row, long long along_column) {
    long long size = K * P * Q;
    FOR(i, size) {
        QUATERNION(i)
        for (int a = 0; a < 4; a++) {
            T value = w[a * size + at];
            for (int b = 0; b < 4; b++) store(sign(a, b) * value, W + PLACE(b, (a ^ b)));
        }
    }
}

// w[a, k, p, q] = sum_b sign(a, b) W[k, (b, p), (a ^ b, q)]: the adjoint of expand.
extern "C" __global__ void fold(const X* W, T* w, long long K, long long P, long long Q,
                                long long along_k, long long along_row, long long along_column) {
    long long size = K * P * Q;
    FOR(i, size) {
        QUATERNION(i)
        for (int a = 0; a < 4; a++) {
            T sum = 0;
            for (int b = 0; b < 4; b++) sum += sign(a, b) * number(W[PLACE(b, (a ^ b))]);
            w[a * size + at] = sum;
        }
    }
}
