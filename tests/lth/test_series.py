"""Tickets in networks of series: the whole experiment, the weights of the state included."""

import numpy as np
import pytest

from quatgrad import data, lth
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files

RNG = np.random.default_rng(8)


@pytest.fixture(scope="module")
def waves():
    """Series of 20 moments, whose four channels turn one way or the other."""
    labels = RNG.integers(0, 2, 60)
    t = np.where(labels, 1, -1)[:, None] * np.arange(20) / 3 + RNG.uniform(0, 6, (60, 1))
    X = np.stack([np.cos(t), np.sin(t), np.cos(2 * t), np.sin(2 * t)], axis=2)
    X += 0.1 * RNG.standard_normal(X.shape)
    return data.from_arrays(X.astype(np.float32), labels, kind="series", name="waves")


@pytest.mark.parametrize("model", ["gru", "bilstm", "fcn"])
def test_an_experiment_on_series(waves, model, tmp_path):
    result = lth.run(
        dataset=waves, model=model, width=8, algebra="all", levels=2, keep=0.6, epochs=3,
        batch_size=12, lr=0.02, optimizer="adam", out=str(tmp_path), quiet=True,
    )  # fmt: skip
    rows = result.table()
    networks = {row["network"] for row in rows}
    assert networks == {"real", "quaternion", "equal"}
    assert {row["level"] for row in rows} == {0, 1, 2}
    assert "48 training series" in result.run.setting
    ticket = result.ticket(network="quaternion", level=2)
    recurrent = [name for name in ticket.masks if name.endswith("weight_h")]
    assert bool(recurrent) == (model != "fcn")
    for name, mask in ticket.masks.items():
        if not name.startswith("head"):
            assert mask.mean() == pytest.approx(0.36, abs=0.03), name


@pytest.mark.parametrize(("said", "model", "setting", "measure"), [
    ({"what": "gestures", "score": "F1"}, "fcn", "9 training gestures", "F1"),
    ({}, "transformer", "9 training sentences", "accuracy"),  # of an earlier version
    ({}, "detector", "9 training pictures with boxes", "mAP at 0.5"),
    ({}, "resnet8", "9 training images", "accuracy"),
])  # fmt: skip
def test_the_words_of_a_run_are_those_of_its_task(tmp_path, said, model, setting, measure):
    options = {"data": "x", "dataset": "mine", "model": model}
    files.write_json(
        tmp_path / "config.json", {"options": options, "classes": 2, "images": 9} | said
    )
    run = Run(tmp_path)
    assert run.setting == setting
    assert run.config.measure == measure
