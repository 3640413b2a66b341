"""Layers of sequences: shapes, starts, what is a weight, and both algebras."""

import numpy as np
import pytest

from quatgrad import Tensor, nn, ops
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.reference.quaternion import expand
from quatgrad.random import generator

RNG = np.random.default_rng(6)


def x(*shape):
    return Tensor(RNG.standard_normal(shape).astype(np.float32))


def test_a_table_is_no_weight_also_where_a_head_is_tied_to_it():
    class Tied(nn.Module):
        def __init__(self):
            self.words = nn.Embedding(7, 4, rng=0)
            self.hidden = nn.Linear(4, 4, rng=0)
            self.also_words = self.words.weight

        def forward(self, tokens):
            return ops.linear(self.hidden(self.words(tokens)), self.words.weight.T)

    net = Tied()
    assert [n for n, _ in net.weight_parameters()] == ["hidden.weight"]
    assert net.num_parameters() == 28 + 16 + 4
    y = net(np.array([[1, 6, 1]]))
    assert y.shape == (1, 3, 7)
    y.sum().backward()
    assert net.words.weight.grad.all()  # as a head it is used in full


def test_an_embedding_starts_small_and_says_its_size():
    layer = nn.Embedding(1000, 64, rng=generator(3))
    assert layer.weight.numpy().std() == pytest.approx(0.02, rel=0.02)
    assert repr(layer) == "Embedding(1000 of 64)"
    np.testing.assert_array_equal(layer([5]).data[0], layer.weight.data[5])


@pytest.mark.parametrize(
    ("kind", "gates"), [(nn.GRU, 3), (nn.LSTM, 4), (nn.QGRU, 3), (nn.QLSTM, 4)]
)
def test_a_gate_is_drawn_as_a_layer_of_its_own(kind, gates):
    """With the fans of one gate, not of all: the start does not depend on how many there are."""
    layer = kind(64, 32, rng=generator(1))
    four = layer.components == 4
    assert layer.weight_x.shape == ((4, 16, gates * 8) if four else (64, gates * 32))
    assert layer.weight_h.shape == ((4, 8, gates * 8) if four else (32, gates * 32))
    assert layer.weight_x.components == layer.weight_h.components == layer.components
    b = np.sqrt(6 / (64 + 32)) * (2 if four else 1)  # Xavier; of components, as the paper's
    assert 0.97 * b < np.abs(layer.weight_x.numpy()).max() <= b
    assert layer(x(2, 5, 64)).shape == (2, 5, 32)
    names = ["weight_x", "weight_h"]
    assert [n for n, _ in layer.weight_parameters()] == names
    start = layer.bias.numpy().reshape(gates, 32)
    forget = np.zeros((gates, 1))
    forget[1] = gates == 4
    np.testing.assert_array_equal(start, forget.repeat(32, 1))


@pytest.mark.parametrize(("real", "quaternion"), [(nn.GRU, nn.QGRU), (nn.LSTM, nn.QLSTM)])
def test_a_quaternion_cell_is_the_real_one_of_its_expanded_gates(real, quaternion):
    q, r = quaternion(8, 12, rng=0), real(8, 12, rng=0)

    def widened(w):
        gates = np.split(w.numpy(), q.gates, axis=-1)
        return np.concatenate([expand(g) for g in gates], axis=-1)

    r.weight_x.data, r.weight_h.data = widened(q.weight_x), widened(q.weight_h)
    series = x(3, 6, 8)
    np.testing.assert_allclose(q(series, [6, 2, 4]).data, r(series, [6, 2, 4]).data, atol=1e-6)
    assert 4 * q.weight_h.size == r.weight_h.size


def test_both_directions_stand_side_by_side_as_whole_quaternions():
    rng = generator(2)
    ahead, back = nn.QGRU(8, 8, rng=rng), nn.QGRU(8, 8, reverse=True, rng=rng)
    both, series = nn.Bidirectional(ahead, back), x(2, 5, 8)
    y = both(series, [5, 3]).data.reshape(2, 5, 4, 4)
    np.testing.assert_array_equal(y[..., :2].reshape(2, 5, 8), ahead(series, [5, 3]).data)
    np.testing.assert_array_equal(y[..., 2:].reshape(2, 5, 8), back(series, [5, 3]).data)
    one, other = nn.GRU(8, 4, rng=0), nn.GRU(8, 4, reverse=True, rng=0)
    back_to_front = Tensor(series.data[:, ::-1].copy())
    np.testing.assert_allclose(other(series).data, one(back_to_front).data[:, ::-1], atol=1e-6)
    for pair in ((one, one), (other, one), (ahead, other)):
        with pytest.raises(OptionError, match="two layers of one algebra, the second reversed"):
            nn.Bidirectional(*pair)


@pytest.mark.parametrize("kind", [nn.Linear, nn.QLinear])
def test_self_attention_takes_the_algebra_of_its_layers(kind):
    q, k, v, out = (kind(16, 16, rng=i) for i in range(4))
    layer = nn.SelfAttention(q, k, v, out, heads=2, causal=True)
    assert layer.components == kind.components
    y = layer(x(2, 5, 16))
    assert y.shape == (2, 5, 16)
    assert len(layer.weight_parameters()) == 4
    with pytest.raises(OptionError, match="all real, or all quaternion"):
        nn.SelfAttention(q, nn.RotationLinear(16, 16, rng=0) if kind is nn.Linear else
                         nn.Linear(16, 16, rng=0), v, out, 2)  # fmt: skip


@pytest.mark.parametrize("kind", [nn.Linear, nn.QLinear])
def test_self_attention_of_packed_steps(kind):
    """Nothing that pads is computed, and each step takes what it took."""
    q, k, v, out = (kind(16, 16, rng=i) for i in range(4))
    layer, series, lengths = nn.SelfAttention(q, k, v, out, heads=2), x(3, 7, 16), [4, 7, 1]
    y = layer(ops.pack(series, lengths), lengths)
    assert y.shape == (12, 16)
    padded = ops.pack(layer(series, lengths), lengths)
    np.testing.assert_allclose(y.data, padded.data, atol=1e-6)
    with pytest.raises(ShapeError, match="lengths"):
        layer(ops.pack(series, lengths))


def test_layer_norms_start_neutral_and_are_no_weights():
    series = x(2, 3, 16)
    for kind, gains in ((nn.LayerNorm, 16), (nn.QLayerNorm, 4)):
        layer = kind(16)
        assert (layer.scale.shape, layer.shift.shape) == ((gains,), (16,))
        y = layer(series).data
        np.testing.assert_allclose((y * y).mean(-1), 1, rtol=1e-3)
        assert layer.weight_parameters() == []
    with pytest.raises(ShapeError, match="multiple of 4"):
        nn.QLayerNorm(6)


def test_a_convolution_over_time_keeps_its_steps():
    for kind, shape in ((nn.Conv1d, (1, 5, 8, 12)), (nn.QConv1d, (4, 1, 5, 2, 3))):
        layer = kind(8, 12, 5, dilation=2, causal=True, rng=0)
        assert layer.weight.shape == shape
        assert layer(x(2, 7, 8)).shape == (2, 7, 12)
        later = x(1, 7, 8).data.copy()
        before = layer(Tensor(later)).data
        later[:, 4:] = 9
        np.testing.assert_array_equal(layer(Tensor(later)).data[:, :4], before[:, :4])
