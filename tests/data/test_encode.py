import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quatgrad.data.encode import (
    ENCODERS,
    Encoding,
    blocks,
    consecutive,
    luma_differences,
    normalise,
    rgb,
    rgb_gray,
    rgb_gray_paper,
    zero_real,
)
from quatgrad.errors import DTypeError, OptionError, ShapeError

MEAN, STD = (100.0, 120.0, 110.0), (60.0, 50.0, 70.0)


def images(channels, even=False):
    side = st.integers(1, 4).map(lambda n: 2 * n if even else n)
    return st.tuples(st.integers(0, 4), side, side, st.just(channels)).flatmap(
        lambda shape: arrays(np.uint8, shape)
    )


@given(images(3))
def test_normalise_is_the_formula_in_float32(raw):
    x = normalise(raw, MEAN, STD)
    assert x.dtype == np.float32
    expected = (raw.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    assert np.array_equal(x, expected)
    assert np.allclose(x, (raw - np.array(MEAN)) / STD, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(raw=images(3))
def test_colour_encoders_are_exact(dtype, raw):
    x = raw.astype(dtype) / dtype(7)
    R, G, B = (x[..., c] for c in range(3))

    for encoder, blue in ((rgb_gray, 0.114), (rgb_gray_paper, 0.144)):
        q = encoder(x)
        assert q.dtype == dtype
        assert np.array_equal(q[..., :3], x)
        grey = dtype(0.299) * R + dtype(0.587) * G + dtype(blue) * B
        assert np.array_equal(q[..., 3], grey)

    q = zero_real(x)
    assert q.dtype == dtype
    assert np.array_equal(q, np.stack([0 * R, R, G, B], axis=-1))

    assert np.array_equal(rgb(x), x)


@given(images(1, even=True))
def test_blocks_are_a_bijection(raw):
    x = raw.astype(np.float32)
    q = blocks(x)
    N, rows, columns, _ = x.shape
    assert q.shape == (N, rows // 2, columns // 2, 4)
    assert q.dtype == np.float32
    for component, (u, v) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert np.array_equal(q[..., component], x[:, u::2, v::2, 0])
    back = np.empty_like(x)
    for component, (u, v) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        back[:, u::2, v::2, 0] = q[..., component]
    assert np.array_equal(back, x)


@given(
    st.tuples(
        st.integers(0, 3), st.integers(1, 4), st.sampled_from([4, 8, 12]), st.just(1)
    ).flatmap(lambda shape: arrays(np.uint8, shape))
)
def test_four_pixels_in_a_row_are_a_quaternion(raw):
    x = raw.astype(np.float32)
    q = consecutive(x)
    assert q.shape == (x.shape[0], x.shape[1], x.shape[2] // 4, 4)
    for component in range(4):
        assert np.array_equal(q[..., component], x[:, :, component::4, 0])


def test_luminance_and_colour_differences():
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32)
    q = luma_differences(x)
    Y = x @ np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(q[..., 0], Y, atol=1e-6)
    np.testing.assert_allclose(q[..., 1:], x - Y[..., None], atol=1e-6)
    grey = luma_differences(np.ones((1, 2, 2, 3), np.float32))
    np.testing.assert_allclose(grey, np.broadcast_to([1, 0, 0, 0], grey.shape), atol=1e-6)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_raw_bytes_to_float32(name):
    channels = 1 if name in ("blocks", "consecutive") else 3
    encode = Encoding(name, (4, 4, channels), MEAN[:channels], STD[:channels])
    raw = np.random.default_rng(0).integers(0, 256, (5, 4, 4, channels), dtype=np.uint8)
    x = encode(raw)
    assert x.dtype == np.float32
    assert np.array_equal(x, ENCODERS[name](normalise(raw, MEAN[:channels], STD[:channels])))
    assert np.array_equal(x, pickle.loads(pickle.dumps(encode))(raw))


@pytest.mark.parametrize("encoder", [rgb, rgb_gray, rgb_gray_paper, zero_real, luma_differences])
def test_colour_encoders_refuse_grey(encoder):
    with pytest.raises(ShapeError, match="takes colour images"):
        encoder(np.zeros((2, 4, 4, 1), np.float32))


def test_blocks_refuse_colour_and_odd_sides():
    with pytest.raises(ShapeError, match="takes grey images"):
        blocks(np.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(ShapeError, match="both sides must be even"):
        blocks(np.zeros((2, 4, 5, 1), np.float32))


def test_consecutive_refuses_colour_and_other_widths():
    with pytest.raises(ShapeError, match="takes grey images"):
        consecutive(np.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(ShapeError, match=r"rows of 6 pixels .* multiple of 4"):
        consecutive(np.zeros((2, 4, 6, 1), np.float32))


def test_encoders_want_normalised_images():
    with pytest.raises(DTypeError, match="uint8"):
        rgb_gray(np.zeros((2, 4, 4, 3), np.uint8))


def test_unknown_and_unfit_names():
    with pytest.raises(OptionError, match="unknown encoder 'grey': choose one of rgb_gray,"):
        Encoding("grey", (8, 8, 1), (0.0,), (1.0,))
    with pytest.raises(OptionError, match="does not fit this dataset"):
        Encoding("blocks", (7, 7, 1), (0.0,), (1.0,))


@pytest.mark.parametrize("numbers", [(), (1.0, 2.0, 3.0)])
def test_an_encoding_has_a_mean_for_each_channel(numbers):
    with pytest.raises(OptionError, match=f"has {len(numbers)} means and 1 deviations"):
        Encoding("channels", (4, 4, 1), numbers, (1.0,))
