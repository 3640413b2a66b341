// float32 to bfloat16 and back; X are bits, N packs.

struct alignas(VECTOR * sizeof(T)) Numbers {
    T at[VECTOR];
};

extern "C" __global__ void to_bf16(const T* x, X* y, long long N) {
    FOR(n, N) {
        Numbers p = ((const Numbers*)x)[n];
        save(p.at, y + n * VECTOR);
    }
}

extern "C" __global__ void from_bf16(const X* y, T* x, long long N) {
    FOR(n, N) {
        Numbers p;
        load(y + n * VECTOR, p.at);
        ((Numbers*)x)[n] = p;
    }
}
