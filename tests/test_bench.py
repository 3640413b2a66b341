"""experiments/bench.py: its numbers are positive, its record complete, its engines do one job."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from quatgrad import use_backend
from quatgrad.kernels.registry import kernels_of

FILE = Path(__file__).parent.parent / "experiments" / "bench.py"


@pytest.fixture
def bench():
    spec = importlib.util.spec_from_file_location("bench", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_from_the_command_line_to_the_record(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "MAPS", [(2, 4, 4, 8)])
    monkeypatch.setattr(bench, "QUICK_ROUNDS", 2)
    few = {name: bench.KERNELS[name] for name in ("patches", "max_pool_dx", "batch_norm")}
    monkeypatch.setattr(bench, "KERNELS", few)
    out = tmp_path / "bench.json"
    assert bench.main(["--suite", "kernels", "--quick", "--threads", "1", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["rounds"] == 2
    assert record["threads"] == 1
    assert {"date", "command", "machine", "versions"} <= record.keys()
    assert {"cpu", "cores", "memory"} <= record["machine"].keys()
    assert record["versions"]["numpy"] == np.__version__
    assert len(record["results"]) == len(few)
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    for row in record["results"]:
        assert row["name"] in table
        assert row["suite"] == "kernels"
        assert row["seconds"].keys() == row["quartiles"].keys() == {"numpy", "numba"}
        assert all(0 < t < 60 for t in row["seconds"].values())
        for engine, (q1, q3) in row["quartiles"].items():
            assert q1 <= row["seconds"][engine] <= q3
        assert row["ratios"].keys() == {"numpy"}
        assert row["ratios"]["numpy"] > 0


def test_every_kernel_of_the_fast_rung_is_measured(bench):
    names = set(kernels_of("numba_cpu"))
    algebra = {n for n in names if n == "hamilton" or n.startswith("quaternion_")}
    assert names - algebra == {n.split()[0] for n in bench.KERNELS}, (
        "it earns its place in bench.py"
    )
    source = FILE.with_name("bench_algebra.py").read_text()
    names = {n.removeprefix("quaternion_").replace("hamilton", "multiply") for n in algebra}
    assert not [n for n in names if f'"{n}": lambda' not in source], "or in bench_algebra.py"


@pytest.mark.parametrize("suite", ["layers", "steps"])
def test_medians_ratios_and_images_without_torch(bench, suite):
    case = {"algebra": "real", "batch": 10} if suite == "steps" else {"algebra": "real"}
    times = {"numba": [1.0, 2.0, 9.0], "numpy": [2.0, 3.0, 9.0]}
    times = {e: t for e, t in times.items() if e in bench.ENGINES[suite]}
    row = bench.result(suite, "name", case, times)
    assert row["seconds"]["numba"] == 2
    assert row["quartiles"]["numba"] == [1.5, 5.5]
    assert row["ratios"] == ({"numpy": 1.5} if suite == "layers" else {})
    assert row.get("images_per_second") == ({"numba": 5.0} if suite == "steps" else None)
    row["peak_mb"] = {"numba": 300.0}
    assert len(bench.table_line(suite)) == len(bench.table_line(suite, row))
    assert " -" in bench.table_line(suite, row)  # torch's column


def test_a_rival_that_cannot_is_left_out_and_asked_once(bench, monkeypatch, capsys):
    asked = []

    def turn(request):
        asked.append(request)
        raise RuntimeError("no compiler")

    monkeypatch.setattr(bench, "turn", turn)
    request = json.dumps(["steps", "torch-compile", {"name": "x"}])
    answers = [bench.turn_or_nothing(request) for _ in range(2)]
    assert np.isnan(answers).all()
    assert asked == [request]
    assert "no compiler" in capsys.readouterr().err
    seconds = {"numba": 1.0, "torch": 2.0, "torch-compile": answers[0]}
    monkeypatch.setattr(bench, "REST", 0)
    monkeypatch.setattr(bench, "ask", lambda worker, request: (seconds[worker], 1))
    (row,) = bench.measure("steps", {"x": {"batch": 4}}, {e: e for e in seconds}, 3)
    assert row["ratios"] == {"torch": 2.0}


@pytest.mark.parametrize("first", [2.0, 4.0])
def test_of_two_layouts_of_pytorch_the_faster_counts(bench, monkeypatch, first):
    seconds, turns = {"numba": 1.0, "torch": 3.0, "torch-first": first}, []

    def ask(worker, request):
        turns.append(worker)
        return seconds[worker], 1

    monkeypatch.setattr(bench, "REST", 0)
    monkeypatch.setattr(bench, "ask", ask)
    (row,) = bench.measure("steps", {"x": {"batch": 4}}, {e: e for e in seconds}, 5)
    faster = "torch-first" if first < 3 else "torch"
    assert row["ratios"] == {"torch": min(first, 3.0)}
    assert row.get("layout") == ("channels first" if first < 3 else None)
    assert bench.layout_of("torch", row) == faster
    assert bench.layout_of("numba", row) == "numba"
    assert {e: turns.count(e) for e in seconds} == {
        e: 5 if e in ("numba", faster) else 3 for e in seconds
    }


@pytest.mark.parametrize("suite", ["kernels", "layers", "steps"])
def test_names_are_unique_and_cases_fit_for_the_pipe(bench, suite):
    cases = [case for group in bench.groups(suite, full=True) for case in group.items()]
    assert len({name for name, _ in cases}) == len(cases)
    assert json.loads(json.dumps([case for _, case in cases]))


def test_a_turn_of_each_suite(bench, monkeypatch):
    monkeypatch.setattr(bench, "WARM_UP", 0)
    monkeypatch.setattr(bench, "TURN", 1e-6)
    layer = {"algebra": "quaternion", "sizes": [2, 4, 4, 4, 8]}
    for request in (["kernels", "numpy", {"name": "max_pool_dx", "shape": [2, 4, 4, 4]}],
                    ["layers", "numpy", layer], ["layers", "numba", layer]):  # fmt: skip
        assert bench.turn(json.dumps(request)) > 0


def test_a_training_step_knows_its_peak_memory(bench):
    net = {"name": "lenet-300-100", "width": 8, "num_classes": 10, "algebra": "real"}
    peak = bench.peak_memory("numba", {**net, "image_size": [8, 8], "batch": 4}, threads=1)
    assert 10 < peak < 10_000


def test_the_choice_is_explained(bench, capsys):
    assert bench.main(["--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * sum(len(sizes) == 5 for sizes in bench.LAYERS)
    assert "quaternion conv 3x3 (64, 4, 4, 512, 512): y: winograd, eight products;" in lines[-1]


LAYERS = [[2, 6, 5, 8, 12], [2, 5, 4, 12], [3, 8, 12]]
NETS = [("resnet8", 8, 8), ("resnet18", 4, 12), ("conv-4", 4, 10), ("lenet-300-100", 12, 10)]


@pytest.mark.torch
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_pytorch_does_the_same_work(bench, algebra, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(bench, "LR", 0.01)
    with use_backend("numpy"):
        for sizes in LAYERS[::2] if algebra == "quaternion" else LAYERS:
            y = bench.layer_call("numpy", algebra, sizes)().numpy()
            for engine in bench.LAYOUTS:
                z = bench.layer_call(engine, algebra, sizes)().detach().movedim(1, -1).numpy()
                np.testing.assert_allclose(y, z, rtol=0, atol=1e-5)
        model = bench.create("resnet8", algebra, width=8, image_size=(8, 8))
        leaves = bench.torch_twin(model, "torch")[1]
        assert all(set(p._array.strides) == {0} for p in model.parameters())  # memory holds one
        assert leaves[0].is_contiguous(memory_format=pytest.importorskip("torch").channels_last)
        for name, width, classes in NETS:
            net = {"name": name, "width": width, "num_classes": classes, "algebra": algebra}
            steps = [bench.step_call(e, 4, (8, 8), **net) for e in ("numpy", *bench.LAYOUTS)]
            for _ in range(3):  # the later losses see the earlier steps
                ours, *theirs = (step().item() for step in steps)
                assert theirs == pytest.approx([ours, ours], rel=1e-3), name
            rival = bench.step_call("torch-bf16", 4, (8, 8), **net)
            assert rival().item() == pytest.approx(
                bench.step_call("torch", 4, (8, 8), **net)().item(), rel=0.1
            )


def test_what_cannot_be_done_is_said_before_measuring(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "run", None)  # not reached
    wrong = {
        "unrecognized arguments: --what": ["--what"],
        "invalid choice: 'speed'": ["--suite", "speed"],
        "--threads is at least 1; got 0": ["--threads", "0"],
        "nowhere/x.json: No such file": ["--out", str(tmp_path / "nowhere" / "x.json")],
        "it is a directory": ["--out", str(tmp_path)],
        "--threads is not of this suite": ["--suite", "inference", "--threads", "1"],
        "--rivals is not of this suite": ["--suite", "steps", "--profile", "--rivals"],
    }
    for message, argv in wrong.items():
        with pytest.raises(SystemExit) as stop:
            bench.main(argv)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["algebra", "inference", "parallel", "sequences", "profile"])
def test_a_suite_of_its_own_says_first_that_it_cannot_write(name, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(FILE.parent))
    suite = importlib.import_module(f"bench_{name}")
    with pytest.raises(SystemExit) as stop:
        suite.main(["--quick", "--out", str(tmp_path / "nowhere" / "x.json")])
    assert stop.value.code == 2
    assert "nowhere/x.json: No such file" in capsys.readouterr().err


def test_a_record_that_is_none_is_one_line(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FILE.parent))
    suite = importlib.import_module("bench_inference")
    (tmp_path / "x.json").write_text("{}")
    for file in ("x.json", "nothing.json"):
        with pytest.raises(SystemExit, match="is no record of this program"):
            suite.main(["--table", str(tmp_path / file)])


def test_a_profile_accounts_for_the_whole_step(bench, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FILE.parent))
    profile = importlib.import_module("bench_profile")
    monkeypatch.setattr(profile, "groups", lambda *_: [{"real lenet": {
        "algebra": "real", "name": "lenet-300-100", "width": 300, "image_size": [4, 4],
        "num_classes": 10, "batch": 10,
    }}])  # fmt: skip
    out = tmp_path / "profile.json"
    assert profile.main(["--quick", "--out", str(out)]) == 0
    (result,) = json.loads(out.read_text())["results"]
    rows = {row["name"]: row for row in result["functions"]}
    assert abs(sum(row["share"] for row in rows.values()) - 1) < 1e-9
    assert rows[profile.REST]["ms"] > 0
    assert rows["activation.bias_relu"]["calls"] == 2
    assert rows["activation.bias_relu"]["megabytes"] == 4 * (10 + 1) * (300 + 100) / 1e6
    assert rows["optimizer.sgd_all"]["calls"] == 1


LAYER_ROWS = {
    "128 channels, 16x16": "conv 3x3 (64, 16, 16, 128, 128)",
    "256 channels, 8x8": "conv 3x3 (64, 8, 8, 256, 256)",
    "512 channels, 4x4": "conv 3x3 (64, 4, 4, 512, 512)",
    "16 channels, 32x32": "conv 3x3 (64, 32, 32, 16, 16)",
    "linear layer 2048 -> 1000, batch 256": "linear (256, 2048, 1000)",
}
STEP_ROWS = {
    "training step of ResNet-18, 32x32": "resnet18",
    "ResNet-50, 32x32": "resnet50",
    "ResNet-20, width 16, 32x32": "resnet20",
    "ResNet-8, width 16, 32x32": "resnet8",
    "Conv-4, 32x32": "conv-4",
    "Conv-2, 32x32": "conv-2",
    "LeNet-300-100, 14x14": "lenet-300-100",
}


@pytest.mark.parametrize(("label", "name"), (LAYER_ROWS | STEP_ROWS).items())
def test_the_table_of_the_readme_is_that_of_the_records(label, name):
    suite = "layers" if label in LAYER_ROWS else "steps"
    record = json.loads((FILE.parent / "results" / f"bench-{suite}.json").read_text())
    rows = {row["name"]: row for row in record["results"]}
    real, quaternion = rows[f"real {name}"], rows[f"quaternion {name}"]

    def milliseconds(engine):
        times = (1e3 * row["seconds"][engine] for row in (real, quaternion))
        return " / ".join(f"{t:.{0 if t >= 100 else 1 if t >= 10 else 2}f}" for t in times)

    ratios = f"{real['ratios']['torch']:.2f} / {quaternion['ratios']['torch']:.2f}"
    line = f"| {label} | {milliseconds('numba')} | {milliseconds('torch')} | {ratios} |"
    assert line in (FILE.parent.parent / "README.md").read_text().splitlines()


@pytest.mark.parametrize(("label", "name"), [
    ("GRU", "GRU"), ("LSTM", "LSTM"), ("a training step of the GPT", "GPT"),
])  # fmt: skip
def test_the_sequences_of_the_readme_are_those_of_the_record(label, name):
    record = json.loads((FILE.parent / "results" / "bench-sequences.json").read_text())
    rows = {row["name"].upper(): row for row in record["results"]}
    cells = []
    for algebra in ("REAL", "QUATERNION"):
        row = next(rows[n] for n in rows if n.startswith(f"{algebra} ") and name in n)
        ms, ratio = 1e3 * row["seconds"]["numba"], row["ratios"]["torch"]
        cells.append(f"{ms:.1f} ({ratio:.{2 if ratio < 2 else 1}f})")
    line = f"| {label} | {' | '.join(cells)} |"
    assert line in (FILE.parent.parent / "README.md").read_text().splitlines()


ALGEBRA_ROWS = {
    "multiply": "multiply", "exp": "exp", "log": "log", "sqrt": "sqrt", "power": "power",
    "slerp": "slerp", "rotate, paired vectors": "rotate", "to rotation matrices": "to_matrix",
    "from rotation matrices": "from_matrix", "to Euler angles, ZYZ": "to_euler, ZYZ",
    "distance, chordal": "distance, chordal",
}  # fmt: skip


@pytest.mark.parametrize(("label", "name"), ALGEBRA_ROWS.items())
def test_the_algebra_of_the_readme_is_that_of_the_record(label, name):
    record = json.loads((FILE.parent / "results" / "bench-algebra.json").read_text())
    seconds = {row["name"]: row["seconds"] for row in record["results"]}[name]
    engines = ("numba", "numpy-quaternion", "quaternionic", "scipy")
    cells = [f"{1e3 * seconds[e]:.1f}" if e in seconds else "-" for e in engines]
    line = f"| {label} | {' | '.join(cells)} |"
    assert line in (FILE.parent.parent / "README.md").read_text().splitlines()
