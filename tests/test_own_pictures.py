"""The README's ten minutes, on a hundred pictures: from Python, and by the command."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import quatgrad
from quatgrad.lth.command import main

README = (Path(__file__).parent.parent / "README.md").read_text()
COLOURS = {"red cats": (200, 40, 40), "grüne Äpfel": (40, 200, 40), "blue": (40, 40, 200)}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a hundred pictures in three classes, and a new one."""
    rng = np.random.default_rng(0)

    def picture(colour, path):
        pixels = np.clip(rng.normal(colour, 60, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)

    for name, colour in COLOURS.items():
        folder = tmp_path / "pics" / name
        folder.mkdir(parents=True)
        for k in range(34):
            picture(colour, folder / f"{k}.png")
    picture(COLOURS["grüne Äpfel"], tmp_path / "new.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quatgrad.data, "_OWN", {})
    return tmp_path


def test_the_python_of_the_readme(here, capsys):
    (program,) = re.findall(r"The same from Python:\n\n```python\n(.*?)```", README, re.S)
    smaller = program.replace("image_size=32", "image_size=8").replace("(32, 32)", "(8, 8)")
    smaller = smaller.replace("levels=4", "levels=2, epochs=3, width=8")
    assert len(program.splitlines()) <= 20
    exec(compile(smaller, "README.md", "exec"), {})
    *rows, guess = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows] == [
        [network, level] for network in ("real", "quaternion") for level in "012"
    ]
    assert guess == "grüne Äpfel"
    assert (here / "accuracy.png").exists()


def test_the_commands_of_the_readme(here, capsys):
    how = ["--levels", "1", "--epochs", "3", "--width", "8", "--quiet", "--image-size", "8"]
    assert main(["--dataset", "./pics", *how]) == 0
    (run,) = (here / "runs").glob("pics-resnet8-*")
    assert (run / "accuracy.png").exists()
    assert "quaternion: % left" in capsys.readouterr().out
    assert main(["predict", str(run), "new.png"]) == 0
    assert "new.png: grüne Äpfel " in capsys.readouterr().out
    assert main(["evaluate", str(run), "--dataset", "./pics", "--plot", "confusion.png"]) == 0
    assert (here / "confusion.png").exists()
    assert main(["save", str(run), "net.safetensors", "--level", "1"]) == 0
    assert main(["predict", "net.safetensors", "new.png"]) == 0
