"""Claims judged from the published curves, as known; and from curves that say the opposite."""

from dataclasses import replace

import pytest

from quatgrad.paper.claims import CAVEATS, CLAIMS, NOT_SUPPORTED, SUPPORTED, TOO_LITTLE, judge
from quatgrad.paper.curves import pairs
from quatgrad.paper.published import published

#: claim -> verdict and the numbers that decide it
KNOWN = {
    "A1": (NOT_SUPPORTED, ["+0.5 at 6 %", "+2.1 at 6 % of Q's own weights", "+4.3 at 0.6 %"]),
    "A2": (SUPPORTED, ["+7.03 at 0.39 %"]),
    "A3": (CAVEATS, ["RN101 Q 39.6 at 0.119 %, 32.2 at 0.058 %", "35.5", "37.9",
                     "RN152 Q 46.6 at 0.169 %, 35.2 at 0.083 %", "18 points below its dense"]),
    "A4": (SUPPORTED, ["+12.9 at 0.083 %", "+16.9 at 0.12 %", "+11.1 at 0.49 %", "+14.7 at 0.17 %",
                       "+10.9 at 0.35 %", "+5.0 at 0.17 %", "+5.2 at 0.12 %", "+8.3 at 0.17 %",
                       "+8.8 at 0.2 %", "+9.1 at 0.2 %", "RN152 all"]),
    "S1": (SUPPORTED, ["weights 0.2500", "0.2506 to 0.2519"]),
    "S2": (SUPPORTED, ["20 of 20"]),
    "S3": (CAVEATS, ["-2.41", "-3.16", "-0.96", "-1.02", "-0.99", "-8.56", "-7.73", "-2.48",
                     "-1.94", "-1.76", "8 of 10"]),
    "S4": (CAVEATS, ["RN18 R down to 49 % (+1.6)", "RN34 R down to 4 % (+3.8)",
                     "RN50 R down to 5.8 % (+4.3)", "RN101 R down to 8.2 % (+2.9)",
                     "RN152 R down to 12 % (+4.1)", "RN18 Q never (-0.5)"]),
    "S5": (SUPPORTED, ["10.75 M against 11.22 M", "64.11 against 64.26", "+0.5 to +2.5",
                       "11.22 M against 11.68 M", "63.48 against 60.20", "above 0.88 M"]),
    "S6": (CAVEATS, ["-2.0", "-6.1", "-5.0", "-3.6", "-2.2", "below RN18 2, RN34 2, RN50 2.9"]),
    "S7": (CAVEATS, ["-3.9", "-4.4", "-0.3", "-0.1", "+1.2", "2 of 5 behind"]),
    "S8": (SUPPORTED, ["above dense: RN50 real level 1 (63.78 against 63.41)"]),
    "S9": (SUPPORTED, ["RN101 -0.1 at 25 %, -0.2 at 12.5 %", "RN152 +1.2 at 25 %, +1.2 at 12.5 %"]),
    "S10": (SUPPORTED, ["0.52 weights for each tensor"]),
    "S11": (CAVEATS, ["RN50 0.233, RN101 0.114, RN152 0.163", "RN18 0.040, RN34 0.028, RN50 0.058",
                      "RN18 0.678, RN34 0.332", "RN18 0.494, RN34 0.242", "1 to 8 levels"]),
    "P1": (SUPPORTED, ["Q 74.6, R 62.1: +12.5"]),
    "P2": (SUPPORTED, ["97.79 at 51 %, dense 97.65"]),
    "P3": (CAVEATS, ["lenet-300-100 on mnist never", "conv-2 on cifar10 below 12.5 %",
                     "conv-4 on cifar10 below 13.9 %", "conv-6 on cifar10 below 16.9 %",
                     "lenet-12 on mnist below 21.2 %"]),
}  # fmt: skip


@pytest.mark.parametrize("verdict", judge(published()), ids=lambda v: v.claim)
def test_the_published_results_give_the_known_verdicts_and_numbers(verdict):
    known, numbers = KNOWN[verdict.claim]
    assert verdict.verdict == known
    assert [n for n in numbers if n not in verdict.numbers] == []


def test_every_claim_is_judged_once_and_states_what_the_paper_says():
    verdicts = judge(published())
    assert [v.claim for v in verdicts] == list(KNOWN) == list(CLAIMS)
    assert all(v.statement.endswith(".") and "\n" not in v.statement for v in verdicts)


def judged(curves):
    return {v.claim: v.verdict for v in judge(curves)}


def with_quaternion(change):
    """The published curves, with the accuracies of the quaternion ones changed."""
    return {
        key: replace(c, points=tuple(replace(p, accuracy=change(c, p)) for p in c.points))
        if key[2] == "quaternion" else c
        for key, c in published().items()
    }  # fmt: skip


def test_without_curves_there_is_not_enough_data_for_any_claim():
    found = judge({})
    assert {v.verdict for v in found} == {TOO_LITTLE}
    assert all(v.numbers.startswith("needs ") for v in found)


def test_of_dense_networks_alone_no_claim_about_pruning_is_judged():
    dense = {k: replace(c, points=c.points[:1]) for k, c in published().items()}
    found = judged(dense)
    assert {found[c] for c in ("A1", "A2", "A4", "S4", "S6", "S7", "S8")} == {TOO_LITTLE}
    assert found["S3"] == CAVEATS


def test_a_claim_needs_both_networks():
    real_only = {k: c for k, c in published().items() if k[2] == "real"}
    found = judged(real_only)
    assert {c for c, v in found.items() if v != TOO_LITTLE} == {"S2", "S10", "S11"}


def test_quaternion_networks_10_points_worse_support_little():
    found = judged(with_quaternion(lambda c, p: max(p.accuracy - 10, 0.0)))
    refuted = {c for c, v in found.items() if v == NOT_SUPPORTED}
    assert refuted == {"A1", "A2", "S3", "S6", "S9", "P1"}
    assert found["S7"] == SUPPORTED  # it says that they are not satisfactory


def test_quaternion_networks_10_points_better_support_what_they_are_praised_for():
    found = judged(with_quaternion(lambda c, p: p.accuracy + 10))
    assert {found[c] for c in ("A1", "A2", "A4", "S3", "S6", "S9", "P1")} == {SUPPORTED}
    assert found["S7"] == NOT_SUPPORTED


def test_quaternion_networks_that_fail_first_refute_a3():
    def failing(c, p):
        return p.accuracy if p.x > 0.3 else 1.0

    assert judged(with_quaternion(failing))["A3"] == NOT_SUPPORTED


def test_networks_of_other_sizes_refute_the_counts():
    curves = {
        k: replace(c, points=tuple(replace(p, weights=p.weights + 5000, parameters=p.parameters * 2)
                                   if p.level or k[2] == "real" else p for p in c.points))
        for k, c in published().items()
    }  # fmt: skip
    found = judged(curves)
    assert {found[c] for c in ("S1", "S10")} == {NOT_SUPPORTED}
    assert found["S2"] == CAVEATS  # the quaternion ones still have theirs
    narrow = {k: replace(c, scaled="width 8 for 64") for k, c in curves.items()}
    assert judged(narrow)["S2"] == TOO_LITTLE


def test_what_happens_at_high_sparsity_is_not_judged_before():
    """Ahead or behind at 20 %: neither says what comes below."""
    for x, verdict in ((0.67, SUPPORTED), (1.2, TOO_LITTLE)):
        short = {k: replace(c, points=tuple(p for p in c.points if p.x >= x))
                 for k, c in published().items() if k[1] == "resnet18"}  # fmt: skip
        assert judged(short)["A4"] == verdict
    older = {k: replace(c, points=tuple(p for p in c.points if p.x > 16))
             for k, c in published().items() if k[1] == "conv-4"}  # fmt: skip
    assert judged(older)["P3"] == TOO_LITTLE


def test_a_pruned_network_far_above_its_dense_one_refutes_s8():
    key = ("imagenet64", "resnet18", "real")
    curve = published()[key]
    better = replace(curve.points[3], accuracy=curve.dense.accuracy + 1)
    curves = published() | {key: replace(curve, points=(curve.dense, better))}
    assert judged(curves)["S8"] == NOT_SUPPORTED


def test_half_the_models_are_judged_alone():
    two = {k: c for k, c in published().items() if k[1] in ("resnet18", "resnet34")}
    found = {v.claim: v for v in judge(two)}
    assert [found[c].verdict for c in ("A1", "A2", "A3", "S5", "S9")] == [TOO_LITTLE] * 5
    assert found["S7"].verdict == SUPPORTED
    assert len(pairs(two, "cifar100")) == 2
