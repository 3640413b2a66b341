"""A plan as ONNX gives the same logits in onnxruntime."""

import builtins

import numpy as np
import pytest
from networks import created, odd, trained

from quatgrad import models, sparse
from quatgrad.errors import DataError, OptionError
from quatgrad.sparse import export_onnx
from quatgrad.sparse.steps import Step

ODD = sorted(odd(np.random.default_rng(0)))


def logits_of(path, x):
    """What onnxruntime computes with the file."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": x})[0]


def check(net, shape, masks, path, weights="float32", bound=1e-5):
    pytest.importorskip("onnx")
    plan = sparse.prepare(net, shape, masks)
    made = export_onnx(plan, path, weights)
    y = sparse.rounded(plan, weights)
    for n in (1, 3):  # any number of images
        x = np.random.default_rng(n).standard_normal((n, *shape)).astype(np.float32)
        z = logits_of(made, x)
        assert z.shape == (n, plan.outputs)
        assert np.abs(z - y(x)).max() <= bound * max(1, np.abs(y(x)).max())
    return made


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", models.MODELS)
def test_the_logits_of_every_network(tmp_path, name, algebra):
    net, masks = trained(created(name, algebra), (16, 16, 4), density=0.3)
    check(net, (16, 16, 4), masks, tmp_path / "net.onnx")


@pytest.mark.parametrize("name", ODD)
def test_layers_that_no_network_of_the_package_has(tmp_path, name):
    net, _ = trained(odd(np.random.default_rng(0))[name], (9, 7, 4))
    check(net, (9, 7, 4), None, tmp_path / "net")


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_weights_of_fewer_bits(tmp_path, algebra):
    net, masks = trained(created("resnet8", algebra, width=32), (16, 16, 4), density=0.1)
    sizes = [
        check(net, (16, 16, 4), masks, tmp_path / "net", weights).stat().st_size
        for weights in ("float32", "float16", "int8")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.35 * sizes[0]


def test_what_it_says_of_itself(tmp_path):
    onnx = pytest.importorskip("onnx")
    net, _ = trained(created("lenet-12", "real"), (16, 16, 4))
    plan = sparse.prepare(net, (16, 16, 4))
    assert export_onnx(plan, tmp_path / "net.v2").name == "net.v2.onnx"
    made = export_onnx(plan, tmp_path / "net", about="of the digits")
    assert made.name == "net.onnx"
    model = onnx.load(made)
    assert (model.producer_name, model.doc_string) == ("quatgrad", "of the digits")
    assert [
        d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim
    ] == [*("N", 16, 16, 4)]


def test_what_cannot_be_written(tmp_path, monkeypatch):
    net, _ = trained(created("lenet-12", "real"), (16, 16, 4))
    plan = sparse.prepare(net, (16, 16, 4))
    with monkeypatch.context() as m:
        real = builtins.__import__
        m.setattr(builtins, "__import__", _without_onnx(real))
        with pytest.raises(OptionError, match=r"pip install 'quatgrad\[onnx\]'"):
            export_onnx(plan, tmp_path / "net")
    pytest.importorskip("onnx")
    with pytest.raises(OptionError, match="unknown weights 'int4'"):
        export_onnx(plan, tmp_path / "net", "int4")
    with pytest.raises(DataError, match="cannot write"):
        export_onnx(plan, tmp_path / "missing" / "net")
    with pytest.raises(OptionError, match="name a file to write"):
        export_onnx(plan, ".")
    plan.steps.steps.append(Step("fft", plan.steps.output, plan.steps.output))
    with pytest.raises(OptionError, match="there is no ONNX for the step 'fft'"):
        export_onnx(plan, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def _without_onnx(real):
    def imported(name, *rest):
        if name == "onnx":
            raise ImportError("No module named 'onnx'")
        return real(name, *rest)

    return imported
