"""Tuning: what is drawn, equal budgets, going on, a known optimum, and what comes out."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import msgspec
import pytest

from quatgrad.errors import DivergedError, OptionError, RunError
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment import options as options_module
from quatgrad.lth.experiment import runs
from quatgrad.lth.tune import final, preset, show, space, study, trial, tune

optuna = pytest.importorskip("optuna")

FILE = """
[tune]
trials = 3
sampler = "{sampler}"
pruner = "{pruner}"

[options]
preset = "smoke"
levels = 0
epochs = 3
validation = 0.25

[space]
lr = {{ low = 0.01, high = 0.5, log = true, num = 2 }}
init = ["he", "xavier"]
"""


@pytest.fixture
def file(tmp_path):
    """Writes a file of a study and gives its path."""

    def write(text=None, sampler="tpe", pruner="none"):
        path = tmp_path / "small.toml"
        path.write_text(text or FILE.format(sampler=sampler, pruner=pruner))
        return path

    return write


def begin(path, out, networks="real", given=None, **how):
    return tune.start(path, {"out": str(out)} | (given or {}), networks, **how)


def timeless(found):
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "ms")} for row in show.rows(found)
    ]


def call(capsys, *arguments):
    try:
        code = main(["tune", *map(str, arguments)])
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


def quiet(text):
    """Tell nobody."""


# ----------------------------------------------------------------------------- what a file says


def test_a_file_is_read(file):
    found = space.read(file(), {"momentum": 0.5, "epochs": 4}, trials=7, storage=None)
    assert found.trials == 7
    assert found.space == {"lr": space.Range(0.01, 0.5, True, 2), "init": ("he", "xavier")}
    made = found.options("quaternion", {"lr": 0.1, "init": "xavier"})
    assert (made.recipe.lr, made.recipe.epochs, made.model.init) == (0.1, 4, "xavier")
    assert made.model.networks == ("quaternion",)


def test_a_grid_is_every_combination_and_gives_the_number_of_trials(file):
    found = space.read(file(sampler="grid"), {})
    assert found.trials == 4
    assert found.grid == [
        {"lr": pytest.approx(lr), "init": init} for lr in (0.01, 0.5) for init in ("he", "xavier")
    ]
    assert space.Range(1, 9, num=3).values == [1, 5, 9]
    assert space.Range(0.1, 10.0, log=True, num=3).values == pytest.approx([0.1, 1.0, 10.0])


@pytest.mark.parametrize(("old", "new", "word"), [
    ("init = ", "colour = ", "colour"),
    ("init = ", "epochs = ", "epochs"),
    ("init = ", "backend = ", "backend"),
    ("init = ", "control = ", "control"),
    ('["he", "xavier"]', '["he", "xavir"]', "xavir"),
    ('["he", "xavier"]', "[]", "init is a list"),
    ('["he", "xavier"]', '[["he"]]', "init is a list"),
    ("low = 0.01", "low = 1.0", "low below high"),
    ("low = 0.01", "low = 0", "above 0 if"),
    ("low = 0.01", 'low = "a"', "low below high"),
    ("low = 0.01, ", "", "lr is a list"),
    ("low = 0.01", "lo = 0.01", "lr is a list"),
    ("trials = 3", "trials = 0", "from 1 to 100000; got 0"),
    ("trials = 3", "trails = 3", "trails"),
    ('"tpe"', '"tpee"', "tpee"),
    ('"none"', '"no"', "'no'"),
    ("[space]", "[spaces]", "spaces"),
    ("validation = 0.25", "", "validation data choose"),
    ("validation = 0.25", 'validation = 0.25\nmomentum = "x"', "momentum"),
    ("validation = 0.25", "validation = 0.25\nmomentom = 0.9", "momentom"),
    ("validation", "validation =", "no TOML file"),
    ("trials = 3", 'trials = "3"', "wrong kind"),
    ("trials = 3", "trials = 1.5", "wrong kind"),
    ("[tune]\ntrials = 3", "tune = 5", "got tune = 5"),
    ("num = 2", 'num = "2"', "num='2'"),
    ("validation = 0.25", "validation = 0.25\ntrials = 3", "out of [options]"),
    ("validation = 0.25", "validation = 0.25\nmodel = 5", "model is a name; got 5"),
    ("validation = 0.25", 'validation = 0.25\nmethod = "nope"', "unknown method 'nope'"),
    ("validation = 0.25", "validation = 0.25\ndataset = [1]", "dataset is a name; got [1]"),
    ('preset = "smoke"', "preset = 5", "preset is a name; got 5"),
])  # fmt: skip
def test_a_file_with_a_fault_is_one_clear_line(file, capsys, tmp_path, old, new, word):
    text = FILE.format(sampler="tpe", pruner="none")
    assert old in text
    path = file(text.replace(old, new))
    code, _, err = call(capsys, path, "--out", tmp_path / "out")
    assert code == 2
    assert word in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_study_calls_examples_what_their_task_does(file, tmp_path):
    study = tune.StudyRecord.read(begin(file(), tmp_path).directory / "study.json")
    assert "150 training, 50 validation images, 3 epochs" in study.about
    assert "50 validation series" in msgspec.structs.replace(study, what="series").about


def test_an_option_that_is_varied_is_refused_on_the_command_line(file, capsys, tmp_path):
    code, _, err = call(capsys, file(), "--lr", "0.1", "--out", tmp_path / "out")
    assert code == 2
    assert "--lr is varied by the [space]" in err
    assert not (tmp_path / "out").exists()


def test_what_changes_a_training_changes_the_study(file, tmp_path):
    kinds = {}, {"levels": 2}, {"stop_accuracy": 0.5}, {"epochs": 2}, {"quiet": True}
    directories = [begin(file(), tmp_path, given=given).directory for given in kinds]
    assert len(set(directories)) == 4
    assert directories[0] == directories[-1]


@pytest.mark.parametrize("given", [("--parallel", "mpi"), ("--processes", "2")])
def test_processes_that_share_a_network_are_refused(file, capsys, tmp_path, given):
    code, _, err = call(capsys, file(), *given, "--out", tmp_path / "out")
    assert code == 2
    assert "tune trains several networks at a time" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [
    ["missing.toml"], ["show", "nothing"], ["final", "nothing"], ["ablation", "nothing"], [],
    ["--algebra", "real"],
])  # fmt: skip
def test_what_is_not_there(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1


def test_without_optuna(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "find_spec", lambda name: None)
    code, _, err = call(capsys, file(), "--out", tmp_path / "out")
    assert code == 2
    assert "pip install 'quatgrad[tune]'" in err


def test_optuna_is_imported_only_when_it_is_used():
    code = "import sys, quatgrad.lth.command.cli; sys.exit('optuna' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize(("sampler", "storage"), [
    ("tpe", "journal"), ("random", "journal"), ("grid", "journal"), ("grid", "sqlite"),
])  # fmt: skip
def test_a_study_that_was_interrupted_goes_on_with_the_same_trials(
    file, tmp_path, monkeypatch, sampler, storage
):
    path = file(sampler=sampler)
    whole = begin(path, tmp_path / "whole", trials=12, storage=storage)
    whole.work(quiet)
    call_watch, told = trial.Watch.__call__, []

    def interrupt(self, directory, level, history):
        call_watch(self, directory, level, history)
        told.append(len(history))
        if len(told) % 4 == 0:  # in the middle of some trials, and at the end of others
            raise KeyboardInterrupt

    monkeypatch.setattr(trial.Watch, "__call__", interrupt)
    cut = begin(path, tmp_path / "cut", trials=12, storage=storage)
    interruptions = 0
    while True:
        try:
            begin(path, tmp_path / "cut", trials=12, storage=storage).work(quiet)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions > 2
    assert timeless(cut) == timeless(whole)
    assert len(timeless(cut)) == (4 if sampler == "grid" else 12)
    assert not list(cut.directory.glob(".real-*"))


def test_a_worker_that_is_killed_loses_no_trial(file, tmp_path):
    """SIGKILL in a trial: the next worker goes on with it, and the trials are the same."""
    path = file(FILE.format(sampler="tpe", pruner="none").replace("epochs = 3", "epochs = 60"))
    whole = begin(path, tmp_path / "whole", trials=2)
    whole.work(quiet)
    arguments = ["tune", path, "--algebra", "real", "--trials", 2, "--out", tmp_path / "cut"]
    command = [sys.executable, "-m", "quatgrad.lth.command", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    stages = tmp_path / "cut" / "stages"
    while process.poll() is None and not list(stages.glob("*/start.npz")):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    cut = begin(path, tmp_path / "cut", trials=2)
    cut.work(quiet)
    assert timeless(cut) == timeless(whole)


def test_equal_budgets_and_the_same_draws_for_each_network(file, tmp_path):
    found = begin(file(sampler="random"), tmp_path, "real,quaternion,half")
    found.work(quiet)
    table = show.rows(found)
    drawn = {n: [(r["lr"], r["init"]) for r in table if r["network"] == n]
             for n in ("real", "quaternion", "half")}  # fmt: skip
    assert drawn["real"] == drawn["quaternion"] == drawn["half"]
    assert len(set(drawn["real"])) == 3
    assert {r["epochs"] for r in table} == {3}
    about = json.loads((found.directory / "study.json").read_text())
    assert about["trials of each network"] == 3
    assert about["networks"] == ["real", "quaternion", "half"]
    assert "same space, as many trials, and the same epochs" in about["rule"]
    again = begin(file(sampler="random"), tmp_path, "real", trials=4)  # all that have begun go on
    again.work(quiet)
    assert [of["trials"] for of in show.result(again).values()] == [4, 4, 4]
    later = begin(file(sampler="random"), tmp_path, "real,equal")  # and another gets as many
    with pytest.raises(RunError, match="no trial of equal has ended"):
        final.final(later, 1, {}, quiet)
    trial.work(later.trials[-1], quiet)
    with pytest.raises(RunError, match="1 of 4 trials of equal have ended"):
        final.final(tune.load(str(later.directory), "runs"), 1, {}, quiet)
    later.work(quiet)
    assert [of["trials"] for of in show.result(later).values()] == [4, 4, 4, 4]


def test_the_time_of_a_trial_is_that_of_its_network(file, tmp_path, monkeypatch):
    timed = []

    def trained(run, network, level):
        timed.append(network)
        return _trained(run, network, level)

    _trained = trial.trained
    monkeypatch.setattr(trial, "trained", trained)
    begin(file(sampler="random"), tmp_path, "real,quaternion", trials=1).work(quiet)
    assert timed == ["real", "quaternion"]


def test_settings_that_cannot_be_together_are_a_trial_that_learned_nothing(file, tmp_path):
    text = FILE.format(sampler="grid", pruner="none").replace("[space]", "[space]\nwidth = [6, 12]")
    found, said = begin(file(text), tmp_path, "real,quaternion"), []
    found.work(said.append)
    assert any("width 6, " in text and "multiple of 4" in text for text in said)
    table = show.rows(found)
    assert len(table) == 16
    wrong = [r for r in table if "impossible" in r]
    assert {(r["network"], r["width"], r["epochs"]) for r in wrong} == {("quaternion", 6, 0)}
    assert "4" in wrong[0]["impossible"]
    assert show.result(found)["quaternion"]["settings"]["width"] == 12
    assert "best of k" not in show.result(found)["quaternion"]  # nobody drew them


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_workers_with_equal_draws_wait_for_each_other(file, tmp_path, capsys, storage):
    text = FILE.format(sampler="random", pruner="none")
    text = text[: text.index("[space]")] + '[space]\ninit = ["he"]\n'
    arguments = ["--out", tmp_path, "--workers", 2, "--storage", storage, "--json"]
    code, printed, err = call(capsys, file(text), "--algebra", "real", *arguments)
    assert code == 0, err
    assert json.loads(printed)["networks"]["real"]["trials"] == 3
    assert len(list((tmp_path / "stages").iterdir())) == 1


def test_draws_depend_on_the_number_of_the_trial_and_the_seed(file, tmp_path):
    spread = set()
    for seed in range(12):
        one = tune.Study(tmp_path, space.read(file(), {}, seed=seed), ("real",)).trials[0]
        optuna_study = optuna.create_study()
        for number in (0, 1, 0):
            optuna_study.sampler = one._sampler(number)
            asked = optuna_study.ask()
            study._suggest(asked, one.file.space)
            spread.add((number, asked.params["lr"], asked.params["init"]))
    assert len(spread) == 24
    assert {init for _, _, init in spread} == {"he", "xavier"}


# -------------------------------------------------------------------------------- what is found


@pytest.mark.parametrize(("sampler", "tolerance"), [("tpe", 0.1), ("grid", 0.07), ("random", 0.3)])
def test_a_known_optimum_is_found(file, tmp_path, monkeypatch, sampler, tolerance):
    """Accuracy 1 - (log10 lr + 1)^2 - (momentum - 0.7)^2: best at lr = 0.1, momentum 0.7."""
    text = FILE.format(sampler=sampler, pruner="none").replace(
        'init = ["he", "xavier"]', "momentum = { low = 0.0, high = 0.95, num = 6 }"
    )
    text = text.replace("high = 0.5, log = true, num = 2", "high = 1.0, log = true, num = 9")

    def score(options, watch):
        miss = (options.recipe.lr, options.recipe.momentum)
        return 1 - _quadratic(*miss), {"run": "none"}

    monkeypatch.setattr(trial, "_score", score)
    found = begin(file(text), tmp_path, trials=40)
    found.work(quiet)
    of = show.result(found)["real"]
    best = of["settings"]
    assert _quadratic(best["lr"], best["momentum"]) < tolerance**2
    assert of["best so far"][-1] == of["best"]["validation_accuracy"]
    if sampler == "tpe":
        assert of["importances"]["lr"] > of["importances"]["momentum"]


def _quadratic(lr, momentum):
    import math

    return (math.log10(lr) + 1) ** 2 + (momentum - 0.7) ** 2


def test_best_of_k_is_the_mean_maximum_of_k_draws():
    values = [0.1, 0.7, 0.4]
    for k, expected in enumerate(show.best_of(values), 1):
        maxima = [max(drawn) for drawn in itertools.product(values, repeat=k)]
        assert expected == pytest.approx(sum(maxima) / len(maxima))
    assert show.best_so_far(values) == [0.1, 0.7, 0.7]


def test_a_training_that_diverges_is_a_trial_that_learned_nothing(file, tmp_path, monkeypatch):
    def score(options, watch):
        raise DivergedError("training diverged")

    monkeypatch.setattr(trial, "_score", score)
    found = begin(file(), tmp_path)
    found.work(quiet)
    assert [r["validation_accuracy"] for r in show.rows(found)] == [0.0] * 3
    assert {r["diverged"] for r in show.rows(found)} == {"training diverged"}


@pytest.mark.parametrize("pruner", ["median", "asha"])
def test_hopeless_trials_end_early(file, tmp_path, pruner):
    """The rates are so different that some trials end before their last epoch."""
    text = FILE.format(sampler="random", pruner=pruner).replace("epochs = 3", "epochs = 8")
    found = begin(file(text.replace("low = 0.01", "low = 0.0001")), tmp_path, trials=14)
    found.work(quiet)
    of, table = show.result(found)["real"], show.rows(found)
    early = [r for r in table if r["ended"] == "pruned"]
    assert len(early) == of["ended early"] > 0
    assert all(r["epochs"] < 8 for r in early)
    assert of["epochs"] == sum(r["epochs"] for r in table) < 14 * 8
    assert max(r["validation_accuracy"] for r in early) <= of["best"]["validation_accuracy"]


def test_no_trial_yet(file, tmp_path):
    with pytest.raises(RunError, match="no trial of real has ended"):
        show.result(begin(file(), tmp_path))


# ----------------------------------------------------------------------------- from end to end


def test_from_a_file_to_a_preset_that_reproduces_its_number(file, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    code, printed, err = call(
        capsys, file(sampler="random"), "--out", out, "--workers", 2, "--json"
    )
    assert code == 0, err
    told = json.loads(printed)
    (directory,) = (out / "tune").iterdir()
    assert told["study"] == str(directory)
    assert {p.name for p in directory.glob("*.*")} >= {
        "best.png", "space.png", "result.json", "trials.csv", "tuned-digits.toml",
    }  # fmt: skip
    with open(directory / "trials.csv", newline="") as f:
        table = list(csv.DictReader(f))
    assert len(table) == 6
    assert all(int(r["weights"]) and int(r["multiply_adds"]) and int(r["bytes"]) for r in table)
    assert all(float(r["ms"]) > 0 for r in table)
    # show says the same from the record
    code, printed, _ = call(capsys, "show", directory.name, "--out", out)
    assert code == 0
    assert "best of k" in printed
    assert json.loads((directory / "result.json").read_text()) == told["networks"]
    # every trial is an ordinary run
    assert main(["verify", *{r["run"] for r in table}, "--out", str(out)]) == 0
    assert capsys.readouterr().err == ""
    # the preset, as a file and as one of the package's: the same stage
    stages = sorted(p.name for p in (out / "stages").iterdir())
    presets = tmp_path / "presets"
    shutil.copytree(options_module.PRESET_FOLDER, presets)
    shutil.copy(directory / "tuned-digits.toml", presets)
    monkeypatch.setattr(options_module, "PRESET_FOLDER", presets)
    monkeypatch.setattr(options_module, "PRESETS", (*options_module.PRESETS, "tuned-digits"))
    for name in (directory / "tuned-digits.toml", "tuned-digits"):
        for network, of in told["networks"].items():
            arguments = ["--preset", str(name), "--algebra", network, "--out", str(out), "--json"]
            assert main(arguments) == 0
            ran = json.loads(capsys.readouterr().out)
            (record,) = ran["trials"][0][network]
            assert record["validation_accuracy"] == of["best"]["validation_accuracy"]
            assert runs.find(ran["run"], str(out)).config.options["lr"] == of["settings"]["lr"]
            assert main(["branch", ran["run"], "--algebra", network, "--control", "shuffled"]) == 0
            capsys.readouterr()
    assert sorted(p.name for p in (out / "stages").iterdir()) == stages
    with pytest.raises(OptionError, match=r"settings of its own .* got both"):
        options_module.resolve({"preset": "tuned-digits", "algebra": "both"})


def test_the_end_tests_the_best_with_seeds_that_chose_nothing(file, tmp_path, capsys):
    out = tmp_path / "out"
    text = FILE.format(sampler="tpe", pruner="none").replace("levels = 0", "levels = 0\nseed = 1")
    assert call(capsys, file(text), "--out", out)[0] == 0
    (directory,) = (out / "tune").iterdir()
    code, printed, err = call(capsys, "final", directory, "--seeds", 3, "--out", out, "--json")
    assert code == 0, err
    told = json.loads(printed)
    assert told == json.loads((directory / "final.json").read_text())
    for of in told["networks"].values():
        assert of["seeds"] == [2, 3, 4]
        assert len(of["test accuracies"]) == 3
        assert of["mean"] == pytest.approx(sum(of["test accuracies"]) / 3)
    assert told["given"] == {}
    wrong = ("--lr", 0.1), ("--algebra", "real"), ("--trials", 2), ("--momentum", 2)
    for given in wrong:
        code, _, err = call(capsys, "final", directory, "--out", out, *given)
        assert (code, err.count("\n")) == (2, 1)
        assert given[0] in err
    assert told == json.loads((directory / "final.json").read_text())
    code, _, err = call(capsys, "final", directory, "--seeds", 2, "--out", out, "--seed", 0)
    assert (code, err.count("\n")) == (2, 1)
    assert "the seeds 1 to 2 follow it, and 1 is that of the study" in err
    assert call(capsys, "final", directory, "--out", out, "--seed-init", 3)[0] == 2
    code, *_ = call(capsys, "final", directory, "--seeds", 1, "--out", out, "--momentum", 0.5)
    assert code == 0
    assert json.loads((directory / "final.json").read_text())["given"] == {"momentum": 0.5}
    (pair,) = told["differences"]
    real, quaternion = (told["networks"][n]["mean"] for n in ("real", "quaternion"))
    assert pair == "quaternion - real"
    assert told["differences"][pair]["mean"] == pytest.approx(quaternion - real)


def test_the_end_is_at_the_level_that_is_asked_for(file, tmp_path, capsys):
    """Other seeds may have gone further on record."""
    out = tmp_path / "out"
    assert call(capsys, file(), "--out", out)[0] == 0
    (directory,) = (out / "tune").iterdir()
    deep = "--levels", 1, "--keep", 0.5
    assert call(capsys, "final", directory, "--seeds", 1, "--out", out, *deep)[0] == 0
    told = json.loads((directory / "final.json").read_text())["networks"]["real"]
    assert told["level"] == 1
    assert call(capsys, "final", directory, "--seeds", 2, "--out", out, "--keep", 0.5)[0] == 0
    dense = json.loads((directory / "final.json").read_text())["networks"]["real"]
    assert dense["level"] == 0
    assert dense["run"] == told["run"]
    assert dense["weights left"] > told["weights left"]
    assert dense["test accuracies"][0] != told["test accuracies"][0]


def test_an_ablation_puts_back_one_setting_at_a_time(file, tmp_path, capsys):
    out = tmp_path / "out"
    text = FILE.replace("{{", "{").replace("}}", "}").replace('"{sampler}"', '"random"')
    text = text.replace('"{pruner}"', '"none"').replace('["he", "xavier"]', '["he"]')
    assert call(capsys, file(text), "--out", out, "--algebra", "real")[0] == 0
    (directory,) = (out / "tune").iterdir()
    code, printed, err = call(capsys, "ablation", directory, "--seeds", 2, "--out", out, "--json")
    assert code == 0, err
    told = json.loads(printed)
    assert told == json.loads((directory / "ablation.json").read_text())
    of = told["networks"]["real"]
    rate, init = of["back"]
    smoke = options_module.resolve({"preset": "smoke"})
    assert (rate["setting"], rate["put back"]) == ("lr", smoke.recipe.lr)
    assert rate["trained"]["settings"] == {"init": "he"}
    assert rate["chosen"] == of["best"]["settings"]["lr"] != smoke.recipe.lr
    less = [
        b - a
        for a, b in zip(
            of["best"]["test accuracies"], rate["trained"]["test accuracies"], strict=True
        )
    ]
    assert rate["difference"]["mean"] == pytest.approx(sum(less) / 2)
    # as it was: nothing to train
    assert init == {"setting": "init", "chosen": "he", "put back": "he"}
    code, printed, _ = call(capsys, "ablation", directory, "--seeds", 2, "--out", out)
    assert code == 0
    assert "init he -> he: the same" in printed


def test_a_study_that_was_damaged_or_edited_is_one_clear_line(file, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(capsys, file(), "--out", out, "--algebra", "real")[0] == 0
    (directory,) = (out / "tune").iterdir()

    def said(name, change):
        path = directory / name
        before = path.read_bytes()
        path.write_bytes(change(before))
        code, _, err = call(capsys, "show", directory, "--out", out)
        path.write_bytes(before)
        assert (code, err.count("\n")) == (2, 1)
        return err

    assert "trials.journal is damaged" in said("trials.journal", lambda b: b[:-40] + b"\n")
    assert "trials.journal is damaged" in said("trials.journal", lambda b: b"\xff\xfe" + b)
    edited = said("space.toml", lambda b: b.replace(b"init = ", b"momentum = [0.5]\n#"))
    assert "momentum" in edited
    assert "study.json is damaged" in said("study.json", lambda b: b.replace(b'"real"', b""))


@pytest.mark.parametrize(
    "change",
    [lambda b: b[: len(b) // 2], lambda b: b"\xff\xfe" + b, lambda b: 5000 * b"x",
     lambda b: b[:20000] + 20000 * b"\xff" + b[40000:]],
    ids=["cut", "shifted", "other", "holed"],
)  # fmt: skip
def test_a_damaged_database_is_one_clear_line(change, file, tmp_path, capsys):
    out = tmp_path / "out"
    how = "--out", out, "--algebra", "real"
    assert call(capsys, file(), *how, "--storage", "sqlite")[0] == 0
    (path,) = (out / "tune").glob("*/trials.sqlite")
    path.write_bytes(change(path.read_bytes()))
    for command in (["show", path.parent, "--out", out], [file(), *how, "--storage", "sqlite"]):
        code, _, err = call(capsys, *command)
        assert (code, err.count("\n")) == (2, 1)
        assert "trials.sqlite is damaged" in err


def test_a_path_beyond_latin_letters_is_read_again():
    text = preset.text("study", {"real": {"dataset": "./pics-\U0001f600", "model": "resnet8"}})
    assert tomllib.loads(text)["dataset"] == "./pics-\U0001f600"


def test_a_preset_of_networks_with_other_models_names_one_for_all():
    common = {"dataset": "digits", "lr": 0.1}
    others = {"real": {"model": "lenet-12"}, "quaternion": {"model": "resnet8", "epochs": 3}}
    text = preset.text("study", {n: common | of for n, of in others.items()})
    told = tomllib.loads(text)
    assert {"dataset", "model", "algebra"} <= told.keys()
    for network, of in others.items():
        assert told | told["algebras"][network] == told | common | of


@pytest.mark.parametrize(("text", "word"), [
    ("dataset = 1 1", "no TOML file"),
    ('dataset = "digits"', "says no dataset, model and algebra"),
])  # fmt: skip
def test_a_preset_file_with_a_fault(tmp_path, text, word):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=word):
        options_module.resolve({"preset": str(path)})
    with pytest.raises(OptionError, match="no TOML file"):
        options_module.resolve({"preset": str(tmp_path / "missing.toml")})
