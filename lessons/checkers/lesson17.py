"""Judges of lesson 17: a slope through many steps, the slope of a gate, how far to open it."""

import numpy as np

from checkers.judging import agree, exercise


def _central(f, h=1e-5):
    """The slope of f at 0."""
    return (f(h) - f(-h)) / (2 * h)


@exercise
def through(answer):
    """prod w (1 - h^2), by running the cell from two states."""
    x, w, start = np.array([0.3, -0.4, 0.2, 0.6, -0.1]), 1.2, 0.25

    def run(move):
        h, found = start + move, []
        for now in x:
            h = np.tanh(w * h + now)
            found.append(h)
        return np.array(found)

    h = run(0.0)
    steps = w * (1 - h * h)
    mistakes = {
        "The slope of tanh is missing: 1 − h² at each step.": w ** len(h),
        "w is missing: each step multiplies by it.": np.prod(1 - h * h),
        "w stands in every step, and so it comes once for each.": w * np.prod(1 - h * h),
        "Slopes along a path multiply; you add them.": steps.sum(),
        "1 − h² is the slope at the result, not 1 − h.": np.prod(w * (1 - h)),
        "One slope is asked for: that of the last state. Multiply them.": steps,
        "These are the slopes of all states; the last one is asked for.": np.cumprod(steps),
        "The last step is missing.": np.prod(steps[:-1]),
        "The first step is missing: h_1 was made from h_0.": np.prod(steps[1:]),
    }
    want = _central(lambda move: run(move)[-1])
    agree("dh_5/dh_0", answer(w, h.copy()), want, "finite difference", mistakes=mistakes)


@exercise
def gate_slope(answer):
    """z + (1 - z) w (1 - n^2) + (h - n) a z (1 - z)."""
    h, x, w, a, b = 0.7, -0.3, 0.8, 1.3, 0.4

    def cell(h):
        z = 1 / (1 + np.exp(-(a * h + b)))
        return (1 - z) * np.tanh(w * h + x) + z * h

    n, z = np.tanh(w * h + x), 1 / (1 + np.exp(-(a * h + b)))
    direct, content, gate = z, (1 - z) * w * (1 - n * n), (h - n) * a * z * (1 - z)
    mistakes = {
        "That is the direct way alone. h is also in n and in z.": direct,
        "The way through z is missing: z depends on h too, if a is not 0.": direct + content,
        "The way through n is missing.": direct + gate,
        "The direct way is missing: z h has the slope z.": content + gate,
        "The way through n has the slope of tanh in it, 1 − n².": direct + (1 - z) * w + gate,
        "w is missing on the way through n.": direct + (1 - z) * (1 - n * n) + gate,
        "a is missing on the way through z.": direct + content + (h - n) * z * (1 - z),
        "The slope of σ is z (1 − z), on the way through z.": direct + content + (h - n) * a,
        "z stands before h with a plus and before n with a minus: h − n, not n − h.":
            direct + content - gate,
        "z stands before n too, with a minus: h − n.": direct + content + h * a * z * (1 - z),
        "n counts with 1 − z.": direct + w * (1 - n * n) + gate,
    }  # fmt: skip
    want = _central(lambda move: cell(h + move))
    agree("dh'/dh", answer(h, x, w, a, b), want, "finite difference", mistakes=mistakes)


@exercise
def open_gate(answer):
    """log(z / (1 - z)), z = share^(1 / steps); checked by closing it again."""
    for share, steps in ((0.5, 1), (0.5, 50), (0.9, 20)):
        z = share ** (1 / steps)
        want = np.log(z / (1 - z))
        once, even = np.log(share / (1 - share)), 1 - (1 - share) / steps
        mistakes = {
            "That is z; b is what σ makes it of: b = ln(z / (1 − z)).": z,
            "The other way up: z / (1 − z).": -want,
            "That is b for one step; z is the root, share^(1/steps).": once,
            "The shares multiply: z to the power of steps, not z times steps.":
                np.log(even / (1 - even)) if even < 1 else want,
            "share^steps? It is z that has the power: z = share^(1/steps).":
                np.log(share**steps / (1 - share**steps)),
            "That is ln z; σ is not exp: b = ln(z / (1 − z)).": np.log(z),
        }  # fmt: skip
        what = f"b for a share of {share} after {steps} steps"
        got = answer(share, steps)
        agree(what, got, want, None, mistakes=mistakes)
