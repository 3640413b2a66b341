"""experiments/rate_and_init.py: shifts between curves of the loss, where they are known."""

import importlib.util
import math
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "experiments" / "rate_and_init.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("rate_and_init", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seed_of(optima):
    """Losses (log2 rate - optimum)^2 + 0.1 of each (network, init)."""
    return {
        (*key, 2.0**n): (0.5, (n - optimum) ** 2 + 0.1)
        for key, optimum in optima.items()
        for n in range(-12, 4)
    }


@pytest.mark.parametrize("octaves", [-2, -1, 0, 1, 2])
def test_a_known_shift_is_found(script, octaves):
    one, other = ("quaternion", "he"), ("real", "he")
    seed = seed_of({one: octaves - 3, other: -3})
    assert script.shift(seed, one, other) == pytest.approx(octaves, abs=0.02)


def test_only_the_falling_side_counts_and_what_diverged_does_not(script):
    seed = seed_of({("real", "he"): -3}) | {("real", "he", 8.0): (0.0, math.inf)}
    rates, losses = script.curve(seed, "real", "he")
    assert rates.tolist() == list(range(-12, -2))
    assert losses.min() == pytest.approx(0.1)


def test_means_and_rows(script):
    seeds = [seed_of({("real", "he"): s, ("quaternion", "he"): s}) for s in (-3, -4, -5)]
    rows = script.table(seeds)
    assert len(rows) == 32
    assert all((r["seeds"], r["validation_accuracy"], r["interval"]) == (3, 0.5, 0) for r in rows)
    assert script.mean([1.0]) == (1.0, None)
    assert script.figure(rows, "title", "8,000 training images, 5 epochs").axes


def test_accuracies_are_compared_at_each_rate_and_at_the_best_of_each(script):
    def seed(shift):
        nets = [(n, i) for n in ("real", "quaternion") for i in ("he", "polar-he", "xavier")]
        return {
            (network, init, rate): (0.1 + rate / 10 + 0.1 * (network == "real") + shift, 1.0)
            for network, init in nets
            for rate in (0.5, 1.0)
        }

    found = script.accuracies([seed(0.0), seed(0.01), seed(0.02)])
    told = found["quaternion he less real he"]
    assert told["best rates"] == [1.0, 1.0]
    assert told["at each rate"].keys() == {"0.5", "1"}
    for points in (told["at the best"], *told["at each rate"].values()):
        assert points["points"] == pytest.approx(-10)
        assert points["interval"] == pytest.approx(0, abs=1e-9)
