"""An experiment from Python: the same run as the command's, its networks and tickets."""

import csv

import numpy as np
import pytest
from blobs import blobs

import quatgrad
from quatgrad import lth, nn
from quatgrad.errors import OptionError, RunError
from quatgrad.lth.command import main
from quatgrad.lth.experiment import runs, trained, verify
from quatgrad.lth.experiment.experiment import options_of

TINY = {"preset": "smoke", "width": 12, "levels": 2, "epochs": 1, "subset": 100}
FLAGS = [f for k, v in TINY.items() for f in (f"--{k}", str(v))]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return lth.run(**TINY, out=str(tmp_path_factory.mktemp("runs")))


def test_it_is_the_run_of_the_command(result, capsys):
    out = str(result.run.path.parent)
    before = sorted(p.name for p in (result.run.path.parent / "stages").iterdir())
    assert main([*FLAGS, "--out", out, "--quiet"]) == 0
    assert capsys.readouterr().out.count("from the record") == 6  # nothing is trained again
    assert sorted(p.name for p in (result.run.path.parent / "stages").iterdir()) == before
    assert [r.path.name for r in runs.runs_in(result.run.path.parent)] == [result.run.path.name]


def test_it_is_silent_or_tells(result, capsys, tmp_path):
    told = []
    again = lth.run(tell=told.append, **TINY, out=str(result.run.path.parent))
    assert again.run.path == result.run.path
    assert told[0].startswith("digits: 100 training")
    assert capsys.readouterr().out == ""


def test_the_table_has_a_row_for_each_level(result):
    rows = result.table()
    assert [(r["network"], r["level"]) for r in rows] == [
        (name, level) for name in ("real", "quaternion") for level in range(3)
    ]
    with open(result.run.path / "comparison.csv") as file:
        for row in csv.DictReader(file):
            real = rows[int(row["level"])]
            assert float(row["real_accuracy"]) == real["accuracy"]
            assert float(row["real_percent_left"]) == real["percent_left"]
            assert real["multiply_adds"] == real["weights_left"]


def test_the_picture(result, tmp_path):
    figure = result.plot(tmp_path / "a.png", str(tmp_path / "a.svg"))
    assert len(figure.axes[0].get_lines()) >= 2
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "a.svg"}


def test_the_ticket_is_what_the_level_started_from(result):
    dense, ticket = result.ticket(0, "real"), result.ticket(2, "real")
    assert dense.density == 1
    assert ticket.weights_left == result.table()[2]["weights_left"]
    for name, first in dense.state.items():
        mask = ticket.masks.get(name, np.ones(first.shape, bool))
        np.testing.assert_array_equal(np.asarray(ticket.state[name]) * mask, first * mask)


@pytest.mark.parametrize("network", ["real", "quaternion"])
def test_a_network_predicts_what_the_record_says(result, network, tmp_path):
    digits = quatgrad.data.load("digits")
    net = result.network(2, network)
    right = (net.predict(digits.test.images).argmax(1) == digits.test.labels).mean()
    assert right == net.said["accuracy"]
    assert net.classes == digits.class_names
    alive = sum(int(np.count_nonzero(net.model.state_dict()[n])) for n in net.masks)
    assert alive <= net.said["weights_left"]
    net.save(tmp_path / "net.safetensors")
    again = quatgrad.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(
        again.predict(digits.test.images), net.predict(digits.test.images)
    )
    assert trained.describe(again.said).startswith(f"{result.run.path.name}, {network}, level 2: ")


def test_the_best_of_those_that_are_sparse_enough(result):
    rows = result.table()
    sparse = [r for r in rows if r["percent_left"] <= 60]
    best = result.best(sparsity=0.4)
    assert best.said["accuracy"] == max(r["accuracy"] for r in sparse)
    assert result.best(network="real").said["network"] == "real"
    with pytest.raises(OptionError, match=r"`sparsity` 0\.999: no finished level"):
        result.best(0.999)


def test_by_default_the_sparsest_quaternion_network_that_matches_the_dense_one(result):
    said = result.network().said
    rows = [r for r in result.table() if r["network"] == "quaternion"]
    least = rows[0]["accuracy"] - 0.01
    assert said["level"] == max(r["level"] for r in rows if r["accuracy"] >= least)


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ({"level": 7}, "has finished the levels 0 to 2"),
        ({"level": -1}, "`level` -1"),
        ({"network": "half"}, "no finished level of the network half in trial 0; there is trial 0"),
        ({"trial": 3}, "in trial 3; there is trial 0: real, quaternion"),
    ],
)
def test_what_the_run_does_not_have(result, which, said):
    with pytest.raises(OptionError, match=said):
        result.network(**which)


def test_a_run_that_said_nothing_of_its_networks_is_made_anew_from_its_options(result, monkeypatch):
    monkeypatch.setattr(trained, "read_record", lambda path: Nothing)
    digits = quatgrad.data.load("digits")
    net = result.network(1, "quaternion")
    right = (net.predict(digits.test.images).argmax(1) == digits.test.labels).mean()
    assert right == net.said["accuracy"]


class Nothing:
    network = None


# ------------------------------------------------------------------------------ of one's own


def small(algebra, num_classes, input_shape, rng):
    layer = nn.Linear if algebra == "real" else nn.QLinear
    first = layer(int(np.prod(input_shape)), 8, rng=rng)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(8, num_classes, rng=rng))


FILE = (
    "import numpy as np\nfrom quatgrad import nn\n\n"
    + """
def small(algebra, num_classes, input_shape, rng):
    layer = nn.Linear if algebra == "real" else nn.QLinear
    first = layer(int(np.prod(input_shape)), 8, rng=rng)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(8, num_classes, rng=rng))
"""
)
OWN = {k: v for k, v in TINY.items() if k not in ("width", "subset")}


@pytest.fixture
def _no_names_stay(monkeypatch):
    monkeypatch.setattr(quatgrad.models, "_OWN", {})
    monkeypatch.setattr(quatgrad.data, "_OWN", {})


@pytest.mark.usefixtures("_no_names_stay")
def test_a_network_and_a_dataset_of_ones_own(tmp_path, monkeypatch):
    dataset = blobs()
    result = lth.run(model=small, dataset=dataset, subset=48, **OWN, out=str(tmp_path))
    assert result.run.path.name.startswith(f"{dataset.name}-small-")
    assert {r["network"] for r in result.table()} == {"real", "quaternion"}
    assert verify.verify(result.run)["wrong"] == []
    net = result.network(1, build=small)
    options_of(result.run)
    with monkeypatch.context() as m:
        m.setattr(quatgrad.models, "_OWN", {})
        with pytest.raises(RunError, match=r"unknown model 'small'.* alone"):
            options_of(result.run)
    with pytest.raises(OptionError, match="does not say how images are encoded"):
        net.predict(dataset.test.images)
    p = net.predict(dataset.encode(dataset.test.images))
    right = (p.argmax(1) == dataset.test.labels).mean()
    assert right == pytest.approx(net.said["accuracy"])


@pytest.mark.usefixtures("_no_names_stay")
def test_a_network_in_a_file_on_the_command_line(tmp_path, capsys):
    file = tmp_path / "net.py"
    file.write_text(FILE)
    own = [f for k, v in OWN.items() for f in (f"--{k}", str(v))]
    arguments = [*own, "--model", f"{file}:small", "--subset", "100", "--out", str(tmp_path / "r")]
    assert main([*arguments, "--quiet", "--algebra", "real"]) == 0
    (run,) = runs.runs_in(tmp_path / "r")
    assert run.path.name.startswith("digits-small-")
    assert verify.verify(run)["wrong"] == []
    net = trained.trained(run, "real", 1)
    assert net.said["level"] == 1
    first = run.config.options
    file.write_text(FILE.replace("8", "12"))  # another network is another run
    assert main([*arguments, "--quiet", "--algebra", "real"]) == 0
    assert len(list((tmp_path / "r" / "stages").iterdir())) == 6
    old, new = sorted(runs.runs_in(tmp_path / "r"), key=lambda r: r.path != run.path)
    assert old.config.options["source"] != new.config.options["source"]
    assert verify.verify(new)["wrong"] == []
    assert first["model"] == f"{file}:small"
    capsys.readouterr()
    assert main([*arguments, "--algebra", "half"]) == 2
    assert "with another width or product" in capsys.readouterr().err


def test_one_control_is_a_text(tmp_path):
    how = {"preset": "smoke", "subset": 60, "epochs": 1, "levels": 1, "algebra": "real"}
    found = lth.run(**how, control="shuffled", out=tmp_path)
    assert {row["network"] for row in found.table()} == {"real", "real-shuffled"}


def test_what_the_command_would_refuse(tmp_path):
    with pytest.raises(OptionError, match="unknown option 'level': did you mean 'levels'"):
        lth.run(level=3, out=tmp_path)
    with pytest.raises(OptionError, match="unknown model 'lenet-300': did you mean"):
        lth.run(model="lenet-300", out=str(tmp_path))
    with pytest.raises(RunError, match="holds no run"):
        lth.Result(lth.experiment.result.Run(tmp_path)).run.config  # noqa: B018
    assert not list(tmp_path.iterdir())
