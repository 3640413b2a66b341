// float32 to bfloat16 and back.

extern "C" __global__ void to_bf16(const float* x, unsigned short* y, long long N) {
    FOR(n, N) store(x[n], y + n);
}

extern "C" __global__ void from_bf16(const unsigned short* y, float* x, long long N) {
    FOR(n, N) x[n] = number(y[n]);
}
