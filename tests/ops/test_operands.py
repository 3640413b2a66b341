"""Operands that do not fit are refused before a kernel sees them, on every rung alike.

Every Function of several operands comes from the table of `test_gradients`. One operand after the
other gets another shape or dtype. Either all rungs give the same numbers, or all raise `ShapeError`
(`DTypeError`): a compiled kernel that reads beyond an array would do neither.
"""

import inspect

import numpy as np
import pytest
from test_gradients import CASES, numerics

from quatgrad import Parameter, Tensor, nn, ops
from quatgrad.errors import DTypeError, OptionError, QuatgradError, ShapeError
from quatgrad.nn import Buffer
from quatgrad.ops.conv_norm_act import ConvNormAct
from quatgrad.ops.norm import BatchNorm, BatchNormEval
from quatgrad.ops.quaternion_norm import Whiten

RUNGS = ("reference", "numpy", "numba")


#: The table calls these Functions themselves; the operations, further down, look at the operands.
IN_OPERATIONS = {BatchNorm, BatchNormEval, ConvNormAct, Whiten}


def operands(op):
    parameters = inspect.signature(op.forward).parameters.values()
    return len(parameters) - 1 if all(p.kind != p.VAR_POSITIONAL for p in parameters) else 9


SEVERAL = [
    pytest.param(case, id=f"{op.__name__}-{i}")
    for op, cases in CASES.items()
    for i, case in enumerate(cases)
    if operands(op) > 1 and len(case) > 2 and op not in IN_OPERATIONS
]


def test_every_function_of_several_operands_is_in_the_table():
    met = {row.id.split("-")[0] for row in SEVERAL}
    assert met >= {op.__name__ for op in CASES if operands(op) > 1 and op not in IN_OPERATIONS}


def misfits(a):
    """a in other shapes: shorter, longer, with an axis more or less, turned, empty."""
    yield a[None]
    yield np.zeros_like(a)[..., None]
    if a.ndim:
        yield a[0]
        yield a[:0]
        yield a[..., :0]
        yield a[:-1]
        yield a[..., :-1]
        yield np.concatenate([a, a[:1]])
        yield np.concatenate([a, a], axis=-1)
        yield a.T
        yield a.reshape(-1)


def outcome(f, inputs):
    tensors = [Tensor(a, requires_grad=True) for a in inputs]
    try:
        y = f(*tensors)
    except (ShapeError, DTypeError, OptionError) as error:
        return type(error)
    y.sum().backward()
    return [y.data, *(t.grad for t in tensors)]


@pytest.mark.parametrize("case", SEVERAL)
def test_other_shapes_are_refused_or_computed_by_all_rungs_alike(case):
    f, *inputs = case
    inputs = [np.asarray(a, np.float32) for a in inputs]
    for i, a in enumerate(inputs):
        for other in misfits(a):
            got = {}
            for rung in RUNGS:
                with numerics(rung), np.errstate(all="ignore"):
                    got[rung] = outcome(
                        f, [*inputs[:i], np.ascontiguousarray(other), *inputs[i + 1 :]]
                    )
            first = got["reference"]
            for rung in RUNGS:
                if isinstance(first, type) or isinstance(got[rung], type):
                    assert got[rung] is first, (i, a.shape, other.shape, rung)
                else:
                    for y, expected in zip(got[rung], first, strict=True):
                        np.testing.assert_allclose(y, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("case", SEVERAL)
def test_other_dtypes_are_refused_by_all_rungs(case):
    f, *inputs = case
    for i in range(len(inputs)):
        mixed = [
            Tensor(np.asarray(a, np.float64 if i == j else np.float32))
            for j, a in enumerate(inputs)
        ]
        for rung in RUNGS:
            with numerics(rung), pytest.raises(DTypeError):
                f(*mixed)


# -------------------------------------------------- what is no operand of a Function, but read


def ones(*shape, dtype=np.float32):
    return Tensor(np.ones(shape, dtype))


def buffer(*shape, dtype=np.float32):
    return Buffer(np.ones(shape, dtype))


NORMS = {  # op -> input, then (shape of each operand, shape of each statistic)
    ops.batch_norm: ((5, 8), [(8,), (8,)], [(8,), (8,)]),
    ops.variance_norm: ((5, 8), [(2,), (8,)], [(8,), (2,)]),
    ops.whitening_norm: ((5, 8), [(4, 4, 2), (8,)], [(8,), (2, 4, 4)]),
}


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", NORMS, ids=lambda f: f.__name__)
def test_norms_look_at_their_parameters_and_statistics(norm, training, rung):
    x, parameters, statistics = NORMS[norm]
    shapes = [*parameters, *statistics]
    make = [ones] * len(parameters) + [buffer] * len(statistics)
    with numerics(rung):
        norm(ones(*x), *(f(*s) for f, s in zip(make, shapes, strict=True)), training)
        for i, shape in enumerate(shapes):
            others = [
                (*shape[:-1], shape[-1] - 1),
                (*shape, 1),
                (1,),
                (),
                (2 * shape[0], *shape[1:]),
            ]
            for other in others:
                given = [*shapes[:i], other, *shapes[i + 1 :]]
                tensors = [f(*s) for f, s in zip(make, given, strict=True)]
                with pytest.raises(ShapeError):
                    norm(ones(*x), *tensors, training)
                for t in tensors[len(parameters) :]:
                    assert (t.data == 1).all()  # no statistic has moved
            tensors = [
                f(*s, dtype=np.float64 if i == j else np.float32)
                for j, (f, s) in enumerate(zip(make, shapes, strict=True))
            ]
            with pytest.raises(DTypeError):
                norm(ones(*x), *tensors, training)
        for other in ((), (4,), (5, 4), (8, 5), (5, 16), (5, 0), *[(8,)] * training):
            with pytest.raises(ShapeError):
                norm(ones(*other), *(f(*s) for f, s in zip(make, shapes, strict=True)), training)


@pytest.mark.parametrize("rung", RUNGS)
def test_the_fused_convolution_looks_at_its_statistics(rung):
    def call(mean, var, scale=(6,), residual=None):
        tensors = (
            ones(2, 5, 5, 3),
            ones(3, 3, 3, 6),
            ones(*scale),
            ones(6),
            buffer(*mean),
            buffer(*var),
        )
        ops.conv_norm_act(*tensors, (1, 1), (1, 1), 0.1, 1e-5, True, residual)

    with numerics(rung):
        call((6,), (6,))
        for mean, var in [((5,), (6,)), ((6,), (7,)), ((6, 1), (6,)), ((), (6,)), ((1,), (6,))]:
            with pytest.raises(ShapeError, match="conv_norm_act"):
                call(mean, var)
        with pytest.raises(ShapeError):
            call((6,), (6,), scale=(1, 6))


BIASED = {
    "linear": lambda b: ops.linear(ones(2, 8), ones(8, 4), b),
    "hamilton_linear": lambda b: ops.hamilton_linear(ones(2, 8), ones(4, 2, 1), b),
    "rotation_linear": lambda b: ops.rotation_linear(ones(2, 8), ones(4, 2, 1), ones(2, 1), b),
    "conv2d": lambda b: ops.conv2d(ones(2, 5, 5, 3), ones(3, 3, 3, 4), b),
    "hamilton_conv2d": lambda b: ops.hamilton_conv2d(ones(2, 5, 5, 4), ones(4, 3, 3, 1, 1), b),
    "conv_transpose2d": lambda b: ops.conv_transpose2d(ones(2, 5, 5, 3), ones(3, 3, 3, 4), b),
}


@pytest.mark.parametrize("f", BIASED.values(), ids=BIASED)
def test_a_bias_has_one_axis(f):
    assert f(ones(4)).shape == f(None).shape == f([1, 2, 3, 4]).shape
    for shape in [(5, 1, 1, 1, 4), (1, 4), (1,), (), (3,), (4, 1), (8,)]:
        with pytest.raises(ShapeError, match="bias"):
            f(ones(*shape))
    for value in ("bias", [None] * 4, ones(4, dtype=np.float64)):
        with pytest.raises(DTypeError):
            f(value)


@pytest.mark.parametrize("components", [0, 1, 3, 5, 8])
@pytest.mark.parametrize("rung", RUNGS)
def test_a_quaternion_weight_has_four_components(components, rung):
    with numerics(rung):
        for f in (
            lambda: ops.hamilton_linear(ones(2, 8), ones(components, 2, 3)),
            lambda: ops.hamilton_conv2d(ones(1, 5, 5, 8), ones(components, 3, 3, 2, 3)),
            lambda: ops.hamilton_conv_transpose2d(ones(1, 5, 5, 8), ones(components, 3, 3, 2, 3)),
            lambda: ops.rotation_weight(ones(components, 2, 3), ones(2, 3)),
            lambda: ops.hamilton(ones(2, components), ones(2, 4)),
            lambda: ops.conv_norm_act(
                ones(2, 5, 5, 8), ones(components, 3, 3, 2, 2), ones(8), ones(8),
                buffer(8), buffer(8), (1, 1), (1, 1), 0.1, 1e-5, True,
            ),
        ):  # fmt: skip
            with pytest.raises(ShapeError):
                f()


def test_labels_fit_the_logits():
    z = ones(3, 2)
    for labels in (
        [0, 1],
        [0, 1, 2, 0],
        [[0, 1, 1]],
        0,
        [0.0, 1, 1],
        ["a", "b", "c"],
        None,
        [None] * 3,
    ):
        with pytest.raises(QuatgradError):
            ops.cross_entropy(z, labels)
    for labels in ([0, 1, 2], [-1, 0, 0]):
        with pytest.raises(QuatgradError, match="out of range"):
            ops.cross_entropy(z, labels)


def test_a_weight_put_into_a_layer_is_looked_at_when_it_is_used():
    for layer, x in (
        (nn.Linear(4, 4, rng=0), ones(2, 4)),
        (nn.QLinear(4, 4, rng=0), ones(2, 4)),
        (nn.Conv2d(4, 4, 3, rng=0), ones(1, 5, 5, 4)),
        (nn.QConv2d(4, 4, 3, rng=0), ones(1, 5, 5, 4)),
        (nn.RotationLinear(4, 4, rng=0), ones(2, 4)),
        (nn.QBatchNorm2d(4), ones(3, 4)),
    ):
        name, _ = next(layer.named_parameters())
        for shape in [(1,), (3, 3), (5, 1, 1), (2, 3, 4)]:
            setattr(layer, name, Parameter(np.ones(shape, np.float32)))
            with pytest.raises(ShapeError):
                layer(x)
