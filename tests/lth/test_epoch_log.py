"""The epochs of a level for other programs."""

import csv

import pytest

from quatgrad import lth
from quatgrad.errors import OptionError
from quatgrad.lth.command import main
from quatgrad.lth.experiment import verify
from quatgrad.lth.store import epoch_log
from quatgrad.lth.store.stage import read_records

TINY = {"preset": "smoke", "width": 12, "levels": 1, "epochs": 3, "subset": 100, "algebra": "real"}


def test_a_table_for_each_level(tmp_path):
    run = lth.run(**TINY, log=("csv",), out=str(tmp_path)).run
    search = run.search_path(0, "real")
    for level, record in enumerate(read_records(search)):
        with open(search / f"epochs_{level:02d}.csv") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
        for row, epoch in zip(rows, record.epochs, strict=True):
            assert float(row["train_loss"]) == epoch.train_loss
            assert float(row["test_accuracy"]) == epoch.test_accuracy
            assert "validation_loss" not in row
    assert verify.verify(run)["wrong"] == []


def test_nothing_of_the_run_changes(tmp_path):
    plain = lth.run(**TINY, out=str(tmp_path / "a")).run
    logged = lth.run(**TINY, log=("csv",), out=str(tmp_path / "b")).run
    assert plain.path.name == logged.path.name
    ends = [[r.end for r in read_records(run.search_path(0, "real"))] for run in (plain, logged)]
    assert ends[0] == ends[1]


def test_the_first_pass_has_tables_of_its_own(tmp_path):
    run = lth.run(**TINY, mask_source="finetuned", log=("csv",), out=str(tmp_path)).run
    search = run.search_path(0, "real")
    assert (search / "finetuned" / "epochs_01.csv").exists()
    assert (search / "epochs_01.csv").exists()


def test_tensorboard_reads_every_epoch_once(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    run = lth.run(**TINY, log=("tensorboard",), out=str(tmp_path)).run
    epochs = read_records(run.search_path(0, "real"))[1].epochs
    found = {}
    for path in sorted((run.path / "tensorboard" / "trial0-real-level_01").iterdir()):
        for record in records(path.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    assert set(found["train_loss"]) == {1, 2, 3}
    for n, epoch in enumerate(epochs, 1):
        assert found["test_accuracy"][n] == pytest.approx(epoch.test_accuracy)
        assert found["train_loss"][n] == pytest.approx(epoch.train_loss)


def records(content):
    """The records of an event file: length (8 bytes), its checksum (4), content, checksum (4)."""
    while content:
        n = int.from_bytes(content[:8], "little")
        yield content[12 : 12 + n]
        content = content[16 + n :]


def test_the_library_is_not_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(OptionError, match="needs tensorboardX: pip install"):
        epoch_log.check_tensorboard()
    assert main(["--preset", "smoke", "--log", "tensorboard", "--out", str(tmp_path / "r")]) == 2
    assert "--log tensorboard needs tensorboardX" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
