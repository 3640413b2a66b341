"""Networks of one's own: by name, from a file, and what is said when they are none."""

import numpy as np
import pytest

from quatgrad import Tensor, models, nn
from quatgrad.errors import OptionError

FILE = """
from beside import HIDDEN
from quatgrad import nn

def small(algebra, num_classes, input_shape, rng):
    H, W, C = input_shape
    layer = nn.Linear if algebra == "real" else nn.QLinear
    first = layer(H * W * C, HIDDEN, rng=rng)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(HIDDEN, num_classes, rng=rng))

def three(algebra, num_classes, input_shape):
    return 3

def number(algebra, num_classes, input_shape, rng):
    return 3

LETTER = "a"
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("HIDDEN = 12\n")
    (tmp_path / "net.py").write_text(FILE)
    return tmp_path / "net.py"


def linear(algebra, num_classes, input_shape, rng):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), num_classes, rng=rng))


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_a_function_in_a_file_is_a_network(file, algebra):
    net = models.create(f"{file}:small", algebra, num_classes=3, image_size=(2, 2), seed=5)
    assert net(Tensor(np.ones((6, 2, 2, 4), np.float32))).shape == (6, 3)
    assert type(net.modules[1]) is (nn.Linear if algebra == "real" else nn.QLinear)
    again = models.create(f"{file}:small", algebra, num_classes=3, image_size=(2, 2), seed=5)
    for (n, a), (_, b) in zip(net.named_state(), again.named_state(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=n)
    assert models.create_again(net.architecture).about() == net.about()
    other = models.create(f"{file}:small", algebra, num_classes=3, image_size=(2, 2), seed=6)
    assert not np.array_equal(other.modules[1].weight.numpy(), net.modules[1].weight.numpy())


def test_its_source_is_part_of_what_it_is(file):
    before = models.create(f"{file}:small").architecture["source"]
    file.write_text(FILE.replace("nn.ReLU(), ", ""))
    after = models.create(f"{file}:small")
    assert len(before) == 64
    assert after.architecture["source"] != before
    assert len(after.modules) == 3  # the file of now, not one that was imported before


def test_a_name_of_ones_own(monkeypatch):
    monkeypatch.setattr(models, "_OWN", {})
    models.register("my-linear", linear)
    net = models.create("my-linear", num_classes=5, image_size=(3, 3), in_channels=2)
    assert net(Tensor(np.ones((1, 3, 3, 2), np.float32))).shape == (1, 5)
    with pytest.raises(OptionError, match="unknown model 'my-linea': did you mean 'my-linear'"):
        models.create("my-linea")
    for name in ("resnet18", "net.py:small", " "):
        with pytest.raises(OptionError, match="has a name of its own"):
            models.register(name, linear)


def test_a_function_with_the_name_of_a_network_of_the_package_is_not_taken_for_it():
    def gru(algebra, num_classes, input_shape, rng):
        return nn.Sequential(nn.Flatten(), nn.Linear(48, num_classes, rng=rng))

    with pytest.raises(OptionError, match="a name of its own; got 'gru'"):
        models.create(gru, image_size=(3, 4))


def test_a_learned_encoder_in_front(file):
    net = models.create(f"{file}:small", in_channels=3, image_size=(2, 2), learned_encoder=True)
    assert net(Tensor(np.ones((2, 2, 2, 3), np.float32))).shape == (2, 10)


BAD = {
    "smal": r"unknown function in .*net\.py 'smal': did you mean 'small'\? choose one of",
    "LETTER": r"unknown function in .*net\.py 'LETTER'",
    "three": r"cannot be called as \(algebra, num_classes, input_shape, rng\) -> Module: too many",
    "number": r"made a int; it must return a quatgrad\.nn\.Module",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_network(file, name):
    with pytest.raises(OptionError, match=BAD[name]):
        models.create(f"{file}:{name}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("def small(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit", "SystemExit"),
        ("b = '\x00'", "(SyntaxError|ValueError)"),  # the second by Python 3.11.2
    ],
)
def test_a_file_that_does_not_run(file, text, said):
    file.write_text(text)
    with pytest.raises(OptionError, match=f"running .*net.py ended with {said}"):
        models.create(f"{file}:small")


def test_no_file(tmp_path):
    with pytest.raises(OptionError, match=r"net\.py cannot be read \(No such file"):
        models.create(f"{tmp_path}/net.py:small")
    with pytest.raises(OptionError, match="cannot be read"):
        models.create(":.py:small")


@pytest.mark.parametrize("options", [{"width": 8}, {"init": "xavier"}, {"real_head": True}])
def test_options_that_it_does_not_know(file, options):
    with pytest.raises(OptionError, match="is your own: width, init, head are its own"):
        models.create(f"{file}:small", **options)
