"""Answers to lesson 10."""


def block_gradient(x, w1, w2, g):
    """dL/dx (N, P), for x (N, P), w1 (P, Q), w2 (Q, P) and g = dL/dy (N, P)."""
    alive = x @ w1 > 0
    return g + (g @ w2.T * alive) @ w1.T


def block_parameters(P, Q, algebra):
    """How many numbers a BasicBlock learns; algebra is "real" or "quaternion"."""
    weights = 9 * P * Q + 9 * Q * Q + (P * Q if P != Q else 0)
    norms = 2 * Q * (3 if P != Q else 2)
    return weights // (4 if algebra == "quaternion" else 1) + norms
