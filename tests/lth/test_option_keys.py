"""No option moves the name of a run or of a stage: names as the first version gave them.

recorded/option_keys.json: arguments -> the run's name, what differs from its preset, and the stages
of levels 0 to 2 (of a control: 1 and 2). Only recorded by a version that is trusted.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quatgrad.errors import OptionError
from quatgrad.lth.command.arguments import RENAMED, current, parser
from quatgrad.lth.experiment.options import PRESET_FOLDER, overrides, resolve
from quatgrad.lth.search.search import ControlOf, Search
from quatgrad.lth.store.files import content_key

RECORDED = json.loads((Path(__file__).parents[1] / "recorded/option_keys.json").read_text())
IMAGES = "0123456789abcdef"


class Named:
    """A dataset that is nothing but its name."""

    def fingerprint(self):
        return IMAGES


def names(options):
    """What is recorded, of these options."""

    def search(network, **others):
        run = options.run
        return Search(None, Named(), options.recipe, Path("runs/x") / network, options.protocol,
                      run.seed, what=options.what(network), stages=Path("runs/stages"),
                      seeds=run.own_seeds, **others)  # fmt: skip

    stages = {}
    for network in options.model.networks:
        ticket = search(network)
        stages[network] = [s.name for s in ticket.plan()[:3]]
        if ticket.masks_from:
            stages[f"{network} first pass"] = [s.name for s in ticket.masks_from.plan()[:3]]
        for kind in options.run.control:
            control = search(network, control=ControlOf(ticket, name=kind))
            stages[f"{network}-{kind}"] = [s.name for s in control.plan()[1:3]]
    first = {"preset": options.preset, "overrides": overrides(options)}
    key = content_key(options.config(IMAGES))[:8]
    return {"run": key, "first run as": json.loads(json.dumps(first)), "stages": stages}


@pytest.mark.parametrize("arguments", RECORDED)
def test_runs_and_stages_keep_their_names(arguments):
    assert names(resolve(vars(parser().parse_args(arguments.split())))) == RECORDED[arguments]


def test_old_flags_work_and_say_what_they_are_called_now(capsys):
    for old, new in RENAMED.items():
        assert current(f"{old}=1") == f"{new}=1"
        assert capsys.readouterr().err.startswith(f"{old} is called {new} now")
        assert current(new) == new
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("texts", [
    "from quatgrad.paper.claims import CLAIMS as d; texts = [s for s, _ in d.values()]",
    "from quatgrad.lth.command.cli import COMMANDS as d; texts = [s for _, s in d.values()]",
    "from quatgrad.lth.search.level import MEANING as d; texts = list(d.values())",
])  # fmt: skip
def test_texts_stay_where_docstrings_are_left_out(texts):
    code = f"import sys; {texts}; sys.exit(not (texts and all(texts)))"
    subprocess.run([sys.executable, "-OO", "-c", code], check=True)


@pytest.mark.parametrize(("model", "trainings"), [("resnet8", 3), ("lenet-12", 2)])
def test_norms_of_all_processes_are_another_training_where_their_shares_differ(model, trainings):
    """Dropout is of a share by itself, so it is no training of one process either."""
    given = {"preset": "smoke", "model": model, "dropout": 0.1, "parallel": "mpi", "processes": 2}
    own, synced, one = (
        resolve(given | more)
        for more in ({}, {"sync_norm": True}, {"parallel": None, "processes": 1})
    )
    whats = {content_key(o.what("real")) for o in (own, synced, one)}
    assert len(whats) == trainings  # without norms it is no other one
    assert len({content_key(o.config(IMAGES)) for o in (own, synced, one)}) == trainings


def test_a_network_of_the_users_may_have_dropout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def net(algebra, classes, shape, rng): ...")
    given = {"preset": "smoke", "model": "mine.py:net"}
    many = {"parallel": "mpi", "processes": 2, "sync_norm": True}
    assert resolve(given | many).what("real") != resolve(given).what("real")


def test_a_whole_number_is_the_same_option_as_a_broken_one():
    whole = {"preset": "smoke", "lr": 1, "warmup": 1, "weight_decay": 0, "subset": np.int64(100)}
    broken = {"preset": "smoke", "lr": 1.0, "warmup": 1.0, "weight_decay": 0.0, "subset": 100}
    assert resolve(whole) == resolve(broken)
    one, other = (content_key(resolve(given).config(IMAGES)) for given in (whole, broken))
    assert one == other


@pytest.mark.parametrize(("line", "word"), [
    ('levels = "2"', "levels"), ('keep = "a"', "keep"), ('epochs = "3"', "epochs"),
    ("epochs = 1.5", "epochs"), ("batch_size = 2.5", "batch_size"), ('lr = "x"', "lr"),
    ("exclude = 5", "exclude"), ('real_head = "no"', "real_head"), ("plot = 5", "plot"),
    ('dataset = ["a"]', "dataset"), ("model = 5", "model"), ('algebra = ["real"]', "algebra"),
    ("models = 5", "models"), ("algebras = {real = 5}", "algebras"), ("seed = true", "seed"),
])  # fmt: skip
def test_a_preset_with_a_value_of_the_wrong_kind(tmp_path, line, word):
    smoke = PRESET_FOLDER.joinpath("smoke.toml").read_text("utf-8").splitlines()
    name = line.partition(" = ")[0]
    path = tmp_path / "mine.toml"
    lines = [x for x in [*smoke, 'algebra = "real"'] if not x.startswith(f"{name} = ")]
    path.write_text("\n".join([line, *lines]))
    with pytest.raises(OptionError, match=word):
        resolve({"preset": str(path)})
