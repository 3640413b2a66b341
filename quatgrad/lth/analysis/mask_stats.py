"""What a mask looks like: densities, and how many components of a quaternion survive together.

A pruned quaternion may keep any of 16 patterns of its components: pattern sum_a 2^a of those alive,
so 0 is dead, 1 a real number, 2 a multiple of i, 15 whole. Where the components are pruned apart,
and would not care for one another, the patterns follow from the four densities alone: by chance.
"""

from collections.abc import Mapping

import numpy as np

#: The 16 patterns by name: "dead", "1", "i", "1i", ..., "1ijk".
PATTERNS = ["".join(c for a, c in enumerate("1ijk") if p >> a & 1) or "dead" for p in range(16)]
#: How many components are alive in each pattern.
ALIVE = np.array([p.bit_count() for p in range(16)])


def components_of(mask: np.ndarray) -> int:
    """4 for a quaternion weight (4, P, Q) or (4, U, V, P, Q), 1 for (P, Q) or (U, V, P, Q)."""
    return 4 if mask.ndim % 2 else 1


def rows(mask: np.ndarray) -> np.ndarray:
    """A mask as (components, numbers)."""
    return mask.reshape(components_of(mask), -1)


def densities(masks: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """The share alive of each component tensor of each weight."""
    return {name: rows(mask).mean(axis=1).tolist() for name, mask in masks.items()}


def components(masks: Mapping[str, np.ndarray]) -> list[int]:
    """How many weights alive are real parts, how many factors of i, j and k."""
    alive = [rows(m).sum(axis=1) for m in masks.values() if components_of(m) == 4]
    return sum(alive, np.zeros(4, np.int64)).tolist()


def patterns(mask: np.ndarray) -> np.ndarray:
    """How many quaternions of a mask (4, ...) have each of the 16 patterns."""
    code = (rows(mask).astype(np.int64) << np.arange(4)[:, None]).sum(axis=0)
    return np.bincount(code, minlength=16)


def patterns_by_chance(mask: np.ndarray) -> np.ndarray:
    """n prod_a (d_a if component a is alive in the pattern, else 1 - d_a).

    The mean of `patterns` over all masks with these counts in each component: exact, since the
    components are independent, though the quaternions are not.
    """
    d = rows(mask).mean(axis=1)
    alive = np.arange(16)[:, None] >> np.arange(4) & 1
    return rows(mask).shape[1] * np.where(alive, d, 1 - d).prod(axis=1)


def by_number(counts: np.ndarray) -> np.ndarray:
    """Counts of 16 patterns -> counts of quaternions with 0, 1, 2, 3 and 4 components alive."""
    return np.bincount(ALIVE, weights=counts, minlength=5)


def co_survival(masks: Mapping[str, np.ndarray]) -> float | None:
    """sum_q (k_q - k)^2 / (n sum_a d_a (1 - d_a)), with k_q components of quaternion q alive.

    k is the mean of k_q, d_a the density of component a. 1 by chance, exactly in the mean; 4 where
    whole quaternions live or die; below 1 where one component alive makes others rarer. Numerator
    and denominator are summed over the quaternion weights. None where nothing is pruned there, or
    no weight is a quaternion's.
    """
    found, chance = 0.0, 0.0
    for mask in masks.values():
        if components_of(mask) == 4:
            k, d = rows(mask).sum(axis=0), rows(mask).mean(axis=1)
            found += float(((k - k.mean()) ** 2).sum())
            chance += len(k) * float((d * (1 - d)).sum())
    return found / chance if chance else None


def incomplete(masks: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Quaternions with 0, 1, 2, 3, 4 components alive, over all weights: found, and by chance.

    Fewer than 4 is an incomplete quaternion: it can no longer turn its input any way it likes.
    """
    own = [mask for mask in masks.values() if components_of(mask) == 4]
    totals = [sum((f(m) for m in own), np.zeros(16)) for f in (patterns, patterns_by_chance)]
    return {
        name: by_number(t).tolist() for name, t in zip(("found", "chance"), totals, strict=True)
    }


def empty(masks: Mapping[str, np.ndarray]) -> list[str]:
    """Weights of which nothing is alive. Layer collapse, unless a shortcut leads around them."""
    return [name for name, mask in masks.items() if not mask.any()]
