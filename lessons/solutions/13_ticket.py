"""Answers to lesson 13."""


def levels_until(share, keep):
    """The first level with at most `share` of the weights; 0 is the dense network."""
    level, left = 0, 1.0
    while left > share:
        level, left = level + 1, left * keep
    return level


def fair(masks, control):
    """True or False."""
    return all(mask.sum() == control[name].sum() for name, mask in masks.items())


def half_width(values):
    """t s / sqrt(n)."""
    n = len(values)
    return student_t(n) * np.std(values, ddof=1) / np.sqrt(n)
