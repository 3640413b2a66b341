"""Which weights a pruning step removes. Decided on the host in NumPy: the same on every backend.

A rule has four parts. Weights are ranked in *pools*, each by itself, and go in *groups*, all
members of one together:

    granularity   pools of a weight            groups
    weight        its component tensors        single entries       (the paper)
    pooled        the weight                   single entries
    quaternion    the weight                   the four components of a quaternion

In a real weight, which has one component, the three are the same. With scope "global" all pools of
the network are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quatgrad.autograd import Parameter
from quatgrad.backend import to_numpy
from quatgrad.errors import InvariantError, OptionError

Masks = dict[str, np.ndarray]
Arrays = Mapping[str, np.ndarray]


def _norm(w: np.ndarray) -> np.ndarray:
    """|w| over the members of each group, without underflow of the squares of float32."""
    w = abs(w)
    return w[..., 0] if w.shape[-1] == 1 else np.sqrt((w.astype(np.float64) ** 2).sum(axis=-1))


Score = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

#: name -> score(w, w0, rng) of groups (..., members), trained and initial: the smallest go.
#: Source of all but random: Zhou et al., "Deconstructing lottery tickets", arXiv:1905.01067.
SCORES: dict[str, Score] = {
    "magnitude": lambda w, w0, rng: _norm(w),
    "initial": lambda w, w0, rng: _norm(w0),
    "increase": lambda w, w0, rng: _norm(w) - _norm(w0),
    "movement": lambda w, w0, rng: _norm(w - w0),
    "random": lambda w, w0, rng: rng.random(w.shape[:-1]),
}
GRANULARITIES = ("weight", "pooled", "quaternion")
SCOPES = ("layer", "global")


@dataclass(frozen=True)
class Rule:
    """Keep the share `keep` of the groups of each pool: those with the highest score."""

    keep: float
    score: str = "magnitude"
    granularity: str = "weight"
    scope: str = "layer"

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise OptionError(
                f"--keep is the share of weights that survives each level, between 0 and 1 "
                f"(0.7 removes 30 %); got {self.keep}"
            )
        choices = {"score": SCORES, "granularity": GRANULARITIES, "scope": SCOPES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise OptionError(
                    f"--{name} is one of {', '.join(known)}; got {getattr(self, name)!r}"
                )

    def groups(self, a: np.ndarray, components: int) -> np.ndarray:
        """A weight of so many components as (pools, groups, members)."""
        if self.granularity == "quaternion":
            return np.moveaxis(a.reshape(components, -1), 0, -1)[None]
        return a.reshape(components if self.granularity == "weight" else 1, -1, 1)

    def entries(self, kept: np.ndarray, w: Parameter) -> np.ndarray:
        """The mask of a weight, of groups kept (pools, groups)."""
        tied = w.components if self.granularity == "quaternion" else 1
        return np.broadcast_to(kept, (tied, *kept.shape)).reshape(w.shape).copy()


def full_masks(weights: Mapping[str, Parameter]) -> Masks:
    """Masks of a dense network: every weight alive."""
    return {name: np.ones(w.shape, bool) for name, w in weights.items()}


def survivors(n: int, keep: float) -> int:
    """n - round((1 - keep) n), but never fewer than 1 of a pool that has any.

    The published rule, with Python's rounding of halves to even, in double precision. There it
    could not empty a tensor either, since its keep was at least 0.5.
    """
    return max(n - round((1 - keep) * n), min(n, 1))


def prune(
    weights: Mapping[str, Parameter],
    masks: Masks,
    rule: Rule,
    initial: Arrays | None = None,
    rng: np.random.Generator | None = None,
) -> Masks:
    """The masks that `rule` leaves of `masks`; of equal scores, the later group is kept.

    `initial` has the first values of the weights and `rng` draws, for scores that need them; by
    default the weights as they are, and a generator that always draws the same.
    """
    rng = rng or np.random.default_rng(0)
    scores: dict[str, np.ndarray] = {}
    alive: dict[str, np.ndarray] = {}
    for name, w in weights.items():
        now = to_numpy(w.data)
        if not np.isfinite(now).all():
            raise InvariantError("cannot rank weights that are not finite: the training diverged")
        first = now if initial is None else initial[name]
        c = w.components
        scores[name] = SCORES[rule.score](rule.groups(now, c), rule.groups(first, c), rng)
        alive[name] = np.any(rule.groups(masks[name], c), axis=-1)
    kept = _kept_of_all if rule.scope == "global" else _kept_of_each
    return {n: rule.entries(k, weights[n]) for n, k in kept(scores, alive, rule.keep).items()}


def prune_by_magnitude(weights: Mapping[str, Parameter], masks: Masks, keep: float) -> Masks:
    """Of the weights alive in each component tensor, keep the share `keep` that is largest.

    Source: "Large Neural Networks at a Fraction".
    """
    return prune(weights, masks, Rule(keep))


def _kept_of_each(scores: Arrays, alive: Arrays, keep: float) -> dict[str, np.ndarray]:
    """Pool by pool."""
    return {
        name: np.stack(
            [_highest(s, a, keep) for s, a in zip(scores[name], alive[name], strict=True)]
        )
        for name in scores
    }


def _kept_of_all(scores: Arrays, alive: Arrays, keep: float) -> dict[str, np.ndarray]:
    """All pools in one; a tensor may end empty."""
    score, living = (np.concatenate([a.ravel() for a in x.values()]) for x in (scores, alive))
    flat = _highest(score, living, keep)
    pieces = np.split(flat, np.cumsum([s.size for s in scores.values()])[:-1])
    return {n: p.reshape(scores[n].shape) for n, p in zip(scores, pieces, strict=True)}


def _highest(score: np.ndarray, alive: np.ndarray, keep: float) -> np.ndarray:
    """The mask of one pool: the `survivors` highest of the groups alive."""
    candidates = np.flatnonzero(alive)
    values = score[candidates]
    kept = survivors(len(values), keep)
    mask = np.zeros_like(alive)
    if kept:
        least = np.partition(values, len(values) - kept)[len(values) - kept]
        above, equal = candidates[values > least], candidates[values == least]
        mask[above] = True
        mask[equal[len(equal) + len(above) - kept :]] = True  # of equals, the later ones
    return mask
