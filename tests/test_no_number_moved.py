"""Numbers of today against those that an earlier version wrote down: keys, tickets, accuracies.

`recorded/numbers.json` has, for each line of RUNS, the name of the run's folder and of every stage
(so: their keys), what each level measured, and the digests of tickets that do not depend on the
processor: masks and first weights are drawn and ranked by NumPy, in the same way everywhere. What
was trained is compared within the rounding of another BLAS. Whoever means to move a number writes
the file anew, `python tests/test_no_number_moved.py`, and says in the changelog what moved.
"""

import contextlib
import csv
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from quatgrad import use_backend
from quatgrad.lth.command.arguments import current, parser
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment.options import Options, resolve

RECORDED = Path(__file__).parent / "recorded" / "numbers.json"

ON_RECORD = Path(__file__).parent.parent / "experiments/results"
RESULTS = sorted(
    path for folder in ("", "beyond/") for path in ON_RECORD.glob(f"{folder}*/record.json")
)

#: A run of one network whose level 1 was interrupted, in epoch 2.
INTERRUPTED = RECORDED.parent / "interrupted"
SHORT = "--preset smoke --subset 60 --epochs 2 --width 24 --algebra quaternion --levels 1"

ONE_STEP = "--preset smoke --subset 20 --epochs 1 --batch-size 20 --width 24 --levels 0 --lr 0.001"
#: Every network that the 4x4 quaternions of a digit do not break, for one step.
NETWORKS = (
    "lenet-300-100", "lenet-12", "conv-2", "conv-4", "resnet8", "resnet14", "resnet20", "resnet32",
    "resnet56", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
)  # fmt: skip
FROM_START = "--preset smoke --subset 40 --epochs 1 --width 24 --levels 2 --prune-from start"
SEARCH = "--preset smoke --subset 60 --epochs 2 --width 24"
RUNS = (
    *(f"{ONE_STEP} --model {name} --backend {b}" for name in NETWORKS for b in ("numpy", "numba")),
    *(f"{FROM_START} --model {name}" for name in ("lenet-300-100", "conv-2", "resnet8")),
    f"{FROM_START} --granularity quaternion",
    f"{FROM_START} --granularity filter --exclude 5",
    f"{FROM_START} --scope global",
    f"{FROM_START} --scope erk",
    f"{FROM_START} --score random --seed-prune 4",
    f"{FROM_START} --keep-of 1=0.9 --granularity pooled",
    SEARCH,
    f"{SEARCH} --late 1 --memory restored --optimizer adam --lr 0.01",
    f"{SEARCH} --rewind none --rate last --schedule step --memory kept",
    f"{SEARCH} --rewind weights --order fresh",
    f"{SEARCH} --masks finetuned",
    f"{SEARCH} --validation 0.2",
    f"{SEARCH} --method snip",
    f"{SEARCH} --method synflow --rounds 5",
    f"{SEARCH} --control reinitialised --control shuffled --control signs",
    f"{SEARCH} --trials 2 --control transplanted",
    f"{SEARCH} --algebra real,quaternion,half --init xavier --warmup 1 --weight-decay 0.001",
    f"{SEARCH} --seed 3 --seed-init 5 --seed-order 6 --seed-augment 7",
)


def numbers(options: str, folder: Path) -> dict:
    """What a run leaves on the disk: its name, and for each stage what is compared."""
    backend = [] if "--backend" in options else ["--backend", "numpy"]
    text = io.StringIO()
    muffled = contextlib.redirect_stdout(text), contextlib.redirect_stderr(text)
    with muffled[0], muffled[1], use_backend("numpy"):  # and back to the one before
        code = main([*options.split(), *backend, "--quiet", "--out", str(folder)])
    assert code == 0, text.getvalue()
    (run,) = (p.name for p in folder.iterdir() if p.name != "stages")
    stages = {}
    for path in sorted(folder.glob("stages/*/record.json")):
        record = json.loads(path.read_text())
        drawn = record["level"] == 0 or "--prune-from start" in options
        stages[path.parent.name] = {
            "weights_left": record["weights_left"],
            "ticket": record["ticket"] if drawn else "",
            "train_loss": float(f"{record['train_loss']:.6g}"),
            "accuracy": round(record["accuracy"], 6),
        }
    return {"run": run, "stages": stages}


def load() -> dict:
    return json.loads(RECORDED.read_text())


@pytest.mark.parametrize("options", RUNS)
def test_keys_tickets_and_accuracies_are_those_on_record(options, tmp_path):
    same(load()[options], numbers(options, tmp_path))


def same(old: dict, new: dict) -> None:
    """Keys, counts and digests to the letter; what was trained to the rounding of a BLAS."""
    assert new["run"] == old["run"]
    assert list(new["stages"]) == list(old["stages"])
    for name, was in old["stages"].items():
        now = new["stages"][name]
        assert now["ticket"] == was["ticket"], name
        assert now["weights_left"] == was["weights_left"], name
        assert now["train_loss"] == pytest.approx(was["train_loss"], rel=1e-3), name
        assert now["accuracy"] == pytest.approx(was["accuracy"], abs=0.01), name


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.parent.name)
def test_the_command_of_a_recorded_result_names_the_run_that_it_named(path):
    stored = json.loads(path.read_text())["config"]["options"]
    assert options_of(path).config(stored["data"]) == stored


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.parent.name)
def test_the_command_of_a_recorded_result_trains_the_networks_of_its_table(path):
    with (path.parent / "comparison.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    trained = [c.removesuffix("_accuracy") for c in columns if c.endswith("_accuracy")]
    networks = list(options_of(path).model.networks)
    assert networks == [name for name in trained if "-" not in name]


def options_of(path: Path) -> Options:
    """Of the command in a record.json."""
    arguments = map(current, json.loads(path.read_text())["command"].split()[2:])
    return resolve(vars(parser().parse_args(list(arguments))))


def test_every_run_is_on_record():
    assert set(load()) == set(RUNS)


def test_a_run_that_an_earlier_version_interrupted_goes_on(tmp_path):
    """Its dense level is done, level 1 stands in a checkpoint: both are found by their keys."""
    folder = tmp_path / "runs"
    shutil.copytree(INTERRUPTED, folder)
    network = next(folder.glob("*/trial0/quaternion"))
    for stage in folder.glob("stages/*"):  # links are not in an sdist, nor on every system
        level = "level_00" if stage.name.startswith("dense") else "level_01"
        (network / level).symlink_to(Path("../../../stages") / stage.name)
    before = {p.parent.name for p in folder.glob("stages/*/stage.json")}
    (unfinished,) = folder.glob("stages/*/checkpoint.npz")
    written = (next(folder.glob("stages/dense-*")) / "done").stat().st_mtime_ns
    went_on = numbers(SHORT, folder)
    same(numbers(SHORT, tmp_path / "fresh"), went_on)
    assert before <= set(went_on["stages"])
    assert not unfinished.exists()
    assert (next(folder.glob("stages/dense-*")) / "done").stat().st_mtime_ns == written
    checks = json.loads((unfinished.parent / "checks.json").read_text())
    assert checks["checkpoint"]["pruned"] > 0  # counted before it was interrupted


if __name__ == "__main__":
    found = {}
    for options in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            found[options] = numbers(options, Path(folder))
        print(options, file=sys.stderr)
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")
