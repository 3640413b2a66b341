"""experiments/bench_sequences.py: PyTorch does the same work as we."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from quatgrad import use_backend

FOLDER = Path(__file__).parent.parent / "experiments"


@pytest.fixture
def sequences(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("bench", "bench_sequences"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("bench_sequences", FOLDER / "bench_sequences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.bench, "LR", 0.01)
    yield module
    sys.modules.pop("bench", None)


@pytest.mark.torch
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_pytorch_does_the_same_work(sequences, algebra):
    pytest.importorskip("torch")
    with use_backend("numpy"):
        for what in ("gru", "lstm"):
            ours, theirs = (
                sequences.sequence_call(e, what, algebra, [3, 5, 8])() for e in ("numpy", "torch")
            )
            np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), atol=1e-6)
        ours, theirs = (
            sequences.sequence_call(e, "gpt", algebra, [2, 6, 16]) for e in ("numpy", "torch")
        )
        for _ in range(3):  # the later losses see the earlier steps
            assert ours().item() == pytest.approx(theirs().item(), rel=1e-3)


def test_cases_fit_for_the_pipe_and_have_a_turn(sequences, monkeypatch):
    monkeypatch.setattr(sequences.bench, "WARM_UP", 0)
    monkeypatch.setattr(sequences.bench, "TURN", 1e-6)
    for case in sequences.CASES.values():
        small = {**case, "algebra": "quaternion", "sizes": [2, 3, 16]}
        assert sequences.bench.turn(json.dumps(["sequences", "numba", small])) > 0
