// float32 to bfloat16, its upper half, and back.

union Bits {
    float number;
    unsigned bits;
};

// To the nearest, of two the even one. NaN stays NaN.
extern "C" __global__ void to_bf16(const float* x, unsigned short* y, long long N) {
    FOR(n, N) {
        Bits b = {x[n]};
        y[n] = x[n] == x[n] ? (b.bits + 0x7fffu + (b.bits >> 16 & 1u)) >> 16 : 0x7fffu;
    }
}

extern "C" __global__ void from_bf16(const unsigned short* y, float* x, long long N) {
    FOR(n, N) {
        Bits b;
        b.bits = unsigned(y[n]) << 16;
        x[n] = b.number;
    }
}
