"""From the bytes of images to what a network sees, as a formula."""

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register


@register
def augment(
    images: Array, rows: Array, moves: Array, mean: Array, deviation: Array, mix: Array
) -> Array:
    """y[n,i,j,k] = sum_c mix[c,k] (x[i + r, j' + s, c] - mean[c]) / deviation[c].

    x = images[rows[n]], 0 outside the image; (r, s, m) = moves[n]; j' = W - 1 - j if m else j.
    images uint8 (M, H, W, C), rows int64 (N,), moves int32 (N, 3), mean and deviation (C,),
    mix (C, K) -> y (N, H, W, K) in mix's dtype.
    """
    xp = array_module(images)
    _, H, W, C = images.shape
    N, (down, right, mirrored) = len(rows), moves.T
    i = down[:, None] + xp.arange(H)
    j = xp.arange(W) + xp.zeros((N, 1), int)
    j = xp.where(mirrored[:, None] != 0, W - 1 - j, j) + right[:, None]
    inside = ((i >= 0) & (i < H))[:, :, None] & ((j >= 0) & (j < W))[:, None, :]
    i, j = xp.clip(i, 0, H - 1), xp.clip(j, 0, W - 1)
    x = images[rows[:, None, None], i[:, :, None], j[:, None, :]] * inside[..., None]
    z = (x.astype(mix.dtype) - mean) / deviation
    return sum(z[..., c, None] * mix[c] for c in range(C))
