"""The command: names and scales, a tiny experiment from end to end, and its errors."""

import csv
import json

import pytest
from paper_runs import write_run

from quatgrad import models
from quatgrad.errors import OptionError
from quatgrad.lth.experiment.experiment import create
from quatgrad.paper import experiments
from quatgrad.paper.experiments import EXPERIMENTS, IMAGES, SCALES, cost, options
from quatgrad.paper.published import published
from quatgrad.paper.reproduce import main
from quatgrad.task import CLASSES

PANELS = sorted({panel for e in EXPERIMENTS.values() for panel in e.panels})
CHEAP = [p for p in PANELS if p[1] not in ("resnet34", "resnet50", "resnet101", "resnet152")]


def test_every_published_network_belongs_to_an_experiment():
    found = {key[:2] for key in published() if "early" not in key[1]}
    assert set(PANELS) == found
    assert len(EXPERIMENTS["cifar100"].panels) == len(EXPERIMENTS["imagenet64"].panels) == 5
    assert len(EXPERIMENTS["predecessor"].panels) == 7


@pytest.mark.parametrize("panel", PANELS, ids="-".join)
def test_at_full_scale_an_experiment_is_as_published(panel):
    o = options(*panel, "full", {})
    curve = published()[*panel, "real"]
    assert (o.data.dataset, o.model.model, o.data.subset, o.model.width) == (*panel, None, None)
    assert o.protocol.levels >= curve.points[-1].level
    assert o.run.trials == curve.dense.trials
    assert o.protocol.rule.keep == pytest.approx(curve.points[1].fraction, abs=1e-4)


class Images:
    """What `create` asks of a dataset."""

    task = CLASSES

    def __init__(self, dataset, channels):
        self.input_shape = (28, 7, 4) if dataset == "mnist" else (32, 32, channels)
        self.num_classes = 100 if dataset == "cifar100" else 10


@pytest.mark.parametrize("panel", [p for p in CHEAP if p[0] != "imagenet64"], ids="-".join)
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_at_full_scale_networks_have_the_published_parameters(panel, algebra):
    o = options(*panel, "full", {})
    channels = 3 if o.data.encoder_of(algebra) == "rgb" else 4
    net = create(o, algebra, Images(panel[0], channels), seed=0)
    assert net.num_parameters() == published()[*panel, algebra].dense.parameters


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("panel", PANELS, ids="-".join)
def test_every_scale_has_a_cost_that_grows(panel, scale):
    images = [int(cost(*panel, s).split(": ")[1].replace(",", "")) for s in SCALES]
    assert images[0] < 5_000 < images[1] < images[2]
    o = options(*panel, scale, {})
    assert o.model.networks == ("real", "quaternion")
    assert (o.model.width or models.MODELS[o.model.model][0]) % 4 == 0
    assert o.data.subset is None or o.data.subset < IMAGES[o.data.dataset]


def test_options_given_by_hand_come_last():
    o = options("cifar100", "resnet18", "small", {"levels": 1, "preset": "paper-cifar100"})
    assert (o.protocol.levels, o.recipe.schedule, o.model.width) == (1, "cosine-per-batch", 16)


def test_unknown_experiments_are_refused_with_a_hint():
    with pytest.raises(OptionError, match="did you mean 'cifar100-resnet18'"):
        experiments.experiment("cifar100-resnet19")
    with pytest.raises(OptionError, match=r"reproduce\.py table"):
        experiments.experiment("parameters")


# ------------------------------------------------------------------------------------ the command


def test_list_names_everything_with_its_cost(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for name in (*EXPERIMENTS, *experiments.OTHERS):
        assert f"\n{name} " in text
    assert "2 networks x 21 levels x 100 epochs x 50,000 images: 210,000,000" in text


def test_verify_without_runs_judges_the_published_results(capsys):
    assert main(["verify"]) == 0
    assert "A1  NOT SUPPORTED" in capsys.readouterr().out
    assert main(["verify", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["claims"]) == 18


def test_verify_judges_runs(tmp_path, capsys):
    accuracies = {"real": [[0.64, 0.63, 0.62, 0.6]], "quaternion": [[0.7, 0.69]]}
    run = write_run(tmp_path / "run", accuracies)
    assert main(["verify", str(run)]) == 0
    text = capsys.readouterr().out
    assert "S7  needs a ResNet on imagenet64" in text
    assert "3 of 4 levels agree" in text  # 60 % against 63.2 % at an eighth


def test_table_passes_its_options_on(capsys):
    assert main(["table", "--model", "lenet-12"]) == 0
    rows = [line.split()[:7] for line in capsys.readouterr().out.splitlines()]
    assert ["mnist", "lenet-12", "real", "28x28x1", "10", "9528", "9550"] in rows


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "cifar100-resnet19"], "did you mean"),
        (["run", "conv-2-early-stopping"], "was not published"),
        (["run", "mnist-lenet-12", "--model", "conv-2"], "--model is part of the name"),
        (["run", "mnist-lenet-12", "--algebra", "quaternion"], "measured by the real network"),
        (["verify", "/nowhere"], "holds no run"),
        (["verify", "--all"], "verify does not know --all"),
    ],
)
def test_mistakes_are_one_line(argv, message, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("quatgrad-reproduce: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["run"], ["run", "mnist", "--scale", "huge"], ["draw"]])
def test_unknown_words_end_with_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "quatgrad-reproduce" in capsys.readouterr().err


def test_a_tiny_experiment_from_end_to_end(tmp_path, capsys):
    argv = ["run", "mnist-lenet-12", "--quiet", "--trials", "2", "--algebra", "all",
            "--out", str(tmp_path)]  # fmt: skip
    assert main(argv) == 0
    out = tmp_path / "mnist-lenet-12-tiny"
    text = capsys.readouterr().out
    assert text.rstrip().endswith(f"{out / 'verify.txt'} (also .json)")
    names = {p.name for p in out.iterdir() if p.is_file()}
    pictures = ("accuracy", "parameters", "beyond-mnist-lenet-12")
    assert names == {f"{p}.{kind}" for p in pictures for kind in ("png", "svg")} | {
        "curves.csv", "verify.txt", "verify.json",
    }  # fmt: skip
    with (out / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    dense = {row["algebra"]: row for row in rows if row["level"] == "0"}
    assert [dense[a]["multiply_adds"] for a in ("real", "quaternion")] == ["9528", "9528"]
    assert dense["quaternion"]["parameters"] == "2494"
    found = json.loads((out / "verify.json").read_text())
    assert [(c["algebra"], c["trials"], c["made"]) for c in found["curves"]] == [
        ("real", 2, True), ("quaternion", 2, True), ("equal", 2, True),
    ]  # fmt: skip

    before = (out / "verify.txt").read_bytes()
    assert main(argv) == 0  # again: from the record, on the same images
    assert "from the record" in capsys.readouterr().out
    assert (out / "verify.txt").read_bytes() == before
    (run,) = out.glob("mnist-lenet-12-*/")
    assert main(["verify", str(run)]) == 0
    assert "its images were made: not compared" in capsys.readouterr().out


def test_images_of_ones_own_are_not_made(tmp_path, capsys):
    from quatgrad.data import synthetic

    synthetic.make("mnist", tmp_path / "data", 100, 50, 4)
    argv = ["run", "mnist-lenet-12", "--quiet", "--levels", "1", "--algebra", "real",
            "--out", str(tmp_path), "--data-dir", str(tmp_path / "data")]  # fmt: skip
    assert main(argv) == 0
    (curve,) = json.loads((tmp_path / "mnist-lenet-12-tiny" / "verify.json").read_text())["curves"]
    assert (curve["made"], curve["scaled"], len(curve["levels"])) == (False, "epochs 1 for 20", 2)
