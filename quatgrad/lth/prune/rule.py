"""Which weights a pruning step removes. Decided on the host in NumPy: the same on every backend.

A rule has four parts. Weights have a *score*, are ranked in *pools*, each by itself, and go in
*groups*, all members of one together:

    granularity   pools of a weight (c, U, V, P, Q)   groups
    weight        its c component tensors             single entries         (the paper)
    pooled        the weight                          single entries
    quaternion    the weight                          its c components
    kernel        the weight                          all that joins p to q: c U V entries
    filter        the weight                          all that makes q: c U V P entries

c is 1 in a real weight, where the first three are the same. The filters of a last layer are
classes: exclude it. The scope says how many of each pool stay: "layer" the same share of each;
"erk" more of small layers, less of large ones (`counts.erdos_renyi`); with "global" all pools of
the network are one, and a tensor may end empty.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from quatgrad.arrays import to_numpy
from quatgrad.autograd import Parameter
from quatgrad.errors import InvariantError, OptionError
from quatgrad.lth.prune.counts import ALL, Counts, after, erdos_renyi
from quatgrad.lth.prune.scores import GRADIENTS, SCORES
from quatgrad.option_fields import check_values, option

Masks = dict[str, np.ndarray]
Arrays = Mapping[str, np.ndarray]

GRANULARITIES = ("weight", "pooled", "quaternion", "kernel", "filter")
SCOPES = ("layer", "global", "erk")


@dataclass(frozen=True)
class Rule:
    """Keep the share `keep` of the groups of each pool: those with the highest score.

    `exclude`, "stem,head", names weights that are not pruned; `keep_of`, "head=0.9", those that
    keep another share. Both are counted and ranked by themselves, whatever the scope. A NAME
    means every weight whose path has it: head is head.weight, shortcut is
    stages.1.0.shortcut.0.weight, and stages.0 all weights of the first stage.
    """

    keep: float = option("share of the weights that survives a level")
    score: str = option(
        "what decides: magnitude, that of the first weights, its increase, the movement, chance, "
        "sensitivity of the loss (SNIP), or SynFlow",
        choices=SCORES,
    )
    granularity: str = option(
        "rank components of quaternions apart (weight), together (pooled), or as one; or kernels, "
        "or filters",
        choices=GRANULARITIES,
    )
    scope: str = option(
        "rank by layer, all together, or by layer with more kept of small layers (erk)",
        choices=SCOPES,
    )
    exclude: str = option("weights that are not pruned: stem,head", "", metavar="NAMES")
    keep_of: str = option("weights with their own share: head=0.9", "", metavar="NAME=X,...")

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise OptionError(
                f"`keep` is the share of weights that survives each level, between 0 and 1 "
                f"(0.7 removes 30 %); got {self.keep}"
            )
        check_values(self)
        self._rates()

    # ------------------------------------------------------------------- which weights, how many

    def own_rates(self, names: Iterable[str]) -> dict[str, float]:
        """The share that survives of each weight that `exclude` (1) or `keep_of` names.

        Raises `OptionError` where a NAME is that of none of the weights `names`.
        """
        names, found = list(names), dict[str, float]()
        for part, keep in self._rates().items():
            hits = [name for name in names if f".{part}." in f".{name}."]
            if not hits:
                raise OptionError(
                    f"`exclude`, `keep_of`: no weight is named {part!r}; there are "
                    f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
                )
            found |= dict.fromkeys(hits, keep)
        return found

    def _rates(self) -> dict[str, float]:
        """NAME -> share, of both options; the excluded last, so that they win."""
        rates = {}
        for item in filter(None, self.keep_of.split(",")):
            name, _, value = item.partition("=")
            try:
                rates[name] = float(value)
            except ValueError:
                rates[name] = math.nan
            if not (name and 0 < rates[name] <= 1):
                raise OptionError(
                    f"`keep_of` is NAME=SHARE, with a share above 0 and up to 1, as in head=0.9; "
                    f"got {item!r}"
                )
        return rates | {name: 1.0 for name in self.exclude.split(",") if name}

    def alive(self, masks: Masks, components: Mapping[str, int]) -> Counts:
        """Groups alive in each pool; those that are ranked all together in one sum."""
        own = self.own_rates(masks)
        counts: Counts = {
            name: self.groups(m, components[name]).any(axis=-1).sum(axis=1).tolist()
            for name, m in masks.items()
        }
        if self.scope != "global":
            return counts
        shared = [sum(k) for name, k in counts.items() if name not in own]
        return {ALL: [sum(shared)], **{name: counts[name] for name in own}}

    def targets(self, masks: Masks, components: Mapping[str, int], times: int = 1) -> Counts:
        """Groups that are left in each pool of `alive` after so many prunings."""
        counts, own = self.alive(masks, components), self.own_rates(masks)
        erk = self._erk(masks, components) if self.scope == "erk" else None
        for _ in range(times):
            counts = after(counts, self.keep, own, erk)
        return counts

    def _erk(self, masks: Masks, components: Mapping[str, int]) -> dict[str, float]:
        shapes = {n: m.shape[1:] if components[n] > 1 else m.shape for n, m in masks.items()}
        pools = {n: self.groups(m, components[n]).shape[1] for n, m in masks.items()}
        return {n: erdos_renyi(shapes[n], pools[n]) for n in masks}

    # --------------------------------------------------------------------------- their groups

    def members(self, shape: tuple[int, ...], components: int) -> int:
        """How many entries go together in a weight of that shape."""
        P, Q = shape[-2:]
        size = math.prod(shape)
        together = {"quaternion": components, "kernel": size // (P * Q), "filter": size // Q}
        return together.get(self.granularity, 1)

    def groups(self, a: np.ndarray, components: int) -> np.ndarray:
        """A weight of so many components as (pools, groups, members)."""
        if self.granularity in ("weight", "pooled"):
            return a.reshape(components if self.granularity == "weight" else 1, -1, 1)
        return np.moveaxis(a.reshape(self.members(a.shape, components), -1), 0, -1)[None]

    def entries(self, kept: np.ndarray, w: Parameter) -> np.ndarray:
        """The mask of a weight, of groups kept (pools, groups)."""
        together = self.members(w.shape, w.components)
        return np.broadcast_to(kept, (together, *kept.shape)).reshape(w.shape).copy()


def full_masks(weights: Mapping[str, Parameter]) -> Masks:
    """Masks of a dense network: every weight alive."""
    return {name: np.ones(w.shape, bool) for name, w in weights.items()}


def prune(
    weights: Mapping[str, Parameter],
    masks: Masks,
    rule: Rule,
    initial: Arrays | None = None,
    rng: np.random.Generator | None = None,
    gradients: Arrays | None = None,
    left: Counts | None = None,
) -> Masks:
    """The masks that `rule` leaves of `masks`; of equal scores, the later group is kept.

    For scores that need them, `initial` has the first values of the weights, `gradients` dF/dw
    (`level_masks.gradients`), and `rng` draws; by default the weights as they are, and a generator
    that always draws the same. `left` says how many groups stay, by default `rule.targets`.
    """
    rng = rng or np.random.default_rng(0)
    if gradients is None and rule.score in GRADIENTS:
        raise OptionError(f"`score` {rule.score} ranks by gradients: prune(..., gradients=...)")
    scores: dict[str, np.ndarray] = {}
    alive: dict[str, np.ndarray] = {}
    for name, w in weights.items():
        now = to_numpy(w.data)
        first, slope = (now if given is None else given[name] for given in (initial, gradients))
        if not (np.isfinite(now).all() and np.isfinite(slope).all()):
            raise InvariantError("cannot rank weights that are not finite: the training diverged")
        u, u0, g = (rule.groups(a, w.components) for a in (now, first, slope))
        scores[name] = SCORES[rule.score](u, u0, g, rng)
        alive[name] = np.any(rule.groups(masks[name], w.components), axis=-1)
    left = left or rule.targets(masks, {name: w.components for name, w in weights.items()})
    kept = _kept(scores, alive, left)
    return {name: rule.entries(kept[name], w) for name, w in weights.items()}


def prune_by_magnitude(weights: Mapping[str, Parameter], masks: Masks, keep: float) -> Masks:
    """Of the weights alive in each component tensor, keep the share `keep` that is largest.

    Source: "Large Neural Networks at a Fraction".
    """
    return prune(weights, masks, Rule(keep))


def _kept(scores: Arrays, alive: Arrays, left: Counts) -> dict[str, np.ndarray]:
    """The groups kept: pool by pool, and those that have no count of their own as one pool."""
    kept = {
        name: np.stack([highest(*pool) for pool in zip(scores[name], alive[name], n, strict=True)])
        for name, n in left.items()
        if name != ALL
    }
    together = [name for name in scores if name not in kept]
    if together:
        score, living = (np.concatenate([x[n].ravel() for n in together]) for x in (scores, alive))
        sizes = [scores[name].size for name in together]
        pieces = np.split(highest(score, living, left[ALL][0]), np.cumsum(sizes)[:-1])
        kept |= {n: p.reshape(scores[n].shape) for n, p in zip(together, pieces, strict=True)}
    return kept


def highest(score: np.ndarray, alive: np.ndarray, kept: int) -> np.ndarray:
    """The mask of one pool: `kept` of the groups in `alive`, those with the highest scores."""
    candidates = np.flatnonzero(alive)
    values = score[candidates]
    mask = np.zeros_like(alive)
    if kept:
        least = np.partition(values, len(values) - kept)[len(values) - kept]
        above, equal = candidates[values > least], candidates[values == least]
        mask[above] = True
        mask[equal[len(equal) + len(above) - kept :]] = True  # of equals, the later ones
    return mask
