"""Answers to lesson 4."""

iji = [0, 0, 1, 0]  # (ij) i = k i = j


def inverse(q):
    """q⁻¹, for a quaternion q (4,) that is not 0."""
    return q * [1, -1, -1, -1] / (q * q).sum()


def turn(q, point):
    """The point (3,) turned by the unit quaternion q (4,); three numbers again."""
    v = np.append(0, point)
    return product(product(q, v), quaternion.conjugate(q))[1:]
