"""The command: what it leaves, what it prints, and one clear line for everything wrong."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from quatgrad.backend import use_backend
from quatgrad.errors import OptionError
from quatgrad.lth.command import cli
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment.options import PRESETS, Options, resolve
from quatgrad.lth.store.stage import read_records

ROOT = Path(__file__).parents[2]
SMOKE = ["--preset", "smoke", "--quiet"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def call(out, capsys):
    """Call the command with smoke's options and others: (exit code, stdout, stderr)."""

    def call(*arguments):
        try:
            code = main([*SMOKE, "--out", str(out), *map(str, arguments)])
        except SystemExit as error:  # argparse ends so
            code = error.code
        return code, *capsys.readouterr()

    return call


def directory_of(out):
    (directory,) = out.glob("*-*-*")
    return directory


def tree(folder):
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() or p.is_symlink()
    )


FILES = [
    "accuracy.png", "accuracy.svg", "comparison.csv", "config.json",
    *(f"trial0/{algebra}/{name}" for algebra in ("quaternion", "real") for name in (
        "level_00", "level_01", "level_02", "levels.csv",
    )),
]  # fmt: skip


def records_of(directory, network):
    return read_records(directory / "trial0" / network)


def contents(directory):
    """The bytes of every file, those of stages too."""
    files = [*directory.rglob("*"), *(directory.parent / "stages").rglob("*")]
    return {p.relative_to(directory.parent): p.read_bytes() for p in files if p.is_file()}


# ---------------------------------------------------------------------------- what it does


def test_a_run_leaves_records_table_and_pictures(call, out):
    code, printed, err = call()
    assert (code, err) == (0, "")
    directory = directory_of(out)
    assert tree(directory) == FILES
    assert (directory / "accuracy.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert b"<svg" in (directory / "accuracy.svg").read_bytes()

    with open(directory / "comparison.csv") as f:
        rows = list(csv.DictReader(f))
    assert [row["level"] for row in rows] == ["0", "1", "2"]
    for algebra in ("real", "quaternion"):
        for row, record in zip(rows, records_of(directory, algebra), strict=True):
            assert float(row[f"{algebra}_accuracy"]) == record.accuracy
            assert int(row[f"{algebra}_weights_left"]) == record.weights_left
            assert f"{record.accuracy:.2%}" in printed
    assert "level |" in printed
    assert "At equal weights: " in printed
    assert printed.count(" s\n") == 6
    assert str(directory / "accuracy.png") in printed


def test_the_second_time_it_answers_from_the_record(call, out, monkeypatch):
    _, first, _ = call()
    before = contents(directory_of(out))
    monkeypatch.setattr("quatgrad.train.batches", lambda *a: pytest.fail("it trains again"))
    code, second, err = call()
    assert (code, err) == (0, "")
    assert second.count("from the record") == 6
    assert first.split("\n\n")[1:] == second.split("\n\n")[1:]  # table, verdict, picture
    assert contents(directory_of(out)) == before


def test_the_other_algebra_and_more_levels_continue_the_same_run(call, out):
    code, printed, _ = call("--algebra", "real", "--levels", 1)
    assert code == 0
    assert "quaternion" not in printed
    code, printed, _ = call()
    assert code == 0
    assert printed.count("from the record") == 2
    assert tree(directory_of(out)) == FILES


def test_fewer_levels_never_delete_those_there_are(call, out):
    call()
    records = records_of(directory_of(out), "real")
    code, printed, _ = call("--levels", 0)
    assert code == 0
    assert printed.count("from the record") == 2
    assert records_of(directory_of(out), "real") == records
    assert call()[1].count("from the record") == 6


def test_trials_have_seeds_of_their_own_and_give_means(call, out):
    code, printed, err = call("--levels", 1, "--trials", 2, "--algebra", "all")
    assert (code, err) == (0, "")
    assert "quaternion, trial 1" in printed
    assert "+-" in printed
    folder = directory_of(out)
    for network in ("real", "quaternion", "equal"):
        first, second = (read_records(folder / f"trial{i}" / network) for i in (0, 1))
        assert first[0].ticket != second[0].ticket
        with open(folder / "comparison.csv") as f:
            row = list(csv.DictReader(f))[1]
        mean = (first[1].accuracy + second[1].accuracy) / 2
        assert float(row[f"{network}_accuracy"]) == pytest.approx(mean)
        half = abs(first[1].accuracy - second[1].accuracy) / 2
        assert float(row[f"{network}_interval"]) == pytest.approx(12.7062 * half, rel=1e-4)
    assert call("--levels", 1, "--algebra", "real")[1].count("from the record") == 2


def test_half_the_width_is_a_quarter_of_the_weights(call, out):
    call("--levels", 0, "--algebra", "real,quaternion,half", "--model", "resnet8", "--width", 16)
    folder = directory_of(out) / "trial0"
    weights = {p.name: read_records(p)[0].weights_total for p in folder.iterdir()}
    assert weights["half"] == pytest.approx(weights["real"] / 4, rel=0.02)
    assert weights["quaternion"] == pytest.approx(weights["real"] / 4, rel=0.03)


def test_records_say_what_a_pruned_network_costs(call, out):
    call("--levels", 1)
    for network, factor in (("real", 1), ("quaternion", 4)):
        for r in read_records(directory_of(out) / "trial0" / network):
            costs = r.costs
            assert costs.weights == r.weights_left
            assert costs.weights < costs.parameters
            assert costs.weights <= costs.multiply_adds <= factor * costs.weights
            assert costs.bytes < 4 * costs.parameters + r.weights_total / 8 + 1


def test_the_first_invocation_is_on_record(call, out):
    call("--levels", 0, "--lr", 0.05)
    first = json.loads((directory_of(out) / "config.json").read_text())["first run as"]
    assert first["preset"] == "smoke"
    assert first["overrides"] == {"levels": 0, "lr": 0.05, "quiet": True, "out": str(out)}


def test_dense_networks_alone(call):
    code, printed, err = call("--levels", 0)
    assert (code, err) == (0, "")
    assert "100.00" in printed


def test_a_picture_where_it_is_wanted(call, out, tmp_path):
    picture = tmp_path / "new" / "folder" / "mine.SVG"
    assert call("--levels", 0, "--plot", picture)[0] == 0
    assert picture.read_bytes() == (directory_of(out) / "accuracy.svg").read_bytes()


def test_numpy_and_numba_share_a_run(call, out):
    with use_backend("numpy"):
        assert call("--levels", 0, "--backend", "numpy")[0] == 0
    code, printed, _ = call("--levels", 0)
    assert code == 0
    assert printed.count("from the record") == 2


OTHERS = [
    ("--dataset", "digits"), ("--data-dir", "x"), ("--algebra", "real"), ("--levels", "1"),
    ("--stop-accuracy", "0.3"), ("--backend", "numba"), ("--plot", "x.png"), ("--quiet",),
    ("--trials", "3"), ("--control", "signs"), ("--scope", "layer"),
    ("--method", "lth"), ("--log", "csv"), ("--sync-norm", "--processes", "2"),
    ("--processes", "2"),
    ("--parallel", "mpi"),
]  # fmt: skip
CHANGES = [
    ("--subset", "100"), ("--encoder", "blocks"), ("--model", "conv-2"), ("--width", "24"),
    ("--init", "xavier"), ("--epochs", "1"), ("--batch-size", "40"), ("--lr", "0.05"),
    ("--schedule", "constant"), ("--warmup", "1"), ("--optimizer", "adam"), ("--momentum", "0.5"),
    ("--weight-decay", "0.1"), ("--seed", "1"), ("--keep", "0.7"), ("--real-encoder", "rgb"),
    ("--statistics", "paper"), ("--real-head",), ("--scope", "global"), ("--rewind", "weights"),
    ("--score", "random"), ("--granularity", "quaternion"), ("--precision", "tf32"),
    ("--masks", "finetuned"), ("--optimizer-state", "kept"), ("--rewind-epoch", "1"),
    ("--exclude", "5"), ("--keep-of", "5=0.9"), ("--prune-from", "dense"), ("--rounds", "2"),
    ("--rate", "last"), ("--order", "fresh"), ("--seed-init", "1"), ("--seed-order", "1"),
    ("--seed-augment", "1"), ("--seed-prune", "0"), ("--validation", "0.1"),
    ("--image-size", "9"), ("--test-share", "0.3"),
    ("--decay-of", "weights"), ("--quaternion-lr", "0.5"), ("--quaternion-decay", "0.5"),
    ("--label-smoothing", "0.1"), ("--real-parts", "layer1"), ("--norm", "variance"),
    ("--activation", "gelu"), ("--dropout", "0.1"), ("--beta1", "0.8"), ("--beta2", "0.99"),
    ("--clip", "1"),
]  # fmt: skip


def key(*arguments):
    given = vars(cli.parser().parse_args([*SMOKE, *arguments]))
    return json.dumps(resolve(given).config("digest of the data"), sort_keys=True)


@pytest.mark.parametrize("arguments", CHANGES, ids=" ".join)
def test_what_changes_the_numbers_names_another_run(arguments):
    assert key(*arguments) != key()


@pytest.mark.parametrize("arguments", OTHERS, ids=" ".join)
def test_what_does_not_change_them_does_not(arguments):
    assert key(*arguments) == key()


def test_every_option_is_in_one_of_these_lists():
    options = {a.option_strings[-1] for a in cli.parser()._actions}
    listed = {arguments[0] for arguments in CHANGES + OTHERS}
    assert options - listed == {"--help", "--version", "--preset", "--out"}


def test_other_images_name_another_run():
    options = resolve({"preset": "smoke"})
    assert options.config("these") != options.config("those")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_complete_and_give_way_to_what_is_given(name):
    options = resolve({"preset": name})
    assert isinstance(options, Options)
    assert resolve({"preset": name, "lr": 0.5}).recipe.lr == 0.5


def test_the_preset_of_a_dataset():
    assert resolve({}).preset == "digits"
    assert resolve({"dataset": "cifar10"}).preset == "cifar"
    assert resolve({"dataset": "cifar10"}).data.dataset == "cifar10"


def test_help_mentions_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for action in cli.parser()._actions:
        assert action.option_strings[-1] in shown
        assert action.help
    assert max(map(len, shown.splitlines())) <= 100


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("quatgrad ")


# ---------------------------------------------------------------------------- what is wrong


def assert_one_clear_line(result, *words):
    code, _, err = result
    assert code == 2, err
    assert err.startswith("quatgrad-lth: error: "), err
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert len(err) < 600
    assert "Traceback" not in err
    for word in words:
        assert word in err


HUGE, LONG = "9" * 25, "a" * 300
BAD = [
    ("--dataset mnits", "unknown dataset 'mnits'", "digits"),
    ("--dataset cifar1000", "did you mean 'cifar100'?"),
    ("--model resnet_18", "did you mean 'resnet18'?"),
    ("--model vgg", "unknown model 'vgg'", "lenet-300-100"),
    ("--preset paper2", "unknown preset 'paper2'", "smoke"),
    ("--encoder rgba", "--encoder", "'rgba'", "rgb_gray"),
    ("--encoder rgb_gray", "colour images"),
    ("--encoder learned", "colour images"),
    ("--backend torch", "--backend", "'torch'", "numba"),
    ("--algebra octonion", "unknown algebra 'octonion'", "quaternion"),
    ("--algebra real,quaternion,halv", "did you mean 'half'?"),
    ("--algebra real,", "unknown algebra ''"),
    ("--schedule linear", "--schedule", "'linear'", "cosine"),
    ("--optimizer lion", "--optimizer", "'lion'", "adam"),
    ("--init zero", "--init", "'zero'", "he"),
    ("--keep 1.5", "--keep", "1.5"),
    ("--keep 1", "--keep", "1.0"),
    ("--keep 0", "--keep", "0.0"),
    ("--keep nan", "--keep", "nan"),
    ("--levels -1", "--levels", "-1"),
    ("--levels two", "--levels", "'two'"),
    ("--levels 1.5", "--levels", "'1.5'"),
    ("--stop-accuracy 2", "--stop-accuracy", "2.0"),
    ("--epochs 0", "--epochs", "0"),
    ("--epochs -3", "epochs", "-3"),
    ("--batch-size 0", "--batch-size", "0"),
    ("--lr 0", "lr", "0.0"),
    ("--lr -1", "lr", "-1.0"),
    ("--lr nan", "lr", "nan"),
    ("--lr inf", "lr", "inf"),
    ("--lr fast", "--lr", "'fast'"),
    ("--warmup -1", "warmup", "-1.0"),
    ("--warmup nan", "--warmup", "nan"),
    ("--warmup inf", "warmup", "inf"),
    ("--momentum 1.5", "momentum", "1.5"),
    ("--momentum nan", "momentum", "nan"),
    ("--weight-decay -1", "--weight-decay", "-1.0"),
    ("--weight-decay nan", "--weight-decay", "nan"),
    ("--width 0", "--width", "0"),
    ("--width 18", "multiple of 4", "18"),
    ("--width wide", "--width", "'wide'"),
    ("--subset 9", "subset of 9", "10 (one for each class)"),
    ("--subset 2000", "subset of 2000", "1437"),
    ("--subset -1", "subset of -1"),
    ("--model conv-6", "conv-6", "too small"),
    ("--seed x", "--seed", "'x'"),
    ("--trials 0", "--trials", "0"),
    ("--score size", "--score", "'size'", "movement"),
    ("--granularity row", "--granularity", "'row'", "pooled"),
    ("--exclude had", "--exclude", "'had'", "1.weight"),
    ("--keep-of head", "--keep-of", "'head'", "NAME=SHARE"),
    ("--rewind-epoch 2", "--rewind-epoch 2", "2 epochs"),
    ("--rate last", "--rate last", "cosine", "--schedule step"),
    ("--prune-from end", "--prune-from", "'end'", "dense"),
    ("--scope block", "--scope", "'block'", "global"),
    ("--rewind late", "--rewind", "'late'", "weights"),
    ("--masks random", "--masks", "'random'", "finetuned"),
    ("--precision float16", "--precision", "'float16'", "bf16"),
    ("--control luck", "--control", "'luck'", "shuffled"),
    ("--rewind-epoch -1", "--rewind-epoch", "-1"),
    ("--optimizer-state gone", "--optimizer-state", "'gone'", "kept"),
    ("--statistics paper", "statistics 'paper'", "colour images"),
    ("--real-encoder rgb", "'rgb'", "does not fit"),
    ("--plot a.pdf", "--plot", "a.pdf", ".png"),
    ("--plot a", "--plot", ".svg"),
    ("--epohcs 3", "--epohcs", "did you mean '--epochs'?", "--help lists the options"),
    ("digits", "unrecognized arguments: digits", "--help lists the options"),
    ("--levels", "--levels", "expected one argument"),
    (f"--levels {HUGE}", "--levels is a number from 0 to 100000"),
    (f"--trials {HUGE}", "--trials is a number from 1 to 10000"),
    (f"--rounds {HUGE}", "--rounds", HUGE),
    (f"--width {HUGE}", "--width", HUGE),
    (f"--epochs {HUGE * 20}", "--epochs", "99 ... 99"),
    (f"--epochs {HUGE * 200}", "--epochs", "99 ... 99"),
    (f"--batch-size {HUGE}", "--batch-size", HUGE),
    (f"--rewind-epoch {HUGE}", "--rewind-epoch", HUGE),
    (f"--subset {HUGE}", "subset of 99", "1437"),
    (f"--seed {HUGE}", "--seed is a number from 0 to"),
    ("--seed -1", "--seed is a number from 0 to"),
    ("--seed-order -3", "--seed-order is a number from 0 to"),
    ("--width 2", "a LeNet of width 2"),
    ("--width 4 --algebra half", "a LeNet of width 2"),
    ("--width 1 --algebra half", "number of channels", "got 0"),
    ("--method snip --rewind none", "--prune-from start", "--rewind none"),
    ("--method synflow --rewind none", "--prune-from start", "--rewind none"),
    ("--control signz", "did you mean 'signs'?"),
    (f"--plot {LONG}.png", "File name too long"),
    (f"--plot {LONG}/a.png", "File name too long"),
    (f"--out {LONG}", "File name too long"),
    (f"--dataset cifar10 --data-dir {LONG}", "File name too long"),
    ("--epohcs=3", "did you mean '--epochs'?"),
    ("--no-such-thing-at-all 3", "--no-such-thing-at-all"),
    ("--algebra quaternoin", "did you mean 'quaternion'?"),
    ("--dataset cifar10 --data-dir /nowhere", "/nowhere/cifar-10-batches-py lacks", "--data-dir"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), [(a, w) for a, *w in BAD], ids=[b[0][:40] for b in BAD]
)
def test_a_wrong_option_is_one_clear_line_and_nothing_is_written(call, out, arguments, words):
    assert_one_clear_line(call(*arguments.split()), *words)
    assert not out.exists()


@pytest.mark.parametrize(("arguments", "words"), [
    ("shwo x", "unknown command 'shwo': did you mean 'show'?"),
    ("plot2 x", "unknown command 'plot2': did you mean 'plot'?"),
    ("digits", "unknown command 'digits': choose one of run, plan"),
    ("show " + LONG, "is no run"),
    ("list --out " + LONG, "File name too long"),
    ("gc --out " + LONG, "File name too long"),
    ("verify x --otu y", "did you mean '--out'?"),
    ("analyse x --conectivity 1", "did you mean '--connectivity'?"),
])  # fmt: skip
def test_other_commands_that_are_misspelt_or_name_too_much(capsys, arguments, words):
    try:
        code = main(arguments.split())
    except SystemExit as error:
        code = error.code
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert len(err) < 600


@pytest.mark.skipif(os.name != "posix" or not os.getuid(), reason="nobody can take root's rights")
@pytest.mark.parametrize("arguments", ["list", "gc", "show x", "verify x", "compare x y"])
def test_an_out_that_cannot_be_read(capsys, tmp_path, arguments):
    (tmp_path / "secret").mkdir(mode=0)
    code = main([*arguments.split(), "--out", str(tmp_path / "secret")])
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert "Permission denied" in err


@pytest.mark.parametrize("arguments", ["list", "gc", "show x", "verify x", "compare x y"])
def test_an_out_that_a_broken_disk_cannot_read(capsys, tmp_path, monkeypatch, arguments):
    def broken(path, *args, **kwargs):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(os, "listdir", broken)
    monkeypatch.setattr(
        Path,
        "stat",
        lambda path, **how: broken(path) if tmp_path in path.parents else os.stat(path, **how),
    )
    code = main([*arguments.split(), "--out", str(tmp_path)])
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert "Input/output error" in err


def test_a_batch_of_all_the_data_is_remarked(call):
    for size, remarked in ((41, True), (40, True), (39, False)):
        how = ("--levels", 0, "--subset", 40, "--batch-size", size, "--epochs", 1)
        code, printed, err = call(*how)
        assert (code, err) == (0, "")
        assert (
            f"A batch of {size} takes them all: an epoch is one step; a sm" in printed
        ) is remarked


def test_a_pattern_that_matches_two_runs_is_said(call, out, capsys):
    runs = []
    for width in (8, 12):
        call("--levels", 0, "--epochs", 1, "--width", width, "--algebra", "real")
        runs += [p for p in out.glob("digits-*") if p not in runs]
    for verb, *more in (["show"], ["report"], ["predict", "new.png"], ["save", "x.safetensors"]):
        assert main([verb, *map(str, runs), *more]) == 2
        assert f"{verb} takes one run, and here are 2: {runs[0]}" in capsys.readouterr().err


def test_a_width_that_only_the_real_network_can_have(call):
    assert call("--width", 18, "--levels", 0, "--algebra", "real")[0] == 0


def test_no_gpu(call, out):
    from quatgrad.errors import BackendError
    from quatgrad.kernels.cupy_gpu.device import require_gpu

    try:
        require_gpu()
    except BackendError:
        assert_one_clear_line(call("--backend", "cupy"), "backend cupy", "--backend numba")
        assert not out.exists()
    else:
        pytest.skip("there is a GPU")


def test_cifar_files_that_are_damaged(call, out, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "data")
    from cifar_files import make_files

    from quatgrad.data.cifar import LAYOUTS

    folder = make_files(tmp_path, LAYOUTS["cifar10"])
    file = folder / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-500])
    cifar = ("--dataset", "cifar10", "--data-dir", tmp_path, "--subset", 20)
    assert_one_clear_line(call(*cifar), str(file))
    file.unlink()
    assert_one_clear_line(call(*cifar), "lacks data_batch_3")
    assert not out.exists()
    assert_one_clear_line(call(*cifar, "--encoder", "blocks"), "blocks")
    assert_one_clear_line(call(*cifar, "--encoder", "rgb"))
    assert not out.exists()


def test_cifar_files_that_are_right(call, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "data")
    from cifar_files import make_files

    from quatgrad.data.cifar import LAYOUTS

    make_files(tmp_path, LAYOUTS["cifar10"])
    cifar = ("--dataset", "cifar10", "--data-dir", tmp_path, "--subset", 20, "--levels", 0)
    for more in ((), ("--encoder", "learned"), ("--encoder", "zero_real")):
        code, _, err = call(*cifar, *more)
        assert code == 0
        assert all("not in the official files of cifar10" in line for line in err.splitlines())


def test_an_out_that_cannot_be_written(call, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert_one_clear_line(call("--out", tmp_path / "file"), "cannot write to", "--out")
    assert_one_clear_line(call("--out", tmp_path / "file" / "x"), "cannot write to", "--out")
    if os.path.isdir("/proc/self"):
        assert_one_clear_line(call("--out", "/proc/nowhere"), "cannot write to /proc/nowhere")
    assert tree(tmp_path) == ["file"]


def test_a_picture_that_cannot_be_written_is_told_before_training(call, out, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert_one_clear_line(call("--plot", tmp_path / "file" / "a.png"), "cannot write to", "--plot")
    assert_one_clear_line(call("--plot", tmp_path / "folder.png"), "--plot names")
    if os.path.isdir("/proc/self"):
        assert_one_clear_line(call("--plot", "/proc/nowhere/a.svg"), "/proc/nowhere", "--plot")
    assert not out.exists()


def test_a_training_that_diverges(call):
    assert_one_clear_line(call("--lr", "1e10"), "training diverged", "smaller --lr")


def test_a_configuration_edited_by_hand(call, out):
    call("--levels", 0)
    path = directory_of(out) / "config.json"
    text = path.read_text()
    path.write_text(text.replace('"epochs": 2', '"epochs": 3'))
    assert_one_clear_line(call(), str(path), "changed by hand")
    path.write_text(text[:-10])
    assert_one_clear_line(call(), str(path), "damaged")


def test_a_record_edited_by_hand(call, out):
    call("--levels", 0)
    path = directory_of(out) / "trial0" / "real" / "level_00" / "record.json"
    path.write_text(path.read_text().replace('"accuracy": 0.', '"accuracy": 0.9', 1))
    assert_one_clear_line(call(), str(path.resolve()), "damaged")


def test_a_disk_that_is_full(call, monkeypatch):
    import errno

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert_one_clear_line(call(), "No space left on device", "run the same command to go on")


def test_not_enough_memory(call, monkeypatch):
    def hungry(*args, **kwargs):
        raise MemoryError("Unable to allocate 2.43 TiB")

    monkeypatch.setattr("quatgrad.lth.experiment.experiment.create", hungry)
    assert_one_clear_line(call(), "out of memory", "2.43 TiB", "--batch-size")


def test_an_interrupt_is_one_line_and_130(call, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("quatgrad.train.evaluate", interrupt)
    code, _, err = call()
    assert code == 130
    assert err == "interrupted; the same command goes on from the last checkpoint\n"
    monkeypatch.undo()
    assert call()[0] == 0


# ---------------------------------------------------------------------------- as a process


def process(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "experiments" / "lth.py", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_as_a_process_it_runs_without_a_word_on_stderr(out):
    """No --quiet: bars are for terminals."""
    ended = process("--preset", "smoke", "--out", out)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "level |" in ended.stdout
    assert tree(directory_of(out)) == FILES


def test_as_a_process_it_diverges_in_one_line(out):
    """NumPy's warnings would stand before it."""
    ended = process("--preset", "smoke", "--out", out, "--lr", "1e10")
    assert_one_clear_line((ended.returncode, ended.stdout, ended.stderr), "training diverged")


def test_numbers_in_messages_are_those_given():
    with pytest.raises(OptionError, match=r"got 1\.5"):
        resolve({"preset": "smoke", "keep": 1.5})
