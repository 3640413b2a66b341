"""Data of one's own on the command line: runs that name it, and go on."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import quatgrad
from quatgrad.lth import command

SMALL = ["--model", "lenet-12", "--levels", "1", "--epochs", "1", "--batch-size", "8", "--quiet"]


def make_pictures(root, size=8):
    rng = np.random.default_rng(0)
    for k, label in enumerate(("a b", "grün", "c")):
        (root / label).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 100, (size, size, 3), dtype=np.uint8)
            pixels[..., k] += 100
            Image.fromarray(pixels).save(root / label / f"{i}.png")


def run(*given):
    return command.main(["--out", "runs", *SMALL, *given])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_on_pictures_is_recorded_and_goes_on(here, capsys):
    make_pictures(here / "my pics")
    assert run("--dataset", "./my pics") == 0
    assert "my pics: 24 training, 6 test images" in capsys.readouterr().out
    (folder,) = (here / "runs").glob("my-pics-lenet-12-*")
    config = json.loads((folder / "config.json").read_text())
    assert config["classes"] == 3
    assert config["options"]["dataset"] == "./my pics"
    assert len(config["options"]["data"]) == 16
    assert run("--dataset", "./my pics") == 0
    assert "from the record" in capsys.readouterr().out
    assert command.main(["verify", folder.name, "--out", "runs"]) == 0


def test_what_was_trained_is_used_on_pictures_of_another_size(here, capsys):
    make_pictures(here / "pics")
    assert run("--dataset", "pics/", "--epochs", "8", "--algebra", "quaternion") == 0
    make_pictures(here / "new" / "train", size=16)
    make_pictures(here / "new" / "test", size=16)
    (name,) = (path.name for path in (here / "runs").glob("pics-lenet-12-*"))
    capsys.readouterr()
    assert command.main(["evaluate", name, "--out", "runs", "--dataset", "new/"]) == 0
    assert "of 30 images are right" in capsys.readouterr().out
    picture = str(here / "new" / "test" / "grün" / "3.png")
    assert command.main(["predict", name, "--out", "runs", "--json", picture]) == 0
    (found,) = json.loads(capsys.readouterr().out)["images"]
    assert set(found["probabilities"]) == {"a b", "grün", "c"}


def test_no_training_image_counts_when_the_same_folder_is_evaluated(here, capsys):
    make_pictures(here / "pics")
    assert run("--dataset", "pics/", "--test-share", "0.5") == 0
    (name,) = (path.name for path in (here / "runs").glob("pics-lenet-12-*"))
    capsys.readouterr()
    shutil.copytree(here / "pics", here / "moved")
    for path in ("./pics", str(here / "pics"), "moved"):
        assert command.main(["evaluate", name, "--dataset", path, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["images"] == 15
        assert found["accuracy"] == found["network"]["accuracy"]


def test_a_folder_that_has_changed_since_its_training_does_not_judge(here, capsys):
    make_pictures(here / "pics")
    assert run("--dataset", "pics/", "--subset", "12", "--validation", "0.25") == 0
    (name,) = (path.name for path in (here / "runs").glob("pics-lenet-12-*"))
    assert command.main(["evaluate", name, "--dataset", "pics"]) == 0
    assert "of 6 images are right" in capsys.readouterr().out
    Image.new("RGB", (8, 8)).save(here / "pics" / "c" / "new.png")
    assert command.main(["evaluate", name, "--dataset", "pics"]) == 2
    assert "pics does not hold what the network was trained on" in capsys.readouterr().err


def test_a_folder_without_test_images_judges_with_all_of_its_own(here, capsys):
    make_pictures(here / "pics")
    assert run("--dataset", "pics/") == 0
    (name,) = (path.name for path in (here / "runs").glob("pics-lenet-12-*"))
    (here / "more" / "c").mkdir(parents=True)
    for k in range(3):
        Image.new("RGB", (9, 9), (0, 0, 90 + k)).save(here / "more" / "c" / f"{k}.png")
    assert command.main(["evaluate", name, "--dataset", "more", "--plot", "a.txt"]) == 2
    assert command.main(["evaluate", name, "--dataset", "more"]) == 0
    assert "of 3 images are right" in capsys.readouterr().out


def test_tables_and_grey_arrays_are_evaluated(here, capsys):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 4
    np.savez("table.npz", X=rng.normal(size=(40, 8)) + y[:, None], y=y)
    np.savez("grey.npz", X=rng.integers(0, 256, (40, 8, 8), np.uint8), y=y)
    for name in ("table", "grey"):
        assert run("--dataset", f"{name}.npz") == 0
        (folder,) = (here / "runs").glob(f"{name}*-lenet-12-*")
        capsys.readouterr()
        assert command.main(["evaluate", folder.name, "--dataset", f"{name}.npz"]) == 0
        assert "of 8 images are right" in capsys.readouterr().out
    assert run("--dataset", "grey.npz", "--image-size", "12") == 0
    capsys.readouterr()
    assert run("--dataset", "table.npz", "--image-size", "12") == 2
    assert "image-size is for pictures of bytes" in capsys.readouterr().err


def test_what_a_file_says_of_its_data_may_be_anything(here, capsys):
    make_pictures(here / "pics")
    assert run("--dataset", "pics/") == 0
    (name,) = (path.name for path in (here / "runs").glob("pics-lenet-12-*"))
    assert command.main(["save", name, "net.safetensors"]) == 0
    net = quatgrad.load("net.safetensors")
    assert net.said["data"]
    make_pictures(here / "new", size=16)
    said = net.said
    for odd in ({"subset": "x"}, {"validation": "x"}, {"test_share": [1]}, {"dataset": 7}):
        replace(net, said=said | odd).save("odd.safetensors")
        capsys.readouterr()
        arguments = ["evaluate", "odd.safetensors", "--dataset"]
        assert command.main([*arguments, "./new"]) == 0
        assert "of 30 images are right" in capsys.readouterr().out
        assert command.main([*arguments, "pics"]) == (0 if "dataset" in odd else 2)


def test_another_picture_or_share_is_another_run(here):
    make_pictures(here / "pics")
    assert run("--dataset", "pics/") == 0
    assert run("--dataset", "pics/", "--test-share", "0.4") == 0
    assert run("--dataset", "pics/", "--image-size", "12") == 0
    Image.new("RGB", (8, 8)).save(here / "pics" / "c" / "0.png")
    assert run("--dataset", "pics/") == 0
    assert len(list((here / "runs").glob("pics-lenet-12-*"))) == 4


def test_npz(here, capsys):
    rng = np.random.default_rng(0)
    np.savez("svhn.npz", X=rng.integers(0, 256, (40, 8, 8, 3), np.uint8), y=np.arange(40) % 4)
    assert run("--dataset", "svhn.npz", "--statistics", "cifar10") == 0
    assert "svhn: 32 training, 8 test images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (["--dataset", "./nothing"], "the dataset ./nothing cannot be read: No such file"),
        (["--dataset", "pics", "--image-size", "0"], "--image-size"),
        (["--dataset", "pics", "--test-share", "2"], "more than 0 and less than 1"),
        (["--dataset", "pics", "--encoder", "blocks"], "does not fit this dataset"),
        (["--dataset", "digits", "--image-size", "9"], "for data of your own, not for digits"),
    ],
)
def test_a_line_for_what_cannot_be(given, word, here, capsys):
    make_pictures(here / "pics")
    with pytest.raises(SystemExit) as end:
        raise SystemExit(run(*given))
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert word in said
    assert "Traceback" not in said
