"""Answers to lesson 8."""


def gauss(a, b, c, d):
    """(real part, imaginary part) of (a + bi)(c + di), with three multiplications."""
    ac, bd = a * c, b * d
    return ac - bd, (a + b) * (c + d) - ac - bd


def winograd(m1, m2, m3, m4):
    """(y0, y1): additions and subtractions only."""
    return m1 + m2 + m3, m2 - m3 - m4


def saving(m, r):
    """Multiplications of the definition, over those of Winograd, for m x m outputs."""
    return (m * r) ** 2 / (m + r - 1) ** 2
