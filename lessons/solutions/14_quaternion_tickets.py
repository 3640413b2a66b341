"""Answers to lesson 14."""


def at_work(keep):
    """The expected share of quaternions that are not wholly gone."""
    return 1 - (1 - keep) ** 4


def multiply_adds(alive, height, width, components):
    """`alive` weights left; an output of height x width; components: 1 real, 4 quaternion."""
    return alive * components * height * width


def gap_at_equal_work(real, quaternion, f):
    """Points, quaternion less real; negative where the real network is ahead."""
    return quaternion.at(f, "fraction") - real.at(f, "fraction")
