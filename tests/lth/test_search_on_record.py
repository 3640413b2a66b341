"""What `Search` ran from Python: all verbs see it."""

import json

import numpy as np
import pytest
from tiny_runs import run

from quatgrad import Tensor, lth, nn
from quatgrad.lth.command import main
from quatgrad.lth.experiment import runs
from quatgrad.lth.experiment.trained import trained


@pytest.fixture
def out(tmp_path):
    for algebra in ("quaternion", "real"):
        run(tmp_path / "runs" / algebra, 2, algebra)
    return tmp_path / "runs"


def told(capsys, *arguments):
    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_it_is_listed_shown_and_verified(out, capsys):
    found = told(capsys, "list", "--out", out)
    assert [s["run"] for s in found] == ["quaternion", "real"]
    for s in found:
        assert s["networks"].keys() == {s["run"]}
        assert s["networks"][s["run"]]["levels"] == 2
        assert s["options"]["dataset"] == "blobs"
        assert s["options"]["model"] == "lenet-300-100"
        shown = told(capsys, "show", out / s["run"])
        assert set(shown["stages"]) == {"level_00", "level_01", "level_02"}
        (proof,) = told(capsys, "verify", out / s["run"])
        assert proof["wrong"] == []
        assert proof["right"]["networks whose pruned weights are 0"] == 3
    assert main(["show", str(out / "real")]) == 0
    assert "level_01-" in capsys.readouterr().out


def test_it_is_compared_drawn_and_analysed(out, capsys, tmp_path):
    rows = told(capsys, "compare", out / "real", out / "quaternion")
    assert rows[0].keys() >= {"1 real_accuracy", "2 quaternion_accuracy"}
    told(capsys, "plot", out / "real", "--plot", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    found = told(capsys, "analyse", out / "quaternion")
    assert [level["level"] for level in found["levels"]["quaternion"]] == [0, 1, 2]
    assert (out / "quaternion" / "analysis" / "analysis.json").exists()


def test_its_networks_predict(out):
    (found, _) = runs.runs_in(out)
    net = trained(found, level=1)
    assert net.said["run"] == "quaternion"
    assert net(Tensor(np.ones((2, 4, 4, 4), np.float32))).shape == (2, 3)
    assert lth.Result(found).ticket(2).density < 0.5


def test_what_needs_the_command_says_so(out, capsys):
    for arguments in (
        ["branch", out / "real", "--control", "shuffled"],
        ["analyse", out / "real", "--connectivity", "1"],
    ):
        assert main([*map(str, arguments)]) == 2
        assert "is of a Search from Python" in capsys.readouterr().err


def test_a_network_that_nobody_can_make_again_is_analysed_without_its_paths(tmp_path, capsys):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, rng=rng))
    run(tmp_path / "own", 1, model=model)
    found = told(capsys, "analyse", tmp_path / "own")
    assert len(found["levels"]["real"]) == 2
    (proof,) = told(capsys, "verify", tmp_path / "own")
    assert proof["wrong"] == []


def test_a_search_that_shares_stages_is_part_of_another_run(tmp_path):
    run(tmp_path / "a", 0, stages=tmp_path / "stages", what={"network": "tiny"})
    assert not (tmp_path / "a" / "config.json").exists()


def test_the_same_search_again_is_the_same_run(out):
    before = (out / "real" / "config.json").read_bytes()
    run(out / "real", 2, "real")
    assert (out / "real" / "config.json").read_bytes() == before
