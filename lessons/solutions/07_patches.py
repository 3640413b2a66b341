"""Answers to lesson 7."""


def out_size(size, window, stride, padding):
    """Outputs in one direction, for `size` pixels with `padding` zeros on either side."""
    return (size + 2 * padding - window) // stride + 1


def weight_gradient(x, g, U, V):
    """dL/dw (U, V, P, Q), from x (N, H, W, P) and g = dL/dy (N, I, J, Q)."""
    dw = rows_of(x, U, V).T @ g.reshape(-1, g.shape[3])
    return dw.reshape(U, V, x.shape[3], g.shape[3])


def unpatch(P, H, W):
    """The image (H, W) in which the patches P (I, J, U, V) are added up where they came from."""
    I, J, U, V = P.shape
    x = np.zeros((H, W))
    for i in range(I):
        for j in range(J):
            x[i : i + U, j : j + V] += P[i, j]
    return x
