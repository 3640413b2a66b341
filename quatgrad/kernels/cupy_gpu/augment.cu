// From bytes of images (M, H, W, C) to what a network sees (N, H, W, K), in one pass: a thread for
// each pixel that is written. moves[n] = rows down, columns right, mirrored.

extern "C" __global__ void augment(const unsigned char* images, const long long* rows,
                                   const int* moves, const T* mean, const T* deviation,
                                   const T* mix, T* y, long long N, int H, int W, int C, int K) {
    FOR(pixel, N * H * W) {
        int w = pixel % W, h = pixel / W % H;
        long long n = pixel / W / H;
        int i = h + moves[3 * n], j = (moves[3 * n + 2] ? W - 1 - w : w) + moves[3 * n + 1];
        bool inside = i >= 0 && i < H && j >= 0 && j < W;
        const unsigned char* from = images + ((rows[n] * H + i) * W + j) * C;
        for (int k = 0; k < K; k++) {
            T sum = 0;
            for (int c = 0; c < C; c++)
                sum += mix[c * K + k] * ((T(inside ? from[c] : 0) - mean[c]) / deviation[c]);
            y[pixel * K + k] = sum;
        }
    }
}
