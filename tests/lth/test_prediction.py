"""predict, evaluate, save: what a run has trained is used."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import quatgrad
from quatgrad import lth, no_grad, use_backend
from quatgrad.errors import DataError, OptionError
from quatgrad.lth.command import main
from quatgrad.lth.command.prediction import predict
from quatgrad.lth.experiment.trained import trained
from quatgrad.lth.results.confusion import Confusion, confusion
from quatgrad.lth.results.run import Run


@pytest.fixture(scope="module")
def digits():
    return quatgrad.data.load("digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return lth.run(preset="smoke", epochs=4, subset=None, levels=2, out=str(out)).run.path


@pytest.fixture
def pictures(tmp_path, digits):
    paths = [tmp_path / f"{k}.png" for k in range(5)]
    for k, path in enumerate(paths):
        Image.fromarray(digits.test.images[k, :, :, 0]).save(path)
    return [str(path) for path in paths]


def told(capsys, *arguments):
    with use_backend("numba"):  # the command leaves the backend that it chose
        code = main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def refused(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


def test_predict_says_what_the_network_says(run, pictures, digits, capsys):
    found = told(capsys, "predict", str(run), "--network", "real", "--level", "1", *pictures)
    net = lth.Result(lth.experiment.result.Run(run)).network(1, "real")
    for image, p in zip(found["images"], net.predict(digits.test.images[:5]), strict=True):
        assert image["class"] == digits.class_names[p.argmax()]
        assert [image["probabilities"][c] for c in digits.class_names] == p.tolist()
    assert found["network"]["level"] == 1
    assert main(["predict", str(run), *pictures]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{run.name}, quaternion, level ")
    assert len(lines) == 6
    assert lines[1].startswith(f"{pictures[0]}: ")
    assert lines[1].count("%") == 3


def test_pictures_of_another_size_or_colour_are_made_to_fit_and_said(run, tmp_path, capsys):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 17, (20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    assert len(told(capsys, "predict", str(run), str(tmp_path / "a.png"))["images"]) == 1


def test_a_picture_in_other_units_is_said(run, pictures, tmp_path, digits, capsys, caplog):
    Image.fromarray(digits.test.images[0, :, :, 0] * np.uint8(15)).save(tmp_path / "bright.png")
    told(capsys, "predict", str(run), *pictures)
    assert not caplog.records
    told(capsys, "predict", str(run), str(tmp_path / "bright.png"))
    assert "pixels up to 2" in caplog.text
    assert "has it the same units?" in caplog.text


def test_a_network_in_a_file_of_its_own(run, pictures, tmp_path, capsys):
    path = str(tmp_path / "net.safetensors")
    saved = told(capsys, "save", str(run), path, "--level", "2", "--network", "real")
    assert saved["network"]["level"] == 2
    there = told(capsys, "predict", str(run), "--level", "2", "--network", "real", *pictures)
    for backend in ("numba", "numpy"):
        here = told(capsys, "predict", path, *pictures, "--backend", backend)
        assert here["network"] == there["network"]
        for a, b in zip(here["images"], there["images"], strict=True):
            assert a["class"] == b["class"]
            for name, p in a["probabilities"].items():
                assert p == pytest.approx(b["probabilities"][name], abs=1e-5)


def test_evaluate_gives_the_accuracy_on_record(run, tmp_path, capsys):
    for network in ("real", "quaternion"):
        picture = tmp_path / f"{network}.png"
        how = "--network", network, "--level", "1", "--plot", str(picture)
        found = told(capsys, "evaluate", str(run), "--dataset", "digits", *how)
        assert found["accuracy"] == found["network"]["accuracy"]
        counts = np.array(found["counts"])
        assert counts.sum() == found["images"] == 360
        assert (counts.sum(axis=1) == 36).all()
        low, high = found["interval"]
        assert low < found["accuracy"] < high
        assert picture.stat().st_size > 1000
    assert main(["evaluate", str(run), "--dataset", "digits"]) == 0
    assert "are taken for" in capsys.readouterr().out


def test_the_matrix_of_a_network_that_is_known(digits):
    class Always:
        classes = ("a", "b", "c")

        def predict(self, images):
            return np.eye(3)[images[:, 0, 0, 0]]

    images = np.array([0, 0, 1, 2, 2, 2], np.uint8).reshape(6, 1, 1, 1)
    found = confusion(Always(), images, np.array([0, 1, 1, 0, 1, 1]), ("c", "a"))
    assert found.counts.tolist() == [[2 - 1, 1, 2], [0, 0, 0], [1, 0, 1]]
    assert found.accuracy == 2 / 6
    with pytest.raises(DataError, match="does not know the class 'd': its classes are a, b, c"):
        confusion(Always(), images, np.zeros(6, int), ("d",))
    with pytest.raises(DataError, match="no images"):
        confusion(Always(), images[:0], np.zeros(0, int), ("a",))


def test_the_worst_mistakes_are_named():
    found = Confusion(np.array([[8, 2, 0], [0, 10, 0], [1, 4, 5]]), ("cat", "dog", "old cow"))
    lines = found.text().splitlines()
    assert lines[0].startswith("76.67% of 30 images are right (95 % interval ")
    assert lines[1:] == [
        "  4 of 10 'old cow' are taken for 'dog'",
        "  2 of 10 'cat' are taken for 'dog'",
        "  1 of 10 'old cow' are taken for 'cat'",
    ]


def test_bad_input(run, pictures, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    net = tmp_path / "net.safetensors"
    told(capsys, "save", str(run), str(net))
    cases = [
        (("predict", run, tmp_path / "none.png"), "none.png cannot be read"),
        (("predict", run, tmp_path / "text.png"), "is no picture"),
        (("predict", run, pictures[0], "--level", "9"), "--level 9: of the network quaternion"),
        (("predict", run, pictures[0], "--trial", "4"), "in trial 4; there is trial 0: real, q"),
        (("predict", run, pictures[0], "--network", "half"), "no finished level of the network h"),
        (("predict", tmp_path / "no.safetensors", pictures[0]), "there is no file"),
        (("predict", net, pictures[0], "--level", "1"), "holds one network: leave out --level"),
        (("predict", "nothing", pictures[0]), "nothing is no run"),
        (("save", run, tmp_path / "net.npz"), "is saved as a .safetensors file"),
        (("save", run, tmp_path / "none" / "net.safetensors"), "cannot write"),
        (("evaluate", run, "--dataset", "digit"), "did you mean 'digits'"),
        (("evaluate", run, "--dataset", "digits", "--plot", tmp_path / "a.gif"), ".png or .svg"),
    ]
    for arguments, said in cases:
        assert said in refused(capsys, *arguments), arguments
    net.write_bytes(net.read_bytes()[:-7])
    assert "is no whole .safetensors file" in refused(capsys, "predict", net, pictures[0])


def test_a_picture_that_would_fill_the_memory(run, tmp_path, capsys):
    Image.new("1", (30_000, 30_000)).save(tmp_path / "huge.png")
    assert "at most 50 million pixels" in refused(capsys, "predict", run, tmp_path / "huge.png")


def test_a_network_whose_encoding_nobody_knows(run):
    net = lth.Result(lth.experiment.result.Run(run)).network()
    with pytest.raises(OptionError, match="does not say how images are encoded"):
        predict(replace(net, encoding=None), ["a.png"])


# ----------------------------------------------------------------------------- texts go on


@pytest.fixture(scope="module")
def of_text(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    how = ["--dataset", "citizens", "--width", "16", "--epochs", "1", "--rewind-epoch", "0",
           "--algebra", "quaternion", "--subset", "40", "--levels", "1", "--keep", "0.3",
           "--out", str(out)]  # fmt: skip
    assert main(how) == 0
    (path,) = out.glob("citizens-gpt-*")
    return path


def test_a_gpt_continues_a_text_before_and_after_pruning(of_text, tmp_path, capsys):
    how = ["--text", "Citizen:\n", "--length", "70"]  # more than it sees at once
    dense, pruned = (
        told(capsys, "predict", str(of_text), "--level", n, *how)["text"] for n in "01"
    )
    assert len(dense) == len(pruned) == len("Citizen:\n") + 70
    assert dense.startswith("Citizen:\n")
    assert dense != pruned
    file = str(tmp_path / "net.safetensors")
    assert main(["save", str(of_text), file, "--level", "0"]) == 0
    capsys.readouterr()
    assert told(capsys, "predict", file, *how)["text"] == dense
    assert told(capsys, "predict", file, *how, "--seed", "1")["text"] != dense
    assert main(["predict", file, *how]) == 0
    title, shown = capsys.readouterr().out.split("\n\n", 1)
    assert "quaternion, level 0" in title
    assert shown == f"{dense}\n"


def test_a_low_temperature_takes_the_most_probable_character(of_text):
    net = trained(Run(of_text), level=0)
    text = "The gods"
    for character in net.write(text, 5, temperature=1e-9)[len(text) :]:
        tokens = np.array([[net.classes.index(c) for c in text]])
        with no_grad():
            logits = net.model(tokens).numpy()[0, -1]
        assert character == net.classes[logits.argmax()]
        text += character
    assert net.write("The gods", 0) == "The gods"


def test_characters_are_drawn_as_often_as_the_softmax_says(of_text):
    net = trained(Run(of_text), level=0)
    rng, T = np.random.default_rng(0), 0.5
    drawn = [net.write("The", 1, T, rng)[-1] for _ in range(400)]
    with no_grad():
        z = net.model(np.array([[net.classes.index(c) for c in "The"]])).numpy()[0, -1] / T
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    counts = np.array([drawn.count(c) for c in net.classes])
    often = p > 0.02
    assert often.any()
    assert (abs(counts - 400 * p) < 5 * np.sqrt(400 * p) + 1)[often].all()


def test_what_cannot_be_continued_is_said(of_text, run, pictures, capsys):
    assert "no '€'" in refused(capsys, "predict", of_text, "--text", "ten €")
    assert "empty" in refused(capsys, "predict", of_text, "--text", "")
    assert "--text" in refused(capsys, "predict", of_text)
    assert "no pictures" in refused(capsys, "predict", of_text, "--text", "A", pictures[0])
    assert "--text is for a GPT" in refused(capsys, "predict", run, "--text", "A")
    assert "--seed is for a GPT" in refused(capsys, "predict", run, pictures[0], "--seed", "3")
    assert "name the pictures" in refused(capsys, "predict", run)
    for wrong in (["--temperature", "0"], ["--temperature", "nan"], ["--length", "-1"]):
        assert wrong[1] in refused(capsys, "predict", of_text, "--text", "A", *wrong)
    with pytest.raises(OptionError, match="only a GPT"):
        trained(Run(run), level=0).write("A", 1)
