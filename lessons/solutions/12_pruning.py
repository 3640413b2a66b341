"""Answers to lesson 12."""


def left(n, keep):
    """How many of n weights are left after one pruning that keeps the share `keep`."""
    return max(n - round((1 - keep) * n), min(n, 1))


def largest_of_all(tensors, masks, keep):
    """New masks (a list of arrays, as `masks`) for a list of arrays `tensors`."""
    row = np.concatenate([w.ravel() for w in tensors])
    alive = np.concatenate([mask.ravel() for mask in masks])
    pieces = np.split(largest(row, alive, keep), np.cumsum([w.size for w in tensors])[:-1])
    return [piece.reshape(w.shape) for piece, w in zip(pieces, tensors, strict=True)]


def step(w, v, g, alive, lr, momentum):
    """The new (w, v); `alive` is the mask."""
    v = np.where(alive, momentum * v + g, 0)
    return np.where(alive, w - lr * v, 0), v
