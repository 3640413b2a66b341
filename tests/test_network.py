"""A network in one file: the same logits in another process and on another backend."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import quatgrad
from quatgrad import Network, Tensor, data, models, nn, no_grad, use_backend
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.nn.convert import to_real
from quatgrad.tensor_file import read_tensors, write_tensors

# -------------------------------------------------------------------------- saved and loaded


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def lenet(algebra="quaternion", seed=1):
    return models.create("lenet-300-100", algebra, image_size=(4, 4), width=24, seed=seed)


def prune(model):
    """Every other weight is 0; the masks say so."""
    masks = {}
    for name, w in model.weight_parameters():
        masks[name] = np.arange(w.size).reshape(w.shape) % 2 == 0
        w.data = w.numpy() * masks[name]
    return masks


def logits(model, x):
    with no_grad():
        return model(Tensor(x)).numpy()


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["lenet-12", "conv-2", "resnet8", "resnet50"])
def test_a_saved_model_is_the_same_when_it_is_loaded(tmp_path, name, algebra):
    model = models.create(name, algebra, width=12 if name == "lenet-12" else 8, image_size=(8, 8))
    x = np.random.default_rng(0).standard_normal((4, 8, 8, 4)).astype(np.float32)
    model(Tensor(x))  # moves running statistics
    model.save(tmp_path / "net.safetensors")
    net = quatgrad.load(tmp_path / "net.safetensors")
    assert not net.model.training
    np.testing.assert_array_equal(logits(net, x), logits(model.eval(), x))


READ = """
import json, sys
import numpy as np
import quatgrad
quatgrad.set_backend(sys.argv[2])
net = quatgrad.load(sys.argv[1])
images = quatgrad.data.load("digits").test.images[:20]
p = net.predict(images)
alive = sum(int(m.sum()) for m in net.masks.values())
print(json.dumps([net.classes, net.said, p.tolist(), alive]))
"""


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_fresh_process_predicts_the_same(tmp_path, digits, backend):
    model = lenet()
    masks = prune(model)
    with use_backend(backend):
        net = replace(Network.of(model, digits, masks), said={"accuracy": 0.5})
        net.save(tmp_path / "net.safetensors")
        here = net.predict(digits.test.images[:20])
    told = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "net.safetensors"), backend],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    classes, said, there, alive = json.loads(told.stdout)
    assert tuple(classes) == digits.class_names
    assert said == {"accuracy": 0.5}
    assert alive == sum(m.sum() for m in masks.values())
    np.testing.assert_array_equal(there, here)
    np.testing.assert_allclose(here.sum(axis=1), 1)
    x = digits.encode(digits.test.images[:20])
    assert (here.argmax(1) == logits(model.eval(), x).argmax(1)).all()


def test_no_images_and_images_of_another_shape(digits):
    net = Network.of(lenet(), digits)
    assert net.predict(digits.test.images[:0]).shape == (0, 10)
    with pytest.raises(ShapeError, match=r"takes images \(N, 8, 8, 1\); got .* \(2, 9, 8, 1\)"):
        net.predict(np.zeros((2, 9, 8, 1), np.uint8))
    nameless, x = Network(lenet()), np.zeros((3, 4, 4, 4), np.float32)
    assert nameless.predict(x).shape == (3, 10)
    assert nameless.predict(x[:0]).shape == (0, 10)
    with pytest.raises(ShapeError, match=r"takes images \(N, H, W, C\), an array; got 'a.png'"):
        nameless.predict("a.png")


def test_modes_stay_as_they_were(digits):
    model = models.create("resnet8", width=8, image_size=(4, 4))
    Network.of(model, digits).predict(digits.test.images[:2])
    assert all(m.training for _, m in model.named_modules())


# --------------------------------------------------------------------------- of one's own


def small(algebra, num_classes, input_shape, rng):
    layer = nn.Linear if algebra == "real" else nn.QLinear
    width = int(np.prod(input_shape))
    return nn.Sequential(nn.Flatten(), layer(width, num_classes, rng=rng), nn.ReLU())


def large(algebra, num_classes, input_shape, rng):
    return nn.Sequential(*small(algebra, num_classes, input_shape, rng).modules, nn.ReLU())


SOURCE = """
import numpy as np
from quatgrad import nn
print("this file is run")
def small(algebra, num_classes, input_shape, rng):
    layer = nn.Linear if algebra == "real" else nn.QLinear
    width = int(np.prod(input_shape))
    return nn.Sequential(nn.Flatten(), layer(width, num_classes, rng=rng), nn.ReLU())
"""


def test_a_network_of_ones_own_asks_for_its_function(tmp_path, capsys):
    source, path = tmp_path / "net.py", tmp_path / "net.safetensors"
    source.write_text(SOURCE)
    model = models.create(f"{source}:small", "quaternion", num_classes=4, image_size=(2, 2))
    model.save(path)
    capsys.readouterr()
    with pytest.raises(OptionError, match="of your own: give the function"):
        quatgrad.load(path)
    assert "is run" not in capsys.readouterr().out
    x = np.random.default_rng(0).standard_normal((3, 2, 2, 4)).astype(np.float32)
    for build in (
        f"{source}:small",
        small,
        small("quaternion", 4, (2, 2, 4), np.random.default_rng()),
    ):
        np.testing.assert_array_equal(logits(quatgrad.load(path, build), x), logits(model, x))


def test_a_model_that_nothing_is_known_of(tmp_path):
    path, rng = tmp_path / "net.safetensors", np.random.default_rng(0)
    model = small("real", 4, (2, 2, 4), rng)
    model.save(path)
    with pytest.raises(OptionError, match="holds a network of your own: give the model"):
        quatgrad.load(path)
    net = quatgrad.load(path, lambda: small("real", 4, (2, 2, 4), rng))
    np.testing.assert_array_equal(
        net.model.modules[1].weight.numpy(), model.modules[1].weight.numpy()
    )


def test_the_function_has_changed_since(tmp_path, capsys):
    models.create(small, num_classes=4, image_size=(2, 2)).save(tmp_path / "net.safetensors")
    with pytest.raises(
        ShapeError, match=r"more layers there|\('3', 'ReLU'\)|fewer|another network"
    ):
        quatgrad.load(tmp_path / "net.safetensors", large)
    assert "has changed since it was saved" in capsys.readouterr().err
    assert quatgrad.load(tmp_path / "net.safetensors", small)
    assert "changed" not in capsys.readouterr().err


def test_a_converted_model_is_another_one(tmp_path):
    model = to_real(lenet("quaternion"))
    model.save(tmp_path / "net.safetensors")
    with pytest.raises(OptionError, match="of your own"):
        quatgrad.load(tmp_path / "net.safetensors")
    assert quatgrad.load(tmp_path / "net.safetensors", lambda: to_real(lenet("quaternion", 2)))


def test_a_model_that_was_changed_after_it_was_made(tmp_path):
    model = lenet()
    model.modules[2] = nn.ModReLU(24)
    model.save(tmp_path / "net.safetensors")
    with pytest.raises(ShapeError, match=r"\('2', 'ModReLU'\) there, \('2', 'ReLU'\) here"):
        quatgrad.load(tmp_path / "net.safetensors")
    assert quatgrad.load(tmp_path / "net.safetensors", model).model is model


# ------------------------------------------------------------------------------- bad input


def test_masks_that_do_not_fit(digits, tmp_path):
    model = lenet()
    masks = prune(model)
    name = next(iter(masks))
    for wrong in ({name: masks[name][..., :1]}, {"no weight": masks[name]}, {name: ~masks[name]}):
        with pytest.raises(OptionError, match="does not fit the weight"):
            Network.of(model, digits, wrong).save(tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_encoding_that_no_file_can_hold(digits):
    with pytest.raises(OptionError, match="encoded by a function of yours"):
        Network.of(lenet(), replace(digits, encode=lambda images: images))


def rewritten(path, change):
    """The file with other words about its arrays; it is whole, and its checksum right."""
    arrays, about = read_tensors(path)
    change(arrays, about)
    write_tensors(path, arrays, about)


def said(**words):
    return lambda arrays, about: about.update(words)


def asked(**options):
    return lambda arrays, about: about["architecture"].update(options)


def mask(name):
    return lambda arrays, about: arrays.update({f"mask/{name}": np.zeros(3, np.uint8)})


CHANGES = {
    "says nothing": (DataError, "not say what", lambda arrays, about: about.clear()),
    "layers are a list": (DataError, "not say what", said(layers=[])),
    "classes are numbers": (DataError, "not say what", said(classes=[1])),
    "no encoding": (DataError, "not say what", said(encoding={"encoder": "blocks"})),
    "no such model": (OptionError, "network 'lenet' of your own", asked(model="lenet")),
    "a model that is no name": (OptionError, "of your own", asked(model=[1])),
    "an unknown option": (OptionError, "unknown option 'depth'", asked(depth=3)),
    "an option of another type": (OptionError, "width is a whole", asked(width="wide")),
    "parts that are no text": (DataError, "names no network", asked(real_parts=5)),
    "another width": (ShapeError, "does not fit", asked(width=48)),
    "a weight is gone": (ShapeError, "missing 1.weight", lambda a, about: a.pop("1.weight")),
    "a mask of nothing": (DataError, "the mask w fits no weight", mask("w")),
    "a mask that is too short": (DataError, "the mask 1.weight fits no", mask("1.weight")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_that_are_whole_and_make_no_sense(tmp_path, digits, change):
    path = tmp_path / "net.safetensors"
    Network.of(lenet(), digits).save(path)
    kind, message, edit = CHANGES[change]
    rewritten(path, edit)
    with pytest.raises(kind, match=message) as caught:
        quatgrad.load(path)
    assert len(str(caught.value)) < 500
