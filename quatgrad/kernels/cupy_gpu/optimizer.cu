// The steps of the optimizers, in one pass over memory.

// d = g + decay w;  v <- momentum v + d;  w <- w - lr (d + momentum v if nesterov else v).
__device__ void sgd_step(T* w, const T* g, T* v, T lr, T momentum, int nesterov, T decay,
                         long long N) {
    FOR(n, N) {
        T d = g[n] + decay * w[n];
        T velocity = momentum * v[n] + d;
        v[n] = velocity;
        w[n] -= lr * (nesterov ? d + momentum * velocity : velocity);
    }
}

extern "C" __global__ void sgd(T* w, const T* g, T* v, T lr, T momentum, int nesterov, T decay,
                               long long N) {
    sgd_step(w, g, v, lr, momentum, nesterov, decay, N);
}

// The same with a learning rate that lies in memory: a recorded step reads it there.
extern "C" __global__ void sgd_at_rate(T* w, const T* g, T* v, const T* lr, T momentum,
                                       int nesterov, T decay, long long N) {
    sgd_step(w, g, v, *lr, momentum, nesterov, decay, N);
}

// The same for all parameters, which lie side by side; alive: of each entry all bits, or none.
extern "C" __global__ void sgd_masked(T* w, const T* g, T* v, const U* alive, const T* lr,
                                      T momentum, int nesterov, T decay, long long N) {
    T rate = *lr;
    FOR(n, N) {
        union {
            T number;
            U bits;
        } next;
        T old = w[n], d = g[n] + decay * old;
        T velocity = momentum * v[n] + d;
        v[n] = velocity;
        next.number = old - rate * (nesterov ? d + momentum * velocity : velocity);
        next.bits &= alive[n];
        w[n] = next.number;
    }
}

// m <- b1 m + (1 - b1) d,  v <- b2 v + (1 - b2) d^2,  w <- keep w - rate m / (sqrt(v / c) + eps)
// with d = g + decay w, rest = 1 - b, rate = lr / (1 - b1^t), c = 1 - b2^t.
extern "C" __global__ void adam(T* w, const T* g, T* m, T* v, T rate, T c, T b1, T rest1, T b2,
                                T rest2, T eps, T decay, T keep, long long N) {
    FOR(n, N) {
        T d = g[n] + decay * w[n];
        T first = b1 * m[n] + rest1 * d, second = b2 * v[n] + rest2 * d * d;
        m[n] = first;
        v[n] = second;
        w[n] = keep * w[n] - rate * first / (sqrt(second / c) + eps);
    }
}
