"""Answers to lesson 5."""


def dq(p, q, g):
    """dL/dq for y = p q, from g = dL/dy; all are quaternions (4,)."""
    return multiply(conjugate(p), g)


def layer_dx(g, w):
    """dL/dx (N, 4, P), from g (N, 4, Q) and w (4, P, Q)."""
    return np.einsum("abc,apq,ncq->nbp", HAMILTON, w, g)


def layer_dw(x, g):
    """dL/dw (4, P, Q), from x (N, 4, P) and g (N, 4, Q)."""
    return np.einsum("abc,nbp,ncq->apq", HAMILTON, x, g)
