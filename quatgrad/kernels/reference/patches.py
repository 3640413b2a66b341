"""Windows that slide over maps (N, H, W, C): sizes, patches, and their adjoint, as formulas."""

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.registry import register

Pair = tuple[int, int]


def out_size(size: Pair, window: Pair, stride: Pair, padding: Pair) -> Pair:
    """Rows and columns of the output: floor((H + 2 pad - window) / stride) + 1."""
    I, J = ((size[d] + 2 * padding[d] - window[d]) // stride[d] + 1 for d in (0, 1))
    return I, J


def pad(x: Array, padding: Pair, value: float = 0.0) -> Array:
    """Surround the maps of x (N, H, W, C) with `value`."""
    if padding == (0, 0):
        return x
    widths = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
    return array_module(x).pad(x, widths, constant_values=value)


def window(x: Array, u: int, v: int, stride: Pair, out: Pair) -> Array:
    """The pixels of a padded map that window offset (u, v) meets: x[n, i s + u, j s + v, :]."""
    rows = slice(u, u + stride[0] * (out[0] - 1) + 1, stride[0])
    cols = slice(v, v + stride[1] * (out[1] - 1) + 1, stride[1])
    return x[:, rows, cols]


@register
def patches(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """P[n,i,j,u,v,c] = x[n, i s + u - pad, j s + v - pad, c], zero outside the map."""
    xp = array_module(x)
    windows = xp.lib.stride_tricks.sliding_window_view(pad(x, padding), size, axis=(1, 2))
    return xp.ascontiguousarray(windows[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3))


@register
def unpatches(P: Array, shape: tuple[int, ...], stride: Pair, padding: Pair) -> Array:
    """The adjoint of `patches`: adds every patch back where it was taken from, -> `shape`."""
    N, H, W, C = shape
    out, size = P.shape[1:3], P.shape[3:5]
    x = array_module(P).zeros((N, H + 2 * padding[0], W + 2 * padding[1], C), P.dtype)
    for u in range(size[0]):
        for v in range(size[1]):
            window(x, u, v, stride, out)[...] += P[:, :, :, u, v]
    return x[:, padding[0] : padding[0] + H, padding[1] : padding[1] + W]
