"""Answers to lesson 0."""


def central(f, x, h):
    """The slope of f between x - h and x + h."""
    return (f(x + h) - f(x - h)) / (2 * h)


def remainder(f, df, x, h):
    """What is left of f(x + h) after the straight line through (x, f(x)) with slope df(x)."""
    return f(x + h) - f(x) - h * df(x)


gradient = [12, 9]  # 2 x y and x²
