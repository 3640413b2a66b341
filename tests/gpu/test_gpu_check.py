"""experiments/gpu_check.py on a CPU: what it runs on a GPU, at sizes that take seconds."""

import importlib.util
import json
from pathlib import Path

import cupy_on_cpu
import numpy as np
import pytest
from test_nccl import Copying

from quatgrad import use_backend
from quatgrad.errors import BackendError
from quatgrad.kernels.registry import kernels_of

FILE = Path(__file__).parents[2] / "experiments" / "gpu_check.py"


@pytest.fixture
def check(monkeypatch):
    monkeypatch.syspath_prepend(FILE.parent)  # it takes what it can from bench.py
    spec = importlib.util.spec_from_file_location("gpu_check", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ours = {n: s for n, s in module.SECTIONS.items() if not n.startswith("torch")}
    monkeypatch.setattr(module, "SECTIONS", ours)
    return module


def test_the_whole_of_it(check, tmp_path, capsys):
    out = tmp_path / "check.json"
    assert check.main(["--backend", "numpy", "--tiny", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert [s["section"] for s in record["sections"]] == list(check.SECTIONS)
    assert record["versions"]["numpy"] == np.__version__
    rows = [row for s in record["sections"] for row in s["rows"]]
    assert all(0 <= row["error"] <= row["limit"] for row in rows if "error" in row)
    assert all(row["speed"] > 0 for row in rows if "speed" in row)
    *_, last = capsys.readouterr().out.rpartition("training, images/s")
    for row in rows:
        assert row.get("case", "CPU") in last
    timed = {row["kernel"] for row in rows if "kernel" in row}
    assert timed == {
        n for n in check.arguments(*check.TINY_MAPS) if n.split()[0] in kernels_of("cupy_gpu")
    }
    assert all(t > 0 for row in rows for t in row.get("seconds", {}).values())
    assert "all is well" in last


def test_a_section_that_fails_takes_nothing_from_the_others(check, tmp_path, monkeypatch, capsys):
    few = {"training": (check.training, 1e-3), "kernels": check.SECTIONS["kernels"]}
    monkeypatch.setattr(check, "SECTIONS", few)
    out = tmp_path / "check.json"
    assert check.main(["--backend", "numpy", "--tiny", "--out", str(out)]) == 1
    slow, fine = json.loads(out.read_text())["sections"]
    assert slow["problem"] == "not finished after 0.001 s"
    assert not fine["problem"]
    assert len(fine["rows"]) > 30
    assert "failed: training" in capsys.readouterr().out


def test_without_a_gpu_each_section_says_so(check):
    if importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is installed")
    section = check.run("kernels", "cupy", tiny=True)
    assert section["problem"].startswith("ended with code 2: BackendError: backend cupy: CuPy is")
    assert not section["rows"]


def test_without_a_gpu_no_record_is_overwritten(check, tmp_path, capsys):
    if importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is installed")
    out = tmp_path / "check.json"
    out.write_text("measured")
    assert check.main(["--out", str(out)]) == 2
    assert out.read_text() == "measured"
    assert "CuPy is not installed" in capsys.readouterr().err


def test_every_kernel_is_compared(check):
    compared = check.arguments(*check.TINY_MAPS)
    assert set(kernels_of("reference")) == {name.split()[0] for name in compared}
    assert {name for name in compared if " " in name} == {
        "conv2d quaternion", "conv2d_dx quaternion", "conv2d_dw quaternion"
    }  # fmt: skip


def test_a_wrong_kernel_is_found(check, monkeypatch, capsys):
    right = check.kernel

    def wrong(name):
        if name != "fold":
            return right(name)
        return lambda W: right(name)(W) * (1 + 1e-4)

    monkeypatch.setattr(check, "kernel", wrong)
    with use_backend("numpy"):
        rows = list(check.kernels(tiny=True))
    bad = [row["what"] for row in rows if row["error"] > row["limit"]]
    assert bad == ["fold float32"]
    section = {"section": "kernels", "rows": rows, "problem": "", "notices": [], "seconds": 1.0}
    assert not check.report(section)
    assert "WRONG: fold float32" in capsys.readouterr().out


@pytest.mark.parametrize("section", ["kernels", "training", "sequences"])
def test_on_the_stand_in(check, stand_in, section):
    for row in check.SECTIONS[section][0](True):
        assert row["error"] <= row["limit"], row


def test_kernels_in_every_precision(check, solved):
    """By NumPy, which rounds where cuDNN does: units among them, which store bits."""
    rows = {row["what"]: row for row in check.kernels(tiny=True)}
    assert all(row["error"] <= row["limit"] for row in rows.values()), rows
    for name in ("conv2d", "conv2d_dw quaternion", "conv_norm_act", "conv_norm_act_dx"):
        assert rows[f"{name} bf16"]["error"] > 1e-4


def test_training_in_every_precision(check, solved):
    """By NumPy, which rounds where cuDNN does in bf16: what limits have to allow."""
    rows = list(check.training(tiny=True))
    assert all(row["error"] <= row["limit"] / 2 for row in rows), rows
    assert {row["what"].split()[3].strip(":") for row in rows} == {"float32", "tf32", "bf16"}
    assert any(row["error"] > 1e-4 for row in rows if "bf16" in row["what"])
    assert len(rows) == 18


def test_kernels_are_timed_on_their_rung(check, solved, monkeypatch):
    monkeypatch.setattr(check, "WARM_UP", 1)
    monkeypatch.setattr(check, "synchronize", lambda: None)
    monkeypatch.setattr(check.per_second, "__defaults__", (lambda: None,))
    monkeypatch.setattr(check, "TINY_SECONDS", 1e-6)
    with cupy_on_cpu.counted() as counts:
        rows = list(check.kernel_speed(tiny=True))
    assert all(row["seconds"].keys() == {"cupy_gpu", "gemm"} for row in rows)
    assert counts["kernel batch_norm"] == 0  # it is moments and normalize
    assert counts["kernel moments"] == 2 * 3  # conv_norm_act's too


def test_recorded_steps_on_the_stand_in(check, solved, monkeypatch):
    assert all(row["error"] == 0 for row in check.recorded(tiny=True))
    broken = check.TrainStep.eager

    def eager(step, images, labels, lr):
        broken(step, images, labels, lr if isinstance(lr, float) else lr * 2)

    monkeypatch.setattr(check.TrainStep, "eager", eager)
    assert next(check.recorded(tiny=True))["error"] == 1


def test_a_step_that_is_not_recorded_is_an_error(check, stand_in):
    with pytest.raises(BackendError, match="was not recorded"):
        list(check.recorded(tiny=True))


def test_steps_over_nccl_on_the_stand_in(check, solved, monkeypatch):
    class Wrong(Copying):
        def all_gather(self, a, every):
            every[...] = 2 * a.reshape(every.shape)

    assert list(check.over_nccl(True)) == []  # there is none
    monkeypatch.setattr(check, "is_installed", lambda: True)
    for wire, error in ((Copying(), 0), (Wrong(), 1)):
        monkeypatch.setattr(check.One, "wire", wire)
        rows = list(check.over_nccl(True))
        assert [row["error"] for row in rows] == [error] * 2
