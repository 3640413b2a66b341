"""Which weights go: exact counts, exact ties, each component by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import unchanged

from quatgrad import models
from quatgrad.autograd import Parameter
from quatgrad.backend import use_backend
from quatgrad.errors import InvariantError, OptionError
from quatgrad.lth import full_masks, prune_by_magnitude
from quatgrad.lth.prune.counts import survivors
from quatgrad.lth.ticket.mask_constraint import mask_of

keeps = st.floats(0.01, 0.99)


def weight(values, components=1):
    return {"w": Parameter(np.asarray(values, np.float32), components)}


def pruned(values, keep, components=1, mask=None):
    weights = weight(values, components)
    masks = full_masks(weights) if mask is None else {"w": np.asarray(mask)}
    return prune_by_magnitude(weights, masks, keep)["w"]


# ---------------------------------------------------------------------------- how many


@given(n=st.integers(1, 400), keep=keeps)
def test_a_tensor_keeps_n_minus_the_rounded_share(n, keep):
    rng = np.random.default_rng(n)
    mask = pruned(rng.normal(size=(n, 1)), keep)
    assert mask.sum() == max(n - round((1 - keep) * n), 1)


@given(n=st.integers(1, 60), keep=keeps, alive=st.integers(0, 2**32 - 1))
def test_each_component_keeps_its_share_of_what_was_alive_in_it(n, keep, alive):
    rng = np.random.default_rng(alive)
    old = rng.random((4, n, 2)) < rng.random((4, 1, 1))
    new = pruned(rng.normal(size=old.shape), keep, 4, old)
    for a in range(4):
        before = int(old[a].sum())
        assert new[a].sum() == max(before - round((1 - keep) * before), min(before, 1))
    assert not (new & ~old).any()


@pytest.mark.parametrize(
    ("n", "keep", "left"),
    [(5, 0.5, 3), (7, 0.5, 3), (1, 0.5, 1), (3, 0.5, 1), (10, 0.7, 7), (5, 0.7, 3), (15, 0.7, 10)],
)
def test_halves_round_to_even_as_python_does(n, keep, left):
    """2.5 -> 2 and 3.5 -> 4; but 1 - 0.7 is 0.30000000000000004, so 1.5 -> 2 and 4.5 -> 5."""
    assert survivors(n, keep) == left


def test_a_tensor_is_never_emptied():
    mask = np.ones((4, 3, 1), bool)
    for _ in range(20):
        mask = pruned(np.random.default_rng(0).normal(size=mask.shape), 0.01, 4, mask)
    assert mask.reshape(4, -1).sum(axis=1).tolist() == [1, 1, 1, 1]
    assert survivors(0, 0.5) == 0


#: Weights in each prunable tensor of the paper's ResNet-18 for CIFAR-100, and how many such.
RESNET18 = {2304: 1, 36864: 4, 73728: 1, 8192: 1, 147456: 3, 294912: 1, 32768: 1, 589824: 3,
            1179648: 1, 131072: 1, 2359296: 3, 51200: 1}  # fmt: skip
#: "Weights remaining" as published with the paper (RN18.json), from level 1 to level 20.
PUBLISHED = {
    "real": [
        0.7000000356792181, 0.4899999179377983, 0.3429998444386089, 0.24009999814468067,
        0.16807025737560796, 0.11764901068663942, 0.08235423612221131, 0.05764798312515699,
        0.0403532849142557, 0.028247326199392596, 0.019773155098988422, 0.013840949894960382,
        0.009688780883931223, 0.006781816585984061, 0.004747209171557098, 0.0033228947834128744,
        0.0023259282305391274, 0.0016276859315415705, 0.0011391482371611902, 0.0007973413273810883,
    ],
    "quaternion": [
        0.7000005708674902, 0.4899984015710273, 0.342998595665974, 0.2401011577192702,
        0.16806909780101842, 0.11764722672573243, 0.0823590528166602, 0.05764762633297559,
        0.040351768547484755, 0.028243669079533257, 0.019769141186947687, 0.013830692119745166,
        0.00968333980316489, 0.006774769940401434, 0.0047367730002511816, 0.003312458612106958,
        0.0023177220103669537, 0.0016184093348252005, 0.001128890461945973, 0.0007906514739798598,
    ],
}  # fmt: skip


@pytest.mark.parametrize(("algebra", "parts"), [("real", 1), ("quaternion", 16)])
def test_twenty_levels_leave_the_published_fractions_to_the_last_bit(algebra, parts):
    """A quaternion tensor has a quarter of the weights, in four parts: a sixteenth in each."""
    sizes = [n // parts for n, count in RESNET18.items() for _ in range(count)]
    left, total = list(sizes), sum(sizes)
    for published in PUBLISHED[algebra]:
        left = [survivors(n, 0.7) for n in left]
        assert sum(left) / total == published


@pytest.mark.parametrize(("algebra", "levels"), [("real", 1), ("quaternion", 20)])
def test_the_network_itself_is_pruned_to_the_published_fractions(algebra, levels):
    model = models.create("resnet18", algebra, num_classes=100, in_channels=4)
    weights = dict(model.weight_parameters())
    masks = full_masks(weights)
    total = sum(m.size for m in masks.values())
    assert total == {"real": 11_211_008, "quaternion": 2_802_752}[algebra]
    for published in PUBLISHED[algebra][:levels]:
        masks = prune_by_magnitude(weights, masks, 0.7)
        assert sum(int(m.sum()) for m in masks.values()) / total == published


# ---------------------------------------------------------------------------- which


def test_the_smallest_magnitudes_go():
    assert pruned([[0.1, -0.5, 0.3, -0.2]], 0.5).tolist() == [[False, True, True, False]]


def test_what_was_pruned_stays_pruned_even_if_its_value_is_large():
    mask = pruned([[9.0, 0.1, 0.2, 0.3]], 0.7, mask=[[False, True, True, True]])
    assert mask.tolist() == [[False, False, True, True]]


def test_a_zero_that_is_alive_counts_among_the_living():
    """Ranked by magnitude among the entries alive: a pruned 0 is no candidate, a live 0 is."""
    mask = pruned([[0.0, 0.0, 1.0, 2.0]], 0.5, mask=[[False, True, True, True]])
    assert mask.tolist() == [[False, False, False, True]]


@given(n=st.integers(1, 100), keep=keeps, sign=st.integers(0, 2**32 - 1))
def test_of_equal_magnitudes_the_later_is_kept(n, keep, sign):
    values = np.random.default_rng(sign).choice([-1.0, 1.0], (n, 1))
    left = survivors(n, keep)
    assert pruned(values, keep).ravel().tolist() == [False] * (n - left) + [True] * left


@given(n=st.integers(1, 3000), keep=keeps, seed=st.integers(0, 2**32 - 1))
def test_among_many_ties_it_is_python_s_own_stable_sort(n, keep, seed):
    values = np.random.default_rng(seed).choice([-2.0, -1.0, 0.0, 1.0, 2.0], (n, 1))
    ranked = sorted(range(n), key=lambda i: abs(values[i, 0]))
    kept = np.flatnonzero(pruned(values, keep))
    assert set(kept.tolist()) == set(ranked[n - survivors(n, keep) :])


def test_components_are_ranked_each_by_itself():
    small_but_best_of_i = np.array([[[5.0, 6, 7, 8]], [[0.1, 0.2, 0.3, 0.4]]] * 2)
    mask = pruned(small_but_best_of_i, 0.5, components=4)
    assert mask.reshape(4, 4).tolist() == [[False, False, True, True]] * 4
    pooled = pruned(small_but_best_of_i, 0.5, components=1)
    assert pooled.reshape(4, 4).sum(axis=1).tolist() == [4, 0, 4, 0]


def test_tensors_are_ranked_each_by_itself():
    weights = {"big": Parameter(np.full((1, 4), 9, np.float32)), **weight([[1e-3, 2e-3]])}
    masks = prune_by_magnitude(weights, full_masks(weights), 0.5)
    assert {name: int(m.sum()) for name, m in masks.items()} == {"big": 2, "w": 1}


@given(seed=st.integers(0, 2**32 - 1), keep=keeps)
def test_masks_only_shrink_whatever_the_weights_become(seed, keep):
    rng = np.random.default_rng(seed)
    weights = weight(rng.normal(size=(4, 3, 5)), 4)
    masks = full_masks(weights)
    for _ in range(5):
        new = prune_by_magnitude(weights, masks, keep)
        assert not (new["w"] & ~masks["w"]).any()
        masks = new
        weights["w"].data = rng.normal(size=(4, 3, 5)).astype(np.float32)


# ---------------------------------------------------------------------------- its manners


def test_it_changes_neither_weights_nor_masks_and_gives_new_ones():
    weights = weight(np.random.default_rng(0).normal(size=(4, 6, 2)), 4)
    masks = full_masks(weights)
    with unchanged({"weight": weights["w"].data, "mask": masks["w"]}):
        new = prune_by_magnitude(weights, masks, 0.5)
    assert not np.shares_memory(new["w"], masks["w"])
    assert mask_of(weights["w"]) is None
    assert new["w"].dtype == bool


def test_equal_masks_on_every_backend():
    model = models.create("resnet8", "quaternion", width=16)
    weights = dict(model.weight_parameters())
    found = []
    for backend in ("numpy", "numba"):
        with use_backend(backend):
            found.append(prune_by_magnitude(weights, full_masks(weights), 0.7))
    for name in weights:
        assert np.array_equal(found[0][name], found[1][name])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("alive", [True, False])
def test_weights_that_are_not_finite_cannot_be_ranked(bad, alive):
    with pytest.raises(InvariantError, match="diverged"):
        pruned([[1.0, bad, 2.0]], 0.5, mask=[[True, alive, True]])


@pytest.mark.parametrize("keep", [0, 1, -0.1, 1.5, float("nan")])
def test_a_keep_outside_0_to_1_is_refused(keep):
    with pytest.raises(OptionError, match=r"between 0 and 1 .*got"):
        pruned([[1.0, 2.0]], keep)
