"""How many weights a pruning leaves, and where: exact, before anyone knows which.

Everything here is integers: groups alive in each pool, in and out. So the counts of any level
follow from those of the dense network, and a check can say them without the weights.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

#: Where the groups of all tensors are counted together.
ALL = "all tensors"
Counts = dict[str, list[int]]  # a tensor's name -> groups in each of its pools; or ALL -> [groups]


def survivors(n: int, keep: float) -> int:
    """n - round((1 - keep) n), but never fewer than 1 of a pool that has any.

    The published rule, with Python's rounding of halves to even, in double precision. There it
    could not empty a tensor either, since its keep was at least 0.5.
    """
    return max(n - round((1 - keep) * n), min(n, 1))


def after(
    alive: Counts,
    keep: float,
    own: Mapping[str, float] | None = None,
    erk: Mapping[str, float] | None = None,
) -> Counts:
    """The groups that one pruning leaves of those alive.

    `survivors` of each pool, with the share `keep`, or that of `own` for a tensor named there.
    With `erk`, the weight of each tensor in `erdos_renyi`, the pools that `own` does not name
    share out the `survivors` of them all.
    """
    rates = own or {}
    left = {n: [survivors(k, rates.get(n, keep)) for k in counts] for n, counts in alive.items()}
    if erk is not None:
        shared = [(n, i) for n in alive if n not in rates for i in range(len(alive[n]))]
        caps = [alive[n][i] for n, i in shared]
        parts = apportion(survivors(sum(caps), keep), [erk[n] for n, _ in shared], caps)
        for (n, i), k in zip(shared, parts, strict=True):
            left[n][i] = k
    return left


def erdos_renyi(shape: Sequence[int], pool: int) -> float:
    """How many of the `pool` groups of a pool survive, but for a common factor: ERK.

    density ~ (U + V + P + Q) / (U V P Q) for a kernel, (P + Q) / (P Q) for a matrix: small layers
    stay denser. `shape` is that of one component. Evci et al., arXiv:1911.11134, after Mocanu et
    al. 2018.
    """
    return pool * sum(shape) / math.prod(shape)


def apportion(total: int, weights: Sequence[float], caps: Sequence[int]) -> list[int]:
    """Integers k_i ~ weights_i that add to `total`, 1 <= k_i <= caps_i (0 where the cap is 0).

    Where a share would exceed its cap, what is over is shared out again among the others, as Evci
    et al. do with densities above 1. Fractions by largest remainder, of equal ones the first.
    Where `total` is below the number of pools alive, each of them still keeps 1.
    """
    cap, w = np.asarray(caps, np.int64), np.asarray(weights, np.float64)
    full = cap == 0
    while True:
        rest = total - cap[full].sum()
        free = w[~full].sum()
        share = np.where(full, cap, rest * w / free if free > 0 else 0.0)
        over = ~full & (share >= cap)
        if not over.any():
            break
        full |= over
    k = np.minimum(np.maximum(np.floor(share).astype(np.int64), np.minimum(cap, 1)), cap)
    remainder = np.where(k < cap, share - k, -np.inf)
    k[np.argsort(-remainder, kind="stable")[: max(total - int(k.sum()), 0)]] += 1
    while k.sum() > total and k.max() > 1:  # some were lifted to 1
        k[k.argmax()] -= 1
    return k.tolist()


def between(alive: Counts, left: Counts, share: float) -> Counts:
    """n^(1 - share) m^share for n of `alive` and m of `left`, rounded: on the way from n to m."""
    return {
        place: [
            max(m, min(n, round(n ** (1 - share) * m**share))) if share < 1 else m
            for n, m in zip(counts, left[place], strict=True)
        ]
        for place, counts in alive.items()
    }
