"""A plan in C gives the logits of the plan; compiled here by the system's compiler."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from networks import Call, created, odd, trained

from quatgrad import nn, sparse
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.sparse import export_c

CC = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
needs_a_compiler = pytest.mark.skipif(CC is None, reason="there is no C compiler here")
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


def predict_of(made, outputs):
    """NAME_predict of a library that is compiled from the file."""
    library = made.source.with_suffix(".so")
    command = [CC, *STRICT, "-shared", "-fPIC", made.source, "-o", library, "-lm"]
    subprocess.run(command, check=True)
    f = getattr(ctypes.CDLL(str(library)), f"{made.source.stem}_predict")

    def predict(image):
        image, logits = np.ascontiguousarray(image, np.float32), np.empty(outputs, np.float32)
        f(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(logits.ctypes.data))
        return logits

    return predict


ODD = sorted(odd(np.random.default_rng(0)))


def plan_of(name, algebra, shape=(16, 16, 4), density=0.2, whole=False):
    net, masks = trained(created(name, algebra), shape, density=density, whole=whole)
    return sparse.prepare(net, shape, masks)


@needs_a_compiler
@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-12", "conv-2", "conv-6", "resnet8"])
def test_the_logits_in_c(tmp_path, name, algebra, weights):
    plan = plan_of(name, algebra)
    made = export_c(plan, tmp_path / "net", weights)
    x = np.random.default_rng(1).standard_normal((5, 16, 16, 4)).astype(np.float32)
    y, predict = plan(x), predict_of(made, plan.outputs)
    z = np.stack([predict(image) for image in x])
    assert np.abs(z - y).max() <= {"float32": 1e-5, "int8": 5e-2}[weights] * np.abs(y).max()
    again = np.stack([predict(image) for image in x])  # nothing is left over in the arena
    assert np.array_equal(z, again)


CXX = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
MAIN = """
#include "net.h"
int main() {
    static float image[NET_INPUTS], logits[NET_OUTPUTS];
    net_predict(image, logits);
    return 0;
}
"""


@needs_a_compiler
@pytest.mark.skipif(CXX is None, reason="there is no C++ compiler here")
def test_a_program_in_cpp_can_use_it(tmp_path):
    export_c(plan_of("lenet-12", "quaternion"), tmp_path / "net")
    (tmp_path / "main.cpp").write_text(MAIN)
    subprocess.run([CC, *STRICT, "-c", "net.c"], cwd=tmp_path, check=True)
    subprocess.run([CXX, "main.cpp", "net.o", "-lm"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "a.out"], check=True)


@needs_a_compiler
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_file_checks_itself(tmp_path, weights):
    made = export_c(plan_of("resnet8", "quaternion"), tmp_path / "net", weights)
    program = tmp_path / "check"
    command = [CC, *STRICT, "-DNET_CHECK", made.source, "-o", program]
    subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("error") == 2
    text = made.source.read_text()  # an expected logit that is another is found
    at = text.index("expected[")
    made.source.write_text(text[:at] + text[at:].replace("= {\n", "= {\n1", 1))
    subprocess.run(command, check=True)
    assert subprocess.run([program], capture_output=True, check=False).returncode == 1


@needs_a_compiler
@pytest.mark.parametrize("name", ODD)
def test_layers_that_no_network_of_the_package_has(tmp_path, name):
    net, _ = trained(odd(np.random.default_rng(0))[name], (9, 7, 4))
    plan = sparse.prepare(net, (9, 7, 4))
    x = np.random.default_rng(1).standard_normal((3, 9, 7, 4)).astype(np.float32)
    predict = predict_of(export_c(plan, tmp_path / "net"), plan.outputs)
    z, y = np.stack([predict(image) for image in x]), plan(x)
    assert np.abs(z - y).max() <= 1e-5 * max(1, np.abs(y).max())


@needs_a_compiler
@pytest.mark.parametrize("rows", [0, 1])
def test_layers_with_no_weight_or_one(tmp_path, rows):
    net, masks = trained(created("lenet-12", "quaternion"), (16, 16, 4), density=0.3)
    for mask in masks.values():
        mask[...] = False
        mask.flat[mask.size - rows :] = True
    plan = sparse.prepare(net, (16, 16, 4), masks)
    x = np.random.default_rng(1).standard_normal((1, 16, 16, 4)).astype(np.float32)
    assert np.allclose(
        predict_of(export_c(plan, tmp_path / "net"), 12)(x[0]), plan(x)[0], atol=1e-5
    )


def test_a_lenet_for_a_small_device(tmp_path):
    """Quaternion LeNet-300-100 for MNIST, 5 %, int8: 11 kB of flash with its code, 2 kB of RAM."""
    net, masks = trained(
        created("lenet-300-100", "quaternion", width=300, num_classes=10, image_size=(28, 7)),
        (28, 7, 4), density=0.05,
    )  # fmt: skip
    made = export_c(sparse.prepare(net, (28, 7, 4), masks), tmp_path / "net", "int8")
    assert made.flash <= 10_000
    assert made.ram <= 2_000


def test_a_step_without_c_is_named(tmp_path):
    net, _ = trained(odd(np.random.default_rng(0))["average pool"], (9, 7, 4))
    plan = sparse.prepare(net, (9, 7, 4))
    pool = next(step for step in plan.steps.steps if step.name == "avg_pool")
    pool.weight = np.random.default_rng(0).standard_normal(pool.weight.shape)  # other taps for each
    with pytest.raises(OptionError, match="there is no C for the step 'avg_pool'"):
        export_c(plan, tmp_path / "net")
    with pytest.raises(OptionError, match="nothing to export"):
        export_c(sparse.prepare(Call(lambda x: x[:]), (9, 7, 4)), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    plan = plan_of("lenet-12", "real")
    first = next(plan.steps.layers())
    first.alive = first.alive.copy()
    first.alive[0, 0, 0, 0, 0], first.weight[0, 0, 0, 0, 0] = False, np.nan
    export_c(plan, tmp_path / "pruned")  # it is not written
    for path in tmp_path.iterdir():
        path.unlink()
    for value in (np.nan, np.inf):
        next(plan.steps.layers()).shift[0] = value
        with pytest.raises(OptionError, match="has a number that is not finite: train again"):
            export_c(plan, tmp_path / "net")
    with np.errstate(divide="ignore"):
        reciprocal = sparse.prepare(Call(lambda x: 1 / x.relu()), (1, 1, 4))
    with pytest.raises(OptionError, match="logits are not finite for the images of the check"):
        export_c(reciprocal, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_names_weights_and_folders(tmp_path):
    plan = plan_of("lenet-12", "real")
    with pytest.raises(OptionError, match="names a function in C"):
        export_c(plan, tmp_path / "my-net")
    with pytest.raises(OptionError, match=r"unknown weights 'float16'.*C99 has no type for it"):
        export_c(plan, tmp_path / "net", "float16")
    with pytest.raises(DataError, match="cannot write"):
        export_c(plan, tmp_path / "missing" / "net")
    images = np.ones((3, 16, 16, 4), np.float32)
    made = export_c(plan, tmp_path / "net.c", images=images, about="of digits */\nand no end")
    assert made.header.read_text().count("NET_INPUTS 1024") == 1
    assert (
        "/* net: a network made by quatgrad.\n   of digits * /\n   and no end\n"
        in made.header.read_text()
    )
    assert "images[3 * 1024]" in made.source.read_text()
    assert "math.h" not in made.source.read_text()


def test_images_of_another_shape_and_none(tmp_path):
    plan = plan_of("lenet-12", "real")
    with pytest.raises(ShapeError, match="the plan is for images"):
        export_c(plan, tmp_path / "net", images=np.zeros((2, 8, 8, 4)))
    with pytest.raises(OptionError, match="names a function in C"):
        export_c(plan, tmp_path / "net.v2")
    made = export_c(plan, tmp_path / "net", images=np.zeros((0, 16, 16, 4)))
    assert "images[2 * " in made.source.read_text()


@needs_a_compiler
def test_a_row_of_more_survivors_than_two_bytes_count(tmp_path):
    """Also: names of classes that end and begin comments, in any alphabet."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1 << 16, 2, rng=np.random.default_rng(0)))
    plan = sparse.prepare(net, (256, 256, 1))
    image = np.ones((1, 256, 256, 1), np.float32)
    made = export_c(plan, tmp_path / "net", "int8", image, "Classes: /* Käse */, 猫.")
    found = predict_of(made, 2)(image[0])
    np.testing.assert_allclose(found, sparse.rounded(plan, "int8")(image)[0], rtol=1e-3, atol=1e-3)
