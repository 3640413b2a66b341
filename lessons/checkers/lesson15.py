"""Judges of lesson 15: vectors of zeros, products for a load, and where zeros begin to pay."""

import math

import numpy as np

from checkers.judging import agree, exercise


@exercise
def skipped(answer):
    """The chance that as many independent weights are all zero."""
    for density, lanes in ((0.05, 16), (0.1, 8), (0.5, 4)):
        want = math.prod([1 - density] * lanes)
        mistakes = {
            "That is the share of single weights: all of a vector must be zero.": 1 - density,
            "That is the share that must be computed.": 1 - want,
            "That is the chance that all of them are left.": density**lanes,
            "Chances of things that must all happen are multiplied.": 1 - density * lanes,
            "A vector counts as one, not as its lanes.": want / lanes,
        }
        what = f"skipped({density}, {lanes})"
        agree(what, answer(density, lanes), want, None, mistakes=mistakes)


@exercise
def products_per_load(answer):
    """By the number of components that are left, 0 to 4."""
    for density in (0.05, 0.5, 1.0):
        chance = [math.comb(4, n) * density**n * (1 - density) ** (4 - n) for n in range(5)]
        products = sum(4 * n * chance[n] for n in range(5))
        loads = sum(4 * chance[n] for n in range(1, 5))
        mistakes = {
            "Where no component is left, nothing is loaded.": products / 4,
            "Four vectors are loaded at a place, not one.": products / (loads / 4),
            "Each component makes four products.": products / 4 / loads,
            "It is upside down: products for a load.": loads / products,
            "That is the number of products at a place.": products,
            "That is the mean over places: add up products and loads first, then divide.":
                sum(n * chance[n] for n in range(1, 5)),
            "Each component is loaded for by itself there: a load serves all that are left.": 1.0,
        }  # fmt: skip
        what = f"products_per_load({density})"
        agree(what, answer(density), products / loads, None, mistakes=mistakes)


@exercise
def break_even(answer):
    """A bent line with a known crossing, between two of the points."""
    densities = np.array([0.01, 0.05, 0.1, 0.2, 0.4, 0.5])
    for a, b, dense in ((0.1, 2.0, 0.42), (0.05, 1.0, 0.13)):
        times = a + b * densities + 3 * densities**2
        k = np.searchsorted(times, dense)
        (d0, d1), (t0, t1) = densities[k - 1 : k + 1], times[k - 1 : k + 1]
        want = d0 + (d1 - d0) * (dense - t0) / (t1 - t0)
        ends = [densities[0], densities[-1]], [times[0], times[-1]]
        near = densities[np.argmin(abs(times - dense))]
        above = densities[np.argmax(times >= dense)]
        mistakes = {
            "A layer without a weight takes time, too: the line does not begin at 0.":
                dense / ((t1 - t0) / (d1 - d0)),
            "The line through all points is bent: take the two densities around the crossing.":
                np.interp(dense, *ends[::-1]),
            "That is the time at a density: read the line the other way round.":
                np.interp(dense, densities, times),
            "The answer lies between two of the measured densities.": near,
            "That is the first measured density that is slower: go back to the crossing.": above,
            "That is the ratio of times: dense over sparse at the largest density.":
                dense / times[-1],
        }  # fmt: skip
        got = answer(densities.copy(), times.copy(), dense)
        what = f"the break-even density between points of {a} + {b} d + 3 d² = {dense}"
        agree(what, got, want, None, mistakes=mistakes)
