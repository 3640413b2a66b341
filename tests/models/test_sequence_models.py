"""Networks of series, texts and graphs: published counts, both algebras, and equal weights."""

import numpy as np
import pytest

from quatgrad import Tensor, models, nn, no_grad, ops
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.models.equal import count_weights, equal_width
from quatgrad.models.gcn import propagation
from quatgrad.optim import AdamW, clip_grad_norm

RNG = np.random.default_rng(7)
TEXT = {"num_classes": 65, "image_size": (1, 64), "in_channels": 1}
GESTURES = {"num_classes": 6, "image_size": (1, 51), "in_channels": 32}
CORA = {"num_classes": 7, "in_channels": 1436}
SPEECH = {"num_classes": 10, "image_size": (1, 60), "in_channels": 160}


def weights(name, algebra, **options):
    net = models.create(name, algebra, **options)
    named = dict(net.weight_parameters())
    named.pop("head.weight", None)  # real in both for so few classes
    return sum(w.size for w in named.values())


@pytest.mark.parametrize(
    ("name", "options", "real", "quaternion"),
    [
        ("gpt", TEXT, 786_432, 196_608),
        ("gpt", TEXT | {"width": 64}, 196_608, 49_152),
        ("fcn", GESTURES, 294_912, 73_728),
        ("gru", SPEECH, 208_896, 52_224),
        ("gcn", CORA, 183_808, 45_952),
    ],
)
def test_counts(name, options, real, quaternion):
    assert weights(name, "real", **options) == real
    assert weights(name, "quaternion", **options) == quaternion


def test_a_gpt_with_quaternions_in_part():
    assert count_weights("gpt", "quaternion", real_parts="out,ff", **TEXT) == 638_976
    net = models.create("gpt", "quaternion", real_parts="out,ff", **TEXT)
    assert net.blocks[0].attention.components == 4
    assert net.blocks[0].up.components == 1
    with pytest.raises(OptionError, match="part"):
        models.create("gpt", "quaternion", real_parts="stem", **TEXT)


def test_equal_width_is_the_nearest_and_says_it_where_it_is_exact():
    assert equal_width("gpt", 128, 4, **TEXT) == 64
    assert count_weights("gpt", "real", width=64, **TEXT) == 196_608
    options = {"num_classes": 6, "image_size": (1, 51), "in_channels": 8}
    width = equal_width("fcn", 16, **options)
    target = count_weights("fcn", "quaternion", width=16, **options)
    gaps = {w: abs(count_weights("fcn", "real", width=w, **options) - target) for w in range(1, 17)}
    assert width == min(gaps, key=gaps.get)


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("norm", ["batch", "variance"])
def test_a_gpt_learns_and_sees_nothing_that_comes_later(algebra, norm):
    options = {"num_classes": 5, "image_size": (1, 12), "in_channels": 1, "width": 16}
    net = models.create("gpt", algebra, norm=norm, init="polar-glorot", **options)
    text = np.tile(np.arange(5), 6)[None, :13].repeat(4, 0)
    tokens, after = text[:, :-1], text[:, 1:].reshape(-1)
    optimizer = AdamW(net.parameters(), betas=(0.9, 0.99))
    for _ in range(60):
        optimizer.zero_grad()
        loss = ops.cross_entropy(net(tokens).reshape(-1, 5), after)
        loss.backward()
        clip_grad_norm(net.parameters(), 1.0)
        optimizer.step(1e-2)
    assert loss.item() < 0.1
    with no_grad():
        y, other = net(tokens).data, tokens.copy()
        other[:, 7:] = 0
        np.testing.assert_array_equal(net(other).data[:, :7], y[:, :7])
        np.testing.assert_allclose(net(tokens[:, :3]).data, y[:, :3], atol=1e-5)
        assert net.generate([0, 1], 8, np.random.default_rng(0)).tolist() == [*range(5), *range(5)]


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["fcn", "gru", "lstm", "bilstm"])
def test_classifiers_of_series_learn(name, algebra):
    """Which of two series rises: as series and as images of one row, or one pixel wide."""
    options = {"num_classes": 2, "image_size": (1, 9), "in_channels": 4, "width": 8, "dropout": 0.1}
    net = models.create(name, algebra, **options)
    labels = RNG.integers(0, 2, 32)
    slope = np.where(labels, 1, -1)[:, None, None] * np.linspace(-1, 1, 9)[:, None]
    series = (slope + 0.1 * RNG.standard_normal((32, 9, 4))).astype(np.float32)
    optimizer = AdamW(net.parameters())
    for _ in range(40):
        optimizer.zero_grad()
        ops.cross_entropy(net(Tensor(series)), labels).backward()
        optimizer.step(1e-2)
    net.eval()
    y = net(Tensor(series)).data
    assert (y.argmax(1) == labels).mean() > 0.9
    np.testing.assert_array_equal(net(Tensor(series[:, None])).data, y)
    np.testing.assert_array_equal(net(Tensor(series[:, :, None])).data, y)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_a_classifier_of_series_does_not_see_what_is_after_their_end(algebra):
    net = models.create("gru", algebra, num_classes=3, image_size=(1, 6), in_channels=8, width=8)
    series = RNG.standard_normal((2, 6, 8)).astype(np.float32)
    y = net(Tensor(series), [4, 6]).data
    series[0, 4:] = 50
    np.testing.assert_array_equal(net(Tensor(series), [4, 6]).data, y)


def test_the_matrix_of_a_graph_network():
    A = propagation(np.array([[0, 1], [1, 2]]), 3)
    dense = ops.csr_matmul(A, np.eye(3, dtype=np.float32)).data
    s = 1 / np.sqrt(6)
    np.testing.assert_allclose(dense, [[1 / 2, s, 0], [s, 1 / 3, s], [0, s, 1 / 2]], rtol=1e-6)
    with pytest.raises(DataError, match="below 2"):
        propagation(np.array([[0, 2]]), 2)


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_a_graph_network_learns_from_few_labels(algebra):
    """Two rings of ten nodes, one label each: the features of a node say nothing alone."""
    ring = np.stack([np.arange(10), (np.arange(10) + 1) % 10], 1)
    A, labels = propagation(np.concatenate([ring, ring + 10]), 20), np.repeat([0, 1], 10)
    signs = np.where(labels, 1, -1)[:, None] + 2 * RNG.standard_normal((20, 8))
    net = models.create("gcn", algebra, num_classes=2, in_channels=8, width=8)
    features, optimizer = Tensor(signs.astype(np.float32)), AdamW(net.parameters())
    for _ in range(60):
        optimizer.zero_grad()
        ops.cross_entropy(net(features, A)[[0, 5, 10, 15]], labels[[0, 5, 10, 15]]).backward()
        optimizer.step(1e-2)
    assert (net(features, A).data.argmax(1) == labels).mean() >= 0.8


def test_what_does_not_fit_is_said():
    net = models.create("gpt", num_classes=5, image_size=(1, 4), width=16)
    with pytest.raises(ShapeError, match="T <= 4"):
        net(np.zeros((1, 5), int))
    with pytest.raises(DataError, match="token 5"):
        net(np.array([[5]]))
    with pytest.raises(ShapeError, match="4 heads"):
        models.create("gpt", num_classes=5, image_size=(1, 4), width=6)(np.zeros((1, 2), int))
    with pytest.raises(OptionError, match="gru: is real or quaternion"):
        models.create("gru", "plus", in_channels=8, width=8)
    with pytest.raises(ShapeError, match=r"\(N, T, C\)"):
        models.create("fcn", in_channels=4, width=8)(Tensor(np.zeros((2, 3, 3, 4))))


def test_networks_of_sequences_can_be_asked_for_again():
    net = models.create("gpt", "quaternion", **TEXT)
    again = models.create_again(net.architecture)
    assert [n for n, _ in again.named_state()] == [n for n, _ in net.named_state()]
    assert isinstance(again.tokens, nn.Embedding)
