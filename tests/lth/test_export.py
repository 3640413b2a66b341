"""export, and quatgrad-predict: a network of a run leaves for a device."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import quatgrad
from quatgrad import lth, sparse, use_backend
from quatgrad.errors import DataError, OptionError
from quatgrad.lth.command import exporting, main, ticket_command
from quatgrad.task import Attitude, Padded

NET = """
from quatgrad.nn import Flatten, Linear, QLinear, ReLU, Sequential
def net(algebra, num_classes, input_shape, rng):
    H, W, C = input_shape
    layer = QLinear if algebra == "quaternion" else Linear
    first = layer(H * W * C, 24, rng=rng)
    return Sequential(Flatten(), first, ReLU(), Linear(24, num_classes, rng=rng))
"""


SMALL = {"preset": "smoke", "algebra": "quaternion", "subset": 400, "epochs": 4, "levels": 2}


@pytest.fixture(scope="module")
def digits():
    return quatgrad.data.load("digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return lth.run(**SMALL, out=str(out)).run.path


@pytest.fixture
def pictures(tmp_path, digits):
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        Image.fromarray(digits.test.images[k, :, :, 0]).save(path)
    return [str(path) for path in paths]


def told(capsys, *arguments, main=main):
    with use_backend("numba"):  # the command leaves the backend that it chose
        code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def refused(capsys, *arguments, main=main):
    assert main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 600
    return captured.err


def predicted(capsys, *arguments):
    return told(capsys, *arguments, main=ticket_command.main)


def close(found, expected, bound):
    for a, b in zip(found, expected, strict=True):
        for name, p in a["probabilities"].items():
            assert p == pytest.approx(b["probabilities"][name], abs=bound)


@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
def test_a_ticket_alone_predicts_as_the_run_does(run, pictures, tmp_path, capsys, weights):
    file = tmp_path / "net.ticket"
    how = ("--weights", weights, "--file", file, "--network", "quaternion", "--level", "2")
    found = told(capsys, "export", run, *how)
    assert found["files"] == [str(file)]
    assert found["bytes"] == file.stat().st_size
    assert found["weights_left"] == found["network"]["weights_left"]
    assert (found["accuracy"]["images"], found["accuracy"]["count"]) == ("test", 360)
    assert found["accuracy"]["trained"] == found["network"]["accuracy"]
    assert abs(found["accuracy"]["written"] - found["accuracy"]["trained"]) < 0.02
    here = predicted(capsys, file, *pictures, "--time")
    there = told(capsys, "predict", run, *pictures, "--level", "2")
    assert here["network"] == there["network"]
    assert here["image_ms"] > 0
    assert here["calls"] >= 20
    bound = {"float32": 1e-5, "float16": 1e-2, "int8": 0.1}[weights]
    close(here["images"], there["images"], bound)
    close(here["images"], told(capsys, "predict", file, *pictures)["images"], 1e-5)
    evaluated = told(capsys, "evaluate", file, "--dataset", "digits")
    assert evaluated["accuracy"] == found["accuracy"]["written"]


def test_what_is_printed(run, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), "--level", "1", "--weights", "int8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    name = f"{run.name}-quaternion-level1.ticket"
    assert lines[0].startswith(f"{run.name}, quaternion, level 1: ")
    assert lines[1].startswith(
        f"{name}: {(tmp_path / name).stat().st_size:,} bytes, all included; "
    )
    assert lines[2].startswith("360 test images: ")
    assert " right as trained, " in lines[2]
    assert ticket_command.main([name, *pictures, "--time"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"{pictures[0]}: ")
    assert " ms an image in one thread (median of " in lines[3]
    assert main(["export", name, "--to", "c"]) == 0  # from a file there is nothing to measure with
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert " bytes of flash, and 1 to 2 kB of code; " in lines[1]


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_c_with_images_of_the_run_in_it(run, digits, tmp_path, capsys, weights):
    file = tmp_path / "net.c"
    found = told(capsys, "export", run, "--to", "c", "--weights", weights, "--file", file)
    assert found["files"] == [str(file), str(file.with_suffix(".h"))]
    assert 500 < found["flash"] < 60_000
    assert 0 < found["ram"] < 20_000
    assert abs(found["accuracy"]["written"] - found["accuracy"]["trained"]) < 0.02
    header = file.with_suffix(".h").read_text()
    for line in ("Classes: 0, 1, 2, 3", "then blocks, q[h, w] = x[2h, 2w]", run.name):
        assert line in header
    first = digits.encode(digits.test.images[:1]).ravel()
    source = file.read_text()
    text = source[source.index("images[2 * 64] = {") :].split("\n", 2)[1]
    values = [float(x.rstrip("f")) for x in text.rstrip(",").split(",")]
    assert np.allclose(values, first[: len(values)], rtol=1e-6)


def test_onnx_of_a_run(run, tmp_path, capsys):
    pytest.importorskip("onnx")
    file = tmp_path / "net.onnx"
    sizes = []
    for weights in ("float32", "int8"):
        found = told(capsys, "export", run, "--to", "onnx", "--weights", weights, "--file", file)
        assert abs(found["accuracy"]["written"] - found["accuracy"]["trained"]) < 0.02
        sizes.append(found["bytes"])
        assert found["bytes"] == file.stat().st_size
    assert sizes[1] < 0.5 * sizes[0]


def test_validation_images_judge_where_there_are_any(tmp_path, capsys):
    how = {"preset": "smoke", "subset": 200, "epochs": 1, "levels": 0, "validation": 0.25}
    run = lth.run(**how, algebra="quaternion", out=str(tmp_path / "runs")).run.path
    found = told(capsys, "export", run, "--weights", "int8", "--file", tmp_path / "net")
    assert (found["accuracy"]["images"], found["accuracy"]["count"]) == ("validation", 50)
    assert found["files"] == [str(tmp_path / "net.ticket")]


def test_a_loss_is_a_warning(run, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr(exporting, "POINTS", -100)
    with caplog.at_level(logging.WARNING):
        told(capsys, "export", run, "--weights", "int8", "--file", tmp_path / "net")
    assert any("int8 loses " in m and "more bits" in m for m in caplog.messages)


def test_a_network_without_its_images(run, tmp_path, capsys, caplog, monkeypatch):
    def gone(*_):
        raise DataError("there are no digits")

    monkeypatch.setattr(exporting, "load", gone)
    with caplog.at_level(logging.WARNING):
        found = told(capsys, "export", run, "--to", "c", "--file", tmp_path / "net")
    assert "accuracy" not in found
    assert any("was not measured: there are no digits; say where" in m for m in caplog.messages)


def test_a_task_without_classes_or_boxes_is_exported_and_not_judged(
    run, tmp_path, capsys, caplog, monkeypatch
):
    def load(options, network):
        return replace(_load(options, network), task=Attitude())

    _load = exporting.load
    monkeypatch.setattr(exporting, "load", load)
    with caplog.at_level(logging.WARNING):
        found = told(capsys, "export", run, "--file", tmp_path / "net")
    assert "accuracy" not in found
    assert (tmp_path / "net.ticket").exists()
    assert any("has neither classes nor boxes" in m for m in caplog.messages)


def test_a_network_of_ones_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(NET)
    how = {"preset": "smoke", "subset": 100, "epochs": 1, "levels": 1}
    run = lth.run(**how, algebra="quaternion", model="mine.py:net", out="runs").run.path
    found = told(capsys, "export", run, "--weights", "int8", "--file", "net.ticket")
    assert found["accuracy"]["count"] == 360
    x = np.zeros((8, 8, 1), np.uint8)
    np.save("x.npy", x)
    assert len(predicted(capsys, "net.ticket", "x.npy", "--model", "mine.py:net")["images"]) == 1
    said = refused(capsys, "net.ticket", "x.npy", main=ticket_command.main)
    assert "of your own" in said


def test_arrays_in_files(run, digits, pictures, tmp_path, capsys):
    file, shapes = tmp_path / "net.ticket", ((8, 8), (8, 8, 1))
    told(capsys, "export", run, "--file", file)
    (there,) = predicted(capsys, file, pictures[0])["images"]
    for shape in shapes:
        np.save(tmp_path / "a.npy", digits.test.images[0].reshape(shape))
        (here,) = predicted(capsys, file, tmp_path / "a.npy")["images"]
        assert here["probabilities"] == there["probabilities"]
    net = sparse.load(file)
    encoded = quatgrad.Network(net.model, net.classes, None, net.masks)  # nothing said of pixels
    sparse.save(file, encoded)
    np.save(tmp_path / "a.npy", digits.encode(digits.test.images[:1])[0])
    (here,) = predicted(capsys, file, tmp_path / "a.npy")["images"]
    assert here["class"] == there["class"]
    said = refused(capsys, file, pictures[0], main=ticket_command.main)
    assert "does not say how images are encoded" in said


def test_bad_input(run, pictures, tmp_path, capsys):
    file = tmp_path / "net.ticket"
    told(capsys, "export", run, "--file", file)
    np.save(tmp_path / "small.npy", np.zeros((4, 4), np.uint8))
    np.save(tmp_path / "texts.npy", np.array([["a"]]))
    np.save(tmp_path / "nan.npy", np.full((8, 8), np.nan))
    (tmp_path / "empty.npy").write_bytes(b"")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "arrays.npz").rename(tmp_path / "archive.npy")
    header = (tmp_path / "small.npy").read_bytes().replace(b")", b"(", 1)
    (tmp_path / "header.npy").write_bytes(header)
    (tmp_path / "text.png").write_text("no picture")
    net = tmp_path / "net.safetensors"
    told(capsys, "save", run, net)
    cases = [
        (("none.ticket", pictures[0]), "there is no file none.ticket"),
        ((tmp_path, pictures[0]), "cannot be read"),
        ((net, pictures[0]), "holds a network, and no ticket: quatgrad.load reads it"),
        ((pictures[0], pictures[0]), "is no whole .safetensors file"),
        ((file, tmp_path / "none.png"), "none.png cannot be read"),
        ((file, tmp_path / "text.png"), "is no picture"),
        ((file, tmp_path / "none.npy"), "none.npy cannot be read"),
        ((file, tmp_path / "empty.npy"), "holds no array"),
        ((file, tmp_path / "archive.npy"), "holds no array"),
        ((file, tmp_path / "header.npy"), "holds no array"),
        ((file, tmp_path / "small.npy"), "of shape (4, 4); the network takes (8, 8, 1)"),
        ((file, tmp_path / "texts.npy"), "texts.npy holds <U1: an image is finite real numbers"),
        ((file, tmp_path / "nan.npy"), "nan.npy holds float64: an image is finite"),
    ]
    for arguments, said in cases:
        assert said in refused(capsys, *arguments, main=ticket_command.main), arguments
    file.write_bytes(file.read_bytes()[:-7])
    assert "is no whole" in refused(capsys, file, pictures[0], main=ticket_command.main)
    cases = [
        ((run, "--level", "9"), "--level 9: of the network quaternion"),
        ((run, "--file", "a.npz"), "--file for ticket ends with .ticket; got 'a.npz'"),
        ((run, "--file", "."), "--file is a folder: name a file in it; got '.'"),
        ((run, "--file", f"{tmp_path}/"), "--file is a folder: name a file in it"),
        ((run, "--file", f"{tmp_path}/new/"), "--file is a folder: name a file in it"),
        ((run, "--to", "c", "--file", tmp_path / "a-b.c"), "names a function in C"),
        ((run, "--to", "c", "--weights", "float16"), "C99 has no type for it"),
        ((run, "--file", tmp_path / "none" / "a.ticket"), "cannot write"),
        ((net, "--level", "1"), "holds one network: leave out --level"),
        (("nothing",), "nothing is no run"),
    ]
    for arguments, said in cases:
        assert said in refused(capsys, "export", *arguments), arguments


def test_a_ticket_without_a_plan_predicts_all_the_same(tmp_path, capsys, caplog):
    net = quatgrad.models.create("gru", "real", 3, 2, 4, image_size=(5, 1))
    sparse.save(tmp_path / "net.ticket", quatgrad.Network(net))
    np.save(tmp_path / "x.npy", np.ones((5, 1, 2), np.float32))
    found = predicted(capsys, tmp_path / "net.ticket", tmp_path / "x.npy", "--time")
    assert found["image_ms"] > 0
    assert len(found["images"][0]["probabilities"]) == 3
    assert any("predicts without a plan" in m and "GRU" in m for m in caplog.messages)


def test_a_series_ends_where_its_zeros_begin(tmp_path, capsys):
    """As in training: states of steps after the end do not count."""
    net = quatgrad.models.create("gru", "real", 3, 2, 4, image_size=(9, 1))
    network = quatgrad.Network(net.eval())
    x = np.random.default_rng(0).standard_normal((2, 9, 1, 2)).astype(np.float32)
    x[0, 4:] = 0
    with quatgrad.no_grad():
        z = Padded().output(net, x).numpy().astype(np.float64)
        whole = net(quatgrad.Tensor(x)).numpy()
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-12)
    np.testing.assert_allclose(network.predict(x[:1]), expected[:1], rtol=1e-5)
    assert abs(z[0] - whole[0]).max() > 1e-3
    np.testing.assert_allclose(z[1], whole[1], rtol=1e-5)  # this one has no end


def test_the_name_of_a_run_in_a_file_is_no_folder(run, tmp_path, capsys, monkeypatch):
    file, folder = tmp_path / "net.safetensors", tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    told(capsys, "save", run, file)
    net = quatgrad.load(file)
    for said, name in [
        ({**net.said, "run": str(tmp_path / "there")}, "there-quaternion-level1.ticket"),
        ({**net.said, "run": "../there"}, "there-quaternion-level1.ticket"),
        ({"run": "there"}, "net.ticket"),
    ]:
        replace(net, said=said).save(file)
        assert told(capsys, "export", file)["files"] == [name]
    assert {p.name for p in tmp_path.iterdir()} >= {"here", "net.safetensors"}
    assert not list(tmp_path.glob("there*"))


def test_a_network_has_as_many_names_as_classes(run, pictures, tmp_path, capsys):
    file = tmp_path / "net.ticket"
    told(capsys, "export", run, "--file", file)
    net = sparse.load(file)
    for names in (net.classes[:3], ("a",) * 10):
        sparse.save(file, replace(net, classes=names))
        said = refused(capsys, file, pictures[0], main=ticket_command.main)
        assert "tells 10 classes apart" in said


def test_a_network_of_texts_is_refused_before_anything_is_written(tmp_path):
    text = quatgrad.models.create("gpt", num_classes=9, image_size=(8, 1), in_channels=1, width=16)
    given = {"to": "ticket", "weights": "float32", "run": "x.safetensors",
             "file": str(tmp_path / "x.ticket")}  # fmt: skip
    with pytest.raises(OptionError, match="gpt takes no images"):
        exporting.export(quatgrad.Network(text), given)
    assert not list(tmp_path.iterdir())
