"""The claims of both papers, each judged from curves: published ones, or our own.

A claim is what a paper says, and a function of curves that returns a verdict and the numbers that
decide it.

    A, S, P   the abstract, the slides of *Large Neural Networks at a Fraction*; the predecessor
    RN18      ResNet-18; R: real, Q: quaternion
    at 6 %    at 6 % of the dense real network's prunable weights
    gap       accuracy of Q - accuracy of R, in points, at equal weights
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quatgrad.paper import measure
from quatgrad.paper.curves import Curve, Curves, pairs
from quatgrad.paper.published import CHANCE, published_millions, tensors

SUPPORTED = "supported"
CAVEATS = "supported, with caveats"
NOT_SUPPORTED = "not supported"
TOO_LITTLE = "not enough data"

#: Why two published accuracies near chance do not count: A3 rests on one of them.
ARTEFACTS = (
    "with batch statistics RN152 R at 0.163 % has 35.5, and RN101 Q at 0.083 % has 37.9: their "
    "published accuracies are artefacts of batch norm's running statistics"
)

#: Dense networks are comparable if they differ by at most this: 2 points, and CIFAR-100's jitter.
COMPARABLE = 4.0

#: Where the paper's "higher sparsity" begins, in % of the dense real network.
HIGH_SPARSITY = 1.0

#: The datasets of the ResNets.
DATASETS = ("cifar100", "imagenet64")

Pair = tuple[str, Curve, Curve]  # model, real, quaternion
Ruling = tuple[str, str]  # verdict, the numbers that decide it
Rule = Callable[[Curves], Ruling]


@dataclass(frozen=True)
class Verdict:
    """The judgement on a claim: its name, what the paper says, and the numbers that decide it."""

    claim: str
    statement: str
    verdict: str
    numbers: str


class MissingError(Exception):
    """The curves that a claim is about are not there, or do not reach far enough."""


def judge(curves: Curves) -> list[Verdict]:
    """Every claim, judged from these curves."""
    verdicts = []
    for name, (statement, ruling) in CLAIMS.items():
        try:
            verdict, numbers = ruling(curves)
        except MissingError as missing:
            verdict, numbers = TOO_LITTLE, f"needs {missing}"
        verdicts.append(Verdict(name, statement, verdict, numbers))
    return verdicts


#: Name, as A1 -> what the paper says, and the function that rules on it.
CLAIMS: dict[str, tuple[str, Rule]] = {}


def claim(statement: str) -> Callable[[Rule], Rule]:
    """Put a function on the list of claims, with what the paper says."""

    def register(ruling: Rule) -> Rule:
        CLAIMS[ruling.__name__.upper()] = statement, ruling
        ruling.__doc__ = statement
        return ruling

    return register


@claim("ResNet-101 on CIFAR-100: pruned, quaternion beats real by 4 points at about 6 %.")
def a1(curves: Curves) -> Ruling:
    pair = _pair(curves, "cifar100", "resnet101")
    here = _gap(*pair, 6)
    numbers = f"gap {here:+.1f} at 6 %"
    for x, where in ((1.44, "6 % of Q's own weights (1.44 %)"), (0.6, "0.6 %")):
        other = measure.gap(*pair, x)
        numbers += "" if other is None else f", {other:+.1f} at {where}"
    return _reached(here, 4, "cifar100"), numbers


@claim("ResNet-101 on ImageNet64: pruned, quaternion beats real by 7 points at about 0.4 %.")
def a2(curves: Curves) -> Ruling:
    real, quaternion = _pair(curves, "imagenet64", "resnet101")
    x = 100 / 2**8  # what eight halvings leave of the real network, six of the quaternion one
    points = [p for p in quaternion.points if abs(p.x / x - 1) < 0.05]
    here = _gap(real, quaternion, points[0].x if points else 0.4)
    return _reached(here, 7, "imagenet64"), f"gap {here:+.2f} at 0.39 %"


@claim("Quaternion RN101 and RN152 still train on CIFAR-100 where the real networks fail.")
def a3(curves: Curves) -> Ruling:
    losses, texts = [], []
    large = _pairs(curves, "cifar100", ("resnet101", "resnet152"))
    for model, real, quaternion in large:
        levels = [p for p in quaternion.points if p.accuracy >= 20 and _failed(real, p.x)]
        each = ", ".join(f"{p.accuracy:.1f} at {p.x:.3f} %" for p in levels)
        if levels:
            losses.append(quaternion.dense.accuracy - max(p.accuracy for p in levels))
            texts.append(f"{_short(model)} Q {each}")
    if not losses:
        return NOT_SUPPORTED, "no level where R is at chance and Q above 20 %"
    numbers, behind = "; ".join(texts) + "; R at chance there", min(losses)
    if len(losses) == len(large) and behind < measure.noise("cifar100"):
        return SUPPORTED, numbers
    numbers += f", but Q is at least {behind:.0f} points below its dense self"
    if any(c.source == "published" for c in curves.values() if c.dataset == "cifar100"):
        numbers += f"; {ARTEFACTS}"
    return CAVEATS, numbers


@claim("Pruned quaternion networks are better than real ones at higher sparsity.")
def a4(curves: Curves) -> Ruling:
    ahead, numbers = [], []
    for dataset in DATASETS:
        texts = []
        for model, real, quaternion in pairs(curves, dataset, "resnet"):
            widest = measure.widest_gap(real, quaternion)
            if widest is None or not _reach(real, quaternion, HIGH_SPARSITY):
                continue
            x = measure.crossover(real, quaternion)
            ahead.append(x is not None)
            where = _below(x, ".2g", "nowhere")
            texts.append(f"{_short(model)} {where} (most: {widest[1]:+.1f} at {widest[0]:.2g} %)")
        if texts:
            numbers.append(f"{dataset}: {', '.join(texts)}")
    needed = f"a ResNet, real and quaternion, pruned to {HIGH_SPARSITY:g} %"
    return _count(ahead, needed), "; ".join(numbers)


@claim("Quaternion networks have a quarter of the parameters.")
def s1(curves: Curves) -> Ruling:
    dense = [(r.dense, q.dense) for d in DATASETS for _, r, q in pairs(curves, d, "resnet")]
    if not dense:
        raise MissingError("a ResNet on CIFAR-100 or ImageNet64, real and quaternion")
    weights = [q.weights / r.weights for r, q in dense]
    totals = _range([q.parameters / r.parameters for r, q in dense], ".4f")
    numbers = f"prunable weights {_range(weights, '.4f')}, with batch norm and biases {totals}"
    return (SUPPORTED if set(weights) == {0.25} else NOT_SUPPORTED), numbers


@claim("The parameter table: 11.68 M for RN18, 2.93 M quaternion, to 60.19 M and 15.16 M.")
def s2(curves: Curves) -> Ruling:
    same = [
        f"{curve.dense.parameters / 1e6:.2f}" == f"{float(millions):.2f}"
        for key, curve in curves.items()
        if not curve.scaled and (millions := published_millions(*key))
    ]
    verdict = _count(same, "ResNets as wide as the published ones")
    return verdict, f"{sum(same)} of {len(same)} networks have the published count"


@claim("Quaternion networks reach comparable accuracy with a quarter of the parameters.")
def s3(curves: Curves) -> Ruling:
    near, numbers = [], []
    for dataset in DATASETS:
        nets = pairs(curves, dataset, "resnet")
        losses = {m: q.dense.accuracy - r.dense.accuracy for m, r, q in nets}
        near += [loss >= -COMPARABLE for loss in losses.values()]
        if losses:
            numbers.append(f"{dataset} {_each(losses, '+.2f')}")
    verdict = _count(near, "dense ResNets, real and quaternion")
    text = f"{sum(near)} of {len(near)} within {COMPARABLE:g} points"
    return verdict, f"dense gaps {'; '.join(numbers)}: {text}"


@claim("CIFAR-100: the real networks are over-parameterised, pruned ones are as accurate.")
def s4(curves: Curves) -> Ruling:
    gains, numbers = [], []
    for model, *pair in _pruned(_pairs(curves, "cifar100"), "cifar100"):
        for letter, curve in zip("RQ", pair, strict=True):
            point, gain = measure.matched_down_to(curve), measure.best_less_dense(curve)
            down = f"down to {100 * point.fraction:.2g} %" if point else "never"
            numbers.append(f"{_short(model)} {letter} {down} ({gain:+.1f})")
            if letter == "R":
                gains.append(gain)
    verdict = CAVEATS if max(gains) > 0 else NOT_SUPPORTED
    if min(gains) > measure.noise("cifar100"):
        verdict = SUPPORTED
    return verdict, "as good as dense (best less dense): " + ", ".join(numbers)


@claim("Quaternion RN101 has about as many parameters as the smallest real network, RN18.")
def s5(curves: Curves) -> Ruling:
    near, numbers = [], []
    for dataset in DATASETS:
        small = curves.get((dataset, "resnet18", "real"))
        large = curves.get((dataset, "resnet101", "quaternion"))
        if small is None or large is None:
            continue
        r, q = small.dense, large.dense
        near.append(abs(q.parameters / r.parameters - 1) < 0.1)
        text = f"{dataset}: {q.parameters / 1e6:.2f} M against {r.parameters / 1e6:.2f} M"
        text += f", accuracy {q.accuracy:.2f} against {r.accuracy:.2f}"
        lead, _ = measure.first_lead(small, large, "weights")
        if lead:
            _, end = measure.first_lead(small, large, "parameters")
            text += (
                f", at equal weights {_range([g for _, g in lead], '+.1f')} from "
                f"{lead[0][0] / 1e6:.2g} to {lead[-1][0] / 1e6:.2g} M; batch norm and biases "
                f"counted, ahead only above {end / 1e6:.2g} M"
            )
        numbers.append(text)
    return _count(near, "real RN18 and quaternion RN101"), "; ".join(numbers)


@claim("CIFAR-100: quaternion outperforms real at equal numbers of weights.")
def s6(curves: Curves) -> Ruling:
    found, crossovers = {}, {}
    for model, real, quaternion in _pairs(curves, "cifar100"):
        found[model] = _gap(real, quaternion, 25)
        if not _reach(real, quaternion, HIGH_SPARSITY):
            raise MissingError(f"{model} on cifar100 pruned to {HIGH_SPARSITY:g} %")
        crossovers[model] = measure.crossover(real, quaternion)
    numbers = f"at 25 % {_each(found)}; ahead below {_each(crossovers, '.2g')} %"
    if any(x is None for x in crossovers.values()):
        return NOT_SUPPORTED, numbers
    behind = any(g < -measure.noise("cifar100") for g in found.values())
    return (CAVEATS if behind else SUPPORTED), numbers


@claim("ImageNet64: quaternion networks do not yield satisfactory accuracy.")
def s7(curves: Curves) -> Ruling:
    found = {m: _gap(r, q, 25) for m, r, q in _pairs(curves, "imagenet64")}
    behind = [g < -measure.noise("imagenet64") for g in found.values()]
    return _count(behind, ""), f"at 25 % {_each(found)}: {sum(behind)} of {len(behind)} behind"


@claim("ImageNet64: accuracies decline with pruning; no network is over-parameterised.")
def s8(curves: Curves) -> Ruling:
    better = [
        (curve, point)
        for _, *pair in _pruned(_pairs(curves, "imagenet64"), "imagenet64")
        for curve in pair
        for point in curve.points[1:]
        if point.accuracy > curve.dense.accuracy
    ]
    each = ", ".join(
        f"{_short(c.model)} {c.algebra} level {p.level} ({p.accuracy:.2f} against "
        f"{c.dense.accuracy:.2f})"
        for c, p in better
    )
    gain = max((p.accuracy - c.dense.accuracy for c, p in better), default=0.0)
    verdict = SUPPORTED if gain <= measure.noise("imagenet64") else NOT_SUPPORTED
    return verdict, f"pruned above dense: {each or 'none'}"


@claim("ImageNet64: RN101 and RN152 start at comparable accuracies, a possible lottery ticket.")
def s9(curves: Curves) -> Ruling:
    found = [
        (model, _gap(r, q, 25), _gap(r, q, 12.5))
        for model, r, q in _pairs(curves, "imagenet64", ("resnet101", "resnet152"))
    ]
    near = [min(gaps) > -measure.noise("imagenet64") for _, *gaps in found]
    numbers = "; ".join(f"{_short(m)} {a:+.1f} at 25 %, {b:+.1f} at 12.5 %" for m, a, b in found)
    return _count(near, ""), numbers


@claim("After i prunings, 100 p^i % of the weights remain.")
def s10(curves: Curves) -> Ruling:
    within, worst = [], 0.0
    for (_, model, algebra), curve in curves.items():
        count = tensors(model, algebra)
        if count is None or len(curve.points) < 2:
            continue
        keep = round(curve.points[1].fraction, 2)
        error = [abs(p.weights - curve.dense.weights * keep**p.level) for p in curve.points]
        # Each rounding is off by half a weight of a tensor, which later prunings shrink.
        within.append(max(error) <= count * 0.5 / (1 - keep))
        worst = max(worst, max(error) / count)
    numbers = f"off by at most {worst:.2f} weights for each tensor: the rounding of its count"
    return _count(within, "pruned ResNets"), numbers


@claim("Pruning stops a few levels after the accuracy has fallen below 20 %.")
def s11(curves: Curves) -> Ruling:
    below, numbers = [], []
    for dataset in DATASETS:
        for letter, algebra in (("R", "real"), ("Q", "quaternion")):
            found = [
                (curve, point)
                for (d, model, a), curve in curves.items()
                if (d, a) == (dataset, algebra) and model.startswith("resnet")
                if (point := measure.first_below(curve, 20))
            ]
            below += [len(curve.points) - point.level for curve, point in found]
            if found:
                first = {curve.model: point.x for curve, point in found}
                numbers.append(f"{dataset} {letter} {_each(first, '.3f')}")
    if not below:
        raise MissingError("a ResNet pruned until it is below 20 %")
    text = f"first below 20 % at {'; '.join(numbers)}; {min(below)} to {max(below)} levels below"
    return (SUPPORTED if max(below) <= 3 else CAVEATS), text


@claim("Conv-4 on CIFAR-10: at 3 % quaternion is more than 10 points better.")
def p1(curves: Curves) -> Ruling:
    pair = real, quaternion = _pair(curves, "cifar10", "conv-4")
    here = _gap(*pair, 3.125)
    numbers = f"at 3.125 % Q {quaternion.at(3.125):.1f}, R {real.at(3.125):.1f}: {here:+.1f}"
    return (SUPPORTED if here > 10 else NOT_SUPPORTED), numbers


@claim("LeNet-300-100 on MNIST: pruned to 51 %, the quaternion network is as good as dense.")
def p2(curves: Curves) -> Ruling:
    _, quaternion = _pair(curves, "mnist", "lenet-300-100")
    point = next((p for p in quaternion.points if abs(p.fraction - 0.512) < 0.02), None)
    if point is None:
        raise MissingError("the quaternion LeNet at 51 % of its weights")
    dense = quaternion.dense
    numbers = f"{point.accuracy:.2f} at 51 %, dense {dense.accuracy:.2f}"
    within = math.hypot(point.half_width or 0.0, dense.half_width or 0.0)
    return (SUPPORTED if point.accuracy >= dense.accuracy - within else NOT_SUPPORTED), numbers


@claim("Pruned quaternion networks are better than real ones with as many parameters.")
def p3(curves: Curves) -> Ruling:
    found = {
        f"{model} on {dataset}": measure.crossover(real, quaternion)
        for dataset in ("mnist", "cifar10", "cifar100")
        for prefix in ("lenet", "conv")
        for model, real, quaternion in pairs(curves, dataset, prefix)
        if _reach(real, quaternion, 15)
    }
    numbers = ", ".join(f"{model} {_below(x, '.1f', 'never')}" for model, x in found.items())
    needed = "a LeNet or conv net, real and quaternion, pruned to 15 %"
    return _count([x is not None for x in found.values()], needed), numbers


# ---------------------------------------------------------------------------- shared by them


def _pair(curves: Curves, dataset: str, model: str) -> tuple[Curve, Curve]:
    found = [(r, q) for m, r, q in pairs(curves, dataset) if m == model]
    if not found:
        raise MissingError(f"{model} on {dataset}, real and quaternion")
    return found[0]


def _pairs(curves: Curves, dataset: str, models: tuple[str, ...] = ()) -> list[Pair]:
    """The pairs of ResNets on a dataset: all, or those of `models`."""
    found = [t for t in pairs(curves, dataset, "resnet") if not models or t[0] in models]
    if not found:
        raise MissingError(f"{' or '.join(models) or 'a ResNet'} on {dataset}, real and quaternion")
    return found


def _pruned(found: list[Pair], dataset: str) -> list[Pair]:
    """Those of which both have a pruned level."""
    pruned = [(m, r, q) for m, r, q in found if min(len(r.points), len(q.points)) > 1]
    if not pruned:
        raise MissingError(f"a pruned ResNet on {dataset}, real and quaternion")
    return pruned


def _gap(real: Curve, quaternion: Curve, x: float) -> float:
    found = measure.gap(real, quaternion, x)
    if found is None:
        raise MissingError(f"{real.model} on {real.dataset} at {x:g} %, real and quaternion")
    return found


def _reach(real: Curve, quaternion: Curve, x: float) -> bool:
    """Do both curves go down to x?"""
    return max(real.points[-1].x, quaternion.points[-1].x) <= x


def _reached(gap: float, claimed: float, dataset: str) -> str:
    return SUPPORTED if gap >= claimed - measure.noise(dataset) else NOT_SUPPORTED


def _count(held: list[bool], needed: str) -> str:
    """Supported if all hold, with caveats if some do. `MissingError(needed)` if there is none."""
    if not held:
        raise MissingError(needed)
    return SUPPORTED if all(held) else CAVEATS if any(held) else NOT_SUPPORTED


def _failed(real: Curve, x: float) -> bool:
    """Is the real level nearest to x (within a factor of 1.5) no better than guessing?"""
    near = min(real.points, key=lambda p: abs(math.log(p.x / x)))
    return near.accuracy <= 2 * CHANCE[real.dataset] and abs(math.log(near.x / x)) < math.log(1.5)


def _short(model: str) -> str:
    return model.replace("resnet", "RN")


def _below(crossover: float | None, form: str, never: str) -> str:
    """ "below 2.9 %": where the quaternion network is ahead."""
    if crossover is None:
        return never
    return "all" if crossover == math.inf else f"below {crossover:{form}} %"


def _each(values: dict[str, float] | dict[str, float | None], form: str = "+.1f") -> str:
    """ "RN18 -2.0, RN34 -6.1" """
    return ", ".join(
        f"{_short(m)} {'never' if v is None else 'all' if v == math.inf else format(v, form)}"
        for m, v in values.items()
    )


def _range(values: Iterable[float], form: str) -> str:
    low, high = (format(v, form) for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
