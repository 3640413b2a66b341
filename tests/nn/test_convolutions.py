"""Convolutions as identities: groups, dilation, stride, padding, transposition, shifts.

Whole numbers in float64: sums are exact in any order, so most tests ask for equal bits.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import Tensor, generator, kernels, nn, ops, use_backend
from quatgrad.errors import OptionError, QuatgradError, ShapeError
from quatgrad.kernels import reference

REAL = pytest.param(ops.conv2d, ops.conv_transpose2d, 1, id="real")
QUATERNION = pytest.param(ops.hamilton_conv2d, ops.hamilton_conv_transpose2d, 4, id="quaternion")
ALGEBRAS = pytest.mark.parametrize(("conv", "transposed", "four"), [REAL, QUATERNION])
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def whole(rng, *shape):
    return rng.integers(-9, 10, shape).astype(float)


def same(a, b):
    np.testing.assert_array_equal(*(np.asarray(t) for t in (a, b)))


@st.composite
def convolutions(draw):
    """A generator, and options of a convolution that fits its maps."""
    small = st.integers(1, 3)
    o = {name: draw(small) for name in ("N", "P", "Q", "G")}
    o["rng"] = np.random.default_rng(draw(st.integers(0, 2**32)))
    for name in ("window", "stride", "dilation"):
        o[name] = draw(small), draw(small)
    o["padding"] = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    o["map"] = tuple(
        draw(st.integers(max(1, d * (u - 1) + 1 - 2 * p), 7))
        for u, d, p in zip(o["window"], o["dilation"], o["padding"], strict=True)
    )
    return o


def inputs(o, four, groups=1):
    rng, lead = o["rng"], (4,) if four == 4 else ()
    x = whole(rng, o["N"], *o["map"], four * o["P"] * groups)
    return x, whole(rng, *lead, *o["window"], o["P"], o["Q"] * groups)


def groups_of(x, groups, four):
    """The g-th block of every component."""
    blocks = x.reshape(*x.shape[:-1], four, groups, -1)
    return [blocks[..., g, :].reshape(*x.shape[:-1], -1) for g in range(groups)]


# -------------------------------------------------------------------------------- identities


@ALGEBRAS
@given(o=convolutions())
def test_groups_are_separate_convolutions_and_a_block_diagonal_weight(conv, transposed, four, o):
    G, Q = o["G"], o["Q"]
    x, w = inputs(o, four, G)
    dense = np.zeros((*w.shape[:-2], G * o["P"], G * Q))
    for g in range(G):
        dense[..., g * o["P"] : (g + 1) * o["P"], g * Q : (g + 1) * Q] = w[..., g * Q : (g + 1) * Q]
    for f, options in ((conv, (o["stride"], o["padding"])), (transposed, (o["stride"],))):
        y = f(Tensor(x), Tensor(w), None, *options, groups=G).data
        same(y, f(Tensor(x), Tensor(dense), None, *options).data)
        parts = zip(groups_of(x, G, four), np.split(w, G, axis=-1), strict=True)
        for got, (a, v) in zip(groups_of(y, G, four), parts, strict=True):
            same(got, f(Tensor(a.copy()), Tensor(v), None, *options).data)


@ALGEBRAS
@given(o=convolutions())
def test_dilation_is_a_weight_with_zeros_in_between(conv, transposed, four, o):
    x, w = inputs(o, four)
    (U, V), (d, e) = o["window"], o["dilation"]
    wide = np.zeros((*w.shape[:-4], d * (U - 1) + 1, e * (V - 1) + 1, *w.shape[-2:]))
    wide[..., ::d, ::e, :, :] = w
    how = o["stride"], o["padding"]
    y = conv(Tensor(x), Tensor(w), None, *how, o["dilation"])
    same(y, conv(Tensor(x), Tensor(wide), None, *how))


@ALGEBRAS
@given(o=convolutions())
def test_a_stride_takes_some_of_the_outputs(conv, transposed, four, o):
    x, w = map(Tensor, inputs(o, four))
    (s, t), how = o["stride"], (o["padding"], o["dilation"])
    same(conv(x, w, None, (s, t), *how), conv(x, w, None, 1, *how)[:, ::s, ::t])


@ALGEBRAS
@given(o=convolutions(), mode=st.sampled_from(sorted(MODES)))
def test_padding_modes_are_those_of_numpy(conv, transposed, four, o, mode):
    x, w = inputs(o, four)
    (r, c), s, d = o["padding"], o["stride"], o["dilation"]
    padded = np.pad(x, ((0, 0), (r, r), (c, c), (0, 0)), MODES[mode])
    y = conv(Tensor(x), Tensor(w), None, s, (r, c), d, padding_mode=mode)
    same(y, conv(Tensor(padded), Tensor(w), None, s, 0, d))


@ALGEBRAS
@given(o=convolutions(), shift=st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_with_circular_padding_a_shift_goes_through(conv, transposed, four, o, shift):
    x, w = inputs(o, four)
    (U, V), (d, e) = o["window"], o["dilation"]
    keep = d * (U - 1), e * (V - 1)  # even: half of it on either side keeps the size of the map
    if keep[0] % 2 or keep[1] % 2:
        return
    how = None, 1, (keep[0] // 2, keep[1] // 2), (d, e), 1, "circular"
    y = conv(Tensor(np.roll(x, shift, (1, 2))), Tensor(w), *how)
    same(y, np.roll(conv(Tensor(x), Tensor(w), *how).data, shift, (1, 2)))


@given(o=convolutions())
def test_a_window_of_one_pixel_is_a_linear_layer(o):
    x, w = inputs({**o, "window": (1, 1)}, 4)
    x, w = Tensor(x), Tensor(w)
    same(ops.hamilton_conv2d(x, w), ops.hamilton_linear(x, Tensor(w.data[:, 0, 0])))
    same(ops.hamilton_conv_transpose2d(x, w), ops.hamilton_linear(x, Tensor(w.data[:, 0, 0])))


@ALGEBRAS
@given(o=convolutions(), data=st.data())
def test_transposed_is_the_adjoint_for_the_conjugated_weight(conv, transposed, four, o, data):
    """<conv(x, w), y> = <x, transposed(y, w^H)>, whatever rows the stride leaves over."""
    x, w = inputs(o, four, o["G"])
    how = o["stride"], o["padding"]
    y = conv(Tensor(x), Tensor(w), None, *how, groups=o["G"]).data
    y_ = whole(o["rng"], *y.shape)
    sizes = zip(o["map"], o["window"], *how, strict=True)
    left_over = tuple((n + 2 * p - u) % s for n, u, s, p in sizes)
    adjoint = np.concatenate([v.swapaxes(-1, -2) for v in np.split(w, o["G"], axis=-1)], axis=-1)
    if four == 4:
        adjoint[1:] *= -1
    back = transposed(Tensor(y_), Tensor(adjoint), None, *how, left_over, o["G"]).data
    assert back.shape == x.shape
    assert (y * y_).sum() == (x * back).sum()


@given(o=convolutions())
def test_transposed_quaternions_are_the_real_transposed_of_the_expanded_weight(o):
    x, w = inputs(o, 4)
    y = ops.hamilton_conv_transpose2d(Tensor(x), Tensor(w), None, o["stride"])
    same(y, ops.conv_transpose2d(Tensor(x), Tensor(reference.expand(w)), None, o["stride"]))


def test_the_weight_of_a_transposed_layer_stands_on_the_left_and_is_not_conjugated():
    i, j, k = np.eye(4)[1:]
    y = ops.hamilton_conv_transpose2d(
        Tensor(j.reshape(1, 1, 1, 4)), Tensor(i.reshape(4, 1, 1, 1, 1))
    )
    same(y.data.ravel(), k)


@pytest.mark.parametrize("rung", ["reference", "gemm", "numba_cpu"])
def test_every_rung_computes_the_options(rung):
    rng = np.random.default_rng(0)
    x, w = Tensor(whole(rng, 2, 6, 5, 16)), Tensor(whole(rng, 4, 3, 2, 2, 6))
    how = None, (2, 1), 1, (1, 2), 2, "reflect"
    expected = ops.hamilton_conv2d(x, w, *how), ops.hamilton_conv_transpose2d(x, w, groups=2)
    with kernels.use_kernels(rung):
        got = ops.hamilton_conv2d(x, w, *how), ops.hamilton_conv_transpose2d(x, w, groups=2)
    for a, b in zip(got, expected, strict=True):
        same(a, b)


@pytest.mark.parametrize("groups", [1, 2])
def test_no_images(groups):
    x = Tensor(np.zeros((0, 5, 5, 8), np.float32))
    rng = generator(0)
    for layer in (
        nn.QConv2d(8, 16, 3, 2, groups=groups, rng=rng),
        nn.QConv2d(8, 16, 2, dilation=3, groups=groups, rng=rng),
        nn.QConv2d(8, 16, 3, padding=1, padding_mode="circular", groups=groups, rng=rng),
        nn.QConvTranspose2d(8, 16, 3, groups=groups, rng=rng),
    ):
        y = layer(x)
        assert y.shape[0] == 0
        assert y.shape[3] == 16


# ------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize(
    ("make", "given_", "out", "weight", "text"),
    [
        (lambda r: nn.Conv2d(4, 6, (3, 1), groups=2, rng=r), (2, 5, 4, 4), (2, 3, 4, 6),
         (3, 1, 2, 6), "4 -> 6, 3x1, 2 groups"),
        (lambda r: nn.QConv2d(8, 16, 3, 2, 2, False, 2, 2, "reflect", rng=r), (1, 7, 8, 8),
         (1, 4, 4, 16), (4, 3, 3, 1, 4),
         "8 -> 16, 3x3, stride 2, padding 2, dilation 2, 2 groups, reflect, no bias"),
        (lambda r: nn.ConvTranspose2d(3, 2, 3, 2, 1, output_padding=1, rng=r), (2, 4, 5, 3),
         (2, 8, 10, 2), (3, 3, 3, 2), "3 -> 2, 3x3, stride 2, padding 1, output_padding 1"),
        (lambda r: nn.QConvTranspose2d(8, 4, (2, 3), (2, 1), rng=r), (1, 3, 3, 8), (1, 6, 5, 4),
         (4, 2, 3, 2, 1), "8 -> 4, 2x3, stride (2, 1)"),
        (lambda r: nn.RotationConv2d(8, 4, 3, padding=1, rng=r), (1, 3, 3, 8), (1, 3, 3, 4),
         (4, 3, 3, 2, 1), "8 -> 4, 3x3, padding 1"),
        (lambda r: nn.RotationLinear(8, 4, rng=r), (5, 8), (5, 4), (4, 2, 1), "8 -> 4"),
    ],
)  # fmt: skip
def test_layers(make, given_, out, weight, text):
    layer = make(generator(0, "layer"))
    y = layer(Tensor(np.random.default_rng(0).standard_normal(given_, np.float32)))
    assert y.shape == out
    assert layer.weight.shape == weight
    assert layer.weight.components == (4 if weight[0] == 4 else 1)
    assert layer.extra_repr() == text
    y.sum().backward()
    assert all(np.abs(p.grad).max() > 0 for p in layer.parameters())


def layer(kind, *args, **options):
    return kind(*args, rng=generator(0), **options)


BAD = [
    (lambda: layer(nn.Conv2d, 4, 4, 3, groups=3), OptionError,
     "Conv2d: groups divide the features; got 3 groups of 4 -> 4"),
    (lambda: layer(nn.QConv2d, 8, 16, 3, groups=4), OptionError, "got 4 groups of 2 -> 4"),
    (lambda: layer(nn.QConv2d, 8, 8, 3, groups=0), OptionError, "got 0 groups"),
    (lambda: layer(nn.QConv2d, 6, 8, 3, groups=2), ShapeError, "multiple of 4; got 6 -> 8"),
    (lambda: layer(nn.QConvTranspose2d, 6, 8, 3), ShapeError, "QConvTranspose2d: a quaternion"),
    (lambda: layer(nn.RotationConv2d, 4, 7, 3), ShapeError, "RotationConv2d: a quaternion"),
    (lambda: layer(nn.RotationLinear, 5, 4), ShapeError, "multiple of 4; got 5 -> 4"),
    (lambda: layer(nn.QConv2d, 4, 4, 3, padding_mode="mirror"), OptionError,
     "unknown padding mode 'mirror': choose one of zeros, reflect, replicate, circular"),
    (lambda: layer(nn.Conv2d, 4, 4, 0), OptionError, r"at least 1, .* got window \(0, 0\)"),
    (lambda: layer(nn.Conv2d, 4, 4, 3, dilation=0), OptionError, r"dilation \(0, 0\)"),
    (lambda: layer(nn.ConvTranspose2d, 4, 4, 3, 2, output_padding=2), OptionError,
     r"output_padding is less than the stride, .* got \(2, 2\) with stride \(2, 2\)"),
    (lambda: layer(nn.Conv2d, 4, 4, 3, dilation=3)(Tensor(np.ones((1, 6, 9, 4), np.float32))),
     ShapeError, r"\(3, 3\) with dilation \(3, 3\) does not fit into maps of \(6, 9\)"),
    (lambda: layer(nn.QConv2d, 8, 8, 3, groups=2)(Tensor(np.ones((1, 6, 9, 4), np.float32))),
     ShapeError, r"in 2 groups takes 8 input channels \(2 quaternions\); .* has 4"),
    (lambda: layer(nn.ConvTranspose2d, 4, 4, 1, padding=2)(Tensor(np.ones((1, 3, 3, 4), "f"))),
     ShapeError, r"maps of \(3, 3\) .* a padding of \(2, 2\) leaves \(-1, -1\)"),
    (lambda: layer(nn.ConvTranspose2d, 4, 4, 1)(Tensor(np.ones((3, 3, 4), np.float32))),
     ShapeError, "channels last"),
    (lambda: ops.pad(Tensor([1.0]), ((1, 1),), mode="edge"), OptionError, "unknown mode 'edge'"),
    (lambda: ops.pad(Tensor([1.0]), (), mode="reflect"), ShapeError, "wants 1 pairs"),
    (lambda: ops.pad(Tensor(np.ones(0, "f")), ((1, 1),), mode="reflect"), ShapeError, "PadMode"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_errors_say_what_was_expected_and_what_came(call, error, message):
    assert issubclass(error, QuatgradError)
    with pytest.raises(error, match=message):
        call()


# --------------------------------------------------------------------------------- rotations


@given(seed=st.integers(0, 2**32), size=st.floats(1e-30, 1e30))
def test_rotations_keep_lengths_and_real_parts_and_do_not_mind_the_size_of_w(seed, size):
    rng = np.random.default_rng(seed)
    w, x = rng.standard_normal((4, 1, 1)), rng.standard_normal((5, 4))
    one = Tensor(np.ones((1, 1)))
    y = ops.rotation_linear(Tensor(x), Tensor(w), one).data
    np.testing.assert_allclose((y * y).sum(1), (x * x).sum(1), rtol=1e-13)
    np.testing.assert_allclose(y[:, 0], x[:, 0], rtol=1e-13, atol=1e-15)
    scaled = ops.rotation_linear(Tensor(x), Tensor(-size * w), one).data
    np.testing.assert_allclose(scaled, y, rtol=1e-13, atol=1e-13)


def test_a_zero_weight_rotates_nothing_and_its_gradients_are_zero():
    layer = nn.RotationLinear(8, 4, bias=False, rng=generator(0))
    w = layer.weight.numpy().copy()
    w[:, 0] = 0
    layer.weight.data = w
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    y = layer(Tensor(x))
    y.sum().backward()
    x[:, ::2] = 0  # the first quaternion
    np.testing.assert_array_equal(y.data, layer(Tensor(x)).data)
    assert (layer.weight.grad[:, 0] == 0).all()
    assert layer.scale.grad[0, 0] == 0
    assert np.abs(layer.weight.grad[:, 1]).max() > 0


def test_rotation_weights_start_as_uniform_rotations():
    w = nn.RotationLinear(400, 400, rng=generator(0)).weight.data.reshape(4, -1)
    np.testing.assert_allclose((w * w).sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose((w**2).mean(1), 1 / 4, atol=0.01)
    np.testing.assert_allclose((w**4).mean(1), 1 / 8, atol=0.01)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_convolution_with_a_forward_of_its_own_keeps_it_before_a_norm(backend):
    class Zero(nn.Conv2d):
        def forward(self, x):
            return 0 * super().forward(x) + 1

    rng = generator(0, "test")
    conv, norm = Zero(4, 4, 3, bias=False, rng=rng), nn.BatchNorm2d(4)
    x = Tensor(rng.standard_normal((2, 5, 5, 4)).astype(np.float32))
    with use_backend(backend):
        assert not nn.conv_norm_act(conv, norm, x, ops.relu).data.any()
