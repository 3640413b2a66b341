"""Operations on sequences: against the composed form, and the mistakes of published code."""

import numpy as np
import pytest

from quatgrad import Tensor, no_grad, ops, use_backend
from quatgrad.autograd import Parameter
from quatgrad.errors import DataError, DTypeError, OptionError, ShapeError
from quatgrad.ops.csr import CSR
from quatgrad.quaternion import multiply

RNG = np.random.default_rng(5)


def normal(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def leaves(*arrays):
    return [Tensor(a, requires_grad=True) for a in arrays]


def unit():
    u = normal(4, dtype=np.float64)
    return u / np.linalg.norm(u)


def turned(x, u, left=False):
    """x u, or u x, for the quaternions of x (..., 4Q) in component blocks."""
    q = np.moveaxis(x.reshape(*x.shape[:-1], 4, -1), -2, -1).astype(np.float64)
    q = multiply(u, q) if left else multiply(q, u)
    return np.moveaxis(q, -1, -2).reshape(x.shape).astype(x.dtype)


# ------------------------------------------------------------------------------ recurrence


def composed_gru(x, w_x, w_h, b, c, lengths, reverse):
    """The same by operations on one step after the other."""
    product = ops.linear if w_x.ndim == 2 else ops.hamilton_linear
    N, T, _ = x.shape
    h = Tensor(np.zeros((N, c.size), x.dtype))
    states = [None] * T
    for t in range(T)[::-1] if reverse else range(T):
        a, u = gates(product(x[:, t], w_x), w_x), gates(product(h, w_h), w_h)
        bias = [b[k * c.size : (k + 1) * c.size] for k in range(3)]
        r, z = (ops.sigmoid(a[k] + u[k] + bias[k]) for k in (0, 1))
        n = ops.tanh(a[2] + bias[2] + r * (u[2] + c))
        inside = (t < np.asarray(lengths))[:, None]
        h = ops.where(inside, (1 - z) * n + z * h, 0.0)
        states[t] = h
    return ops.stack(states, 1)


def composed_lstm(x, w_x, w_h, b, lengths, reverse):
    product = ops.linear if w_x.ndim == 2 else ops.hamilton_linear
    (N, T, _), H = x.shape, b.size // 4
    h = c = Tensor(np.zeros((N, H), x.dtype))
    states = [None] * T
    for t in range(T)[::-1] if reverse else range(T):
        a, u = (gates(product(*p), w_x, 4) for p in ((x[:, t], w_x), (h, w_h)))
        i, f, n, o = (a[k] + u[k] + b[k * H : (k + 1) * H] for k in range(4))
        inside = (t < np.asarray(lengths))[:, None]
        c = ops.where(inside, ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(n), 0.0)
        h = ops.where(inside, ops.sigmoid(o) * ops.tanh(c), 0.0)
        states[t] = h
    return ops.stack(states, 1)


def gates(y, w, count=3):
    """Gates of a product: a gate of a quaternion layer has its part of all four components.

    Published code cuts the output into as many pieces as there are gates, so that its input gate
    is the real part of all of them.
    """
    four = 4 if w.ndim == 3 else 1
    y = y.reshape(len(y), four, count, -1)
    return [y[:, :, k].reshape(len(y), -1) for k in range(count)]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("quaternion", [False, True])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_whole_sequence_is_the_composed_one(name, quaternion, reverse, backend):
    G, H, P, N, T = (3 if name == "gru" else 4), 20, 12, 7, 9
    shape = (lambda p: (4, p // 4, G * H // 4)) if quaternion else (lambda p: (p, G * H))
    more = [normal(H)] if name == "gru" else []
    given = [normal(N, T, P), normal(*shape(P)) / 3, normal(*shape(H)) / 3, normal(G * H), *more]
    lengths, g = RNG.integers(1, T + 1, N), normal(N, T, H)
    composed = composed_gru if name == "gru" else composed_lstm
    with use_backend(backend):
        one, other = leaves(*given), leaves(*given)
        y, expected = getattr(ops, name)(*one, lengths, reverse), composed(*other, lengths, reverse)
        np.testing.assert_allclose(y.data, expected.data, atol=2e-6)
        y.backward(g)
        expected.backward(g)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.grad, b.grad, atol=2e-5 * max(1, abs(b.grad).max()))


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_what_comes_after_the_end_of_a_sequence_does_not_matter(name):
    G, H = (3 if name == "gru" else 4), 8
    weights = [normal(5, G * H), normal(H, G * H), normal(G * H)]
    weights += [normal(H)] if name == "gru" else []
    x = normal(2, 6, 5)
    other = x.copy()
    other[0, 4:] = 99
    for reverse in (False, True):
        a, b = (getattr(ops, name)(v, *weights, [4, 6], reverse).data for v in (x, other))
        np.testing.assert_array_equal(a, b)
        assert not a[0, 4:].any()
        alone = getattr(ops, name)(x[:1, :4], *weights, reverse=reverse)
        np.testing.assert_allclose(alone.data[0], a[0, :4], atol=1e-6)


@pytest.mark.parametrize("name", ["gru", "lstm"])
@pytest.mark.parametrize("quaternion", [False, True])
def test_a_constraint_on_the_weight_of_the_state_holds_through_the_loop(name, quaternion):
    """What is 0 stays 0 in value and gradient, and acts as a weight that is not there."""
    G, H = (3 if name == "gru" else 4), 8
    w_h = Parameter(normal(4, 2, G * 2) if quaternion else normal(H, G * H), 4 if quaternion else 1)
    w_x = normal(4, 2, G * 2) if quaternion else normal(8, G * H)
    off = RNG.random(w_h.shape) < 0.5

    def zero(array):
        array[off] = 0

    w_h.constraint = zero
    more = [normal(H)] if name == "gru" else []
    x, b = normal(3, 50, 8), normal(G * H)
    y = getattr(ops, name)(x, w_x, w_h, b, *more)
    y.backward(normal(*y.shape))
    assert not w_h.grad[off].any()
    assert w_h.grad[~off].all()
    plain = getattr(ops, name)(x, w_x, np.where(off, 0, w_h.data), b, *more)
    np.testing.assert_array_equal(plain.data, y.data)


def test_states_of_a_gru_stay_between_those_of_tanh():
    """A published cell leaves the state of an LSTM unsquashed; here |h| <= 1 whatever comes."""
    x = 50 * normal(2, 30, 4)
    for name, G in (("gru", 3), ("lstm", 4)):
        more = [normal(6)] if name == "gru" else []
        y = getattr(ops, name)(x, normal(4, G * 6), normal(6, G * 6), normal(G * 6), *more)
        assert np.abs(y.data).max() <= 1


# ------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(("heads", "components"), [(1, 1), (3, 1), (2, 4)])
def test_a_causal_step_sees_nothing_that_comes_later(heads, components, backend):
    with use_backend(backend):
        q, k, v = (normal(2, 40, 24) for _ in range(3))
        y = ops.attention(q, k, v, heads, components, causal=True).data
        for t in (0, 7, 38):
            later = [a.copy() for a in (q, k, v)]
            for a in later:
                a[:, t + 1 :] = 1e3 * normal(*a[:, t + 1 :].shape)
            again = ops.attention(*later, heads, components, causal=True).data
            np.testing.assert_array_equal(again[:, : t + 1], y[:, : t + 1])
        k, v = leaves(k, v)
        ops.attention(q, k, v, heads, components, causal=True)[:, 7].sum().backward()
        assert not k.grad[:, 8:].any()
        assert not v.grad[:, 8:].any()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_steps_after_the_end_are_not_seen(backend):
    with use_backend(backend):
        q, k, v = (normal(2, 9, 8) for _ in range(3))
        y = ops.attention(q, k, v, 2, lengths=[4, 9]).data
        assert y[0, :4].all()
        assert not y[0, 4:].any()
        k[0, 4:], v[0, 4:] = 77, 77
        np.testing.assert_array_equal(ops.attention(q, k, v, 2, lengths=[4, 9]).data, y)
        alone = ops.attention(q[:1, :4], k[:1, :4], v[:1, :4], 2).data
        np.testing.assert_allclose(y[0, :4], alone[0], atol=1e-6)


def test_a_head_takes_whole_quaternions():
    """Published code cuts blocks [1 | i | j | k] into heads one after the other: with four heads
    each is one component. Here head h has the h-th quaternions of all four blocks.
    """
    q, k, v = (normal(1, 5, 32) for _ in range(3))
    y = ops.attention(q, k, v, 4, components=4).data
    first = np.concatenate([np.arange(b * 8, b * 8 + 2) for b in range(4)])  # quaternions 0 and 1
    alone = ops.attention(q[..., first], k[..., first], v[..., first], 1).data
    np.testing.assert_allclose(y[..., first], alone, atol=1e-6)
    v[..., first] += 1
    changed = ops.attention(q, k, v, 4, components=4).data != y
    assert changed[..., first].all()
    assert not np.delete(changed, first, axis=-1).any()


def test_a_vector_is_never_unlike_itself():
    """The score is Re(conj(q) k), not Re(q k): of a vector with itself it is |q|^2, not -|q|^2."""
    q = np.zeros((1, 2, 4), np.float32)
    q[0, :, 1] = 3, -3  # i and -i
    v = np.eye(2, 4, dtype=np.float32)[None]
    y = ops.attention(q, q, v, 1, components=4).data
    assert y[0, 0, 0] > 0.99
    assert y[0, 1, 1] > 0.99


def test_attention_and_quaternion_norm_commute_with_a_factor_on_the_right():
    """x -> x u; projections w x + a unit on the right as well. The real norm does not commute."""
    u, x = unit(), normal(2, 6, 16)
    w = [normal(4, 4, 4) / 4 for _ in range(3)]

    def layer(x):
        return ops.attention(*(ops.hamilton_linear(x, a) for a in w), 2, components=4).data

    np.testing.assert_allclose(layer(turned(x, u)), turned(layer(x), u), atol=1e-5)
    gain, none = normal(4), np.zeros(16, np.float32)
    for left in (False, True):
        a = ops.layer_norm(turned(x, u, left), gain, none, 4).data
        np.testing.assert_allclose(
            a, turned(ops.layer_norm(x, gain, none, 4).data, u, left), atol=1e-5
        )
    ones = np.ones(16, np.float32)
    a, b = ops.layer_norm(turned(x, u), ones, none), ops.layer_norm(x, ones, none)
    assert np.abs(a.data - turned(b.data, u)).max() > 0.01


# ------------------------------------------------------------- norm, embedding, graphs, time


def test_layer_norm_of_a_row():
    x = np.array([[1.0, 2, 3, 6]], np.float32)
    y = ops.layer_norm(x, np.ones(4, np.float32), np.zeros(4, np.float32), eps=0).data
    np.testing.assert_allclose(y, (x - 3) / np.sqrt(3.5), rtol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_gradient_of_a_table_has_the_same_bits_each_time_and_digits(backend):
    E, tokens = normal(3, 5), RNG.integers(0, 2, 50_000)
    g = np.full((50_000, 5), 1 / 3, np.float32)
    grads = []
    with use_backend(backend):
        for _ in range(2):
            (table,) = leaves(E)
            ops.embedding(table, tokens).backward(g)
            grads.append(table.grad)
    np.testing.assert_array_equal(*grads)
    count = np.bincount(tokens, minlength=3)
    np.testing.assert_allclose(grads[0], (count / 3)[:, None].repeat(5, 1), rtol=1e-6)


def test_a_nan_in_the_gradient_of_one_token_stays_there():
    (E,) = leaves(normal(4, 2))
    g = np.ones((3, 2), np.float32)
    g[1] = np.nan
    with use_backend("numpy"):
        ops.embedding(E, [0, 1, 3]).backward(g)
    assert np.isnan(E.grad).any(axis=1).tolist() == [False, True, False, False]


def test_a_matrix_of_few_entries_is_the_dense_one():
    dense = np.where(RNG.random((20, 13)) < 0.2, normal(20, 13), 0)
    rows, columns = np.nonzero(dense)
    A = CSR.from_entries(dense[rows, columns], rows, columns, dense.shape)
    x = normal(13, 4)
    for backend in ("numpy", "numba"):
        with use_backend(backend):
            np.testing.assert_allclose(ops.csr_matmul(A, x).data, dense @ x, atol=1e-5)
            y = ops.csr_matmul(A.transposed, normal(20, 2))
            assert y.shape == (13, 2)


def test_a_causal_convolution_sees_nothing_that_comes_later():
    x, w = normal(2, 12, 4), normal(1, 3, 4, 5)
    later = x.copy()
    later[:, 6:] = 99
    a, b = (ops.conv1d(v, w, dilation=2, causal=True).data for v in (x, later))
    np.testing.assert_array_equal(a[:, :6], b[:, :6])
    expected = sum(x[:, 11 - 2 * (2 - v)] @ w[0, v] for v in range(3))
    np.testing.assert_allclose(a[:, 11], expected, atol=1e-5)


def test_an_even_window_has_its_longer_half_behind():
    """As 'same' of other libraries: a window of 4 sees one step before and two after."""
    x = np.zeros((1, 6, 1), np.float32)
    x[0, 3] = 1
    w = np.arange(1.0, 5, dtype=np.float32).reshape(1, 4, 1, 1)
    assert ops.conv1d(x, w).data.ravel().tolist() == [0, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda: ops.embedding(normal(5, 2), [[0, 5]]), DataError, r"token 5 at \(0, 1\).* 0 to 4"),
        (lambda: ops.embedding(normal(5, 2), [-1]), DataError, "token -1"),
        (lambda: ops.embedding(normal(5, 2), [0.5]), DTypeError, "integers"),
        (lambda: ops.embedding(normal(5), [0]), ShapeError, r"\(V, C\)"),
        (lambda: ops.mean_over_time(normal(2, 3, 1), [0, 3]), DataError, "sequence 0 is 0"),
        (lambda: ops.mean_over_time(normal(2, 3, 1), [1, 4]), DataError, "sequence 1 is 4.*1 to 3"),
        (lambda: ops.mean_over_time(normal(2, 3, 1), [1]), ShapeError, "2 sequences want 2"),
        (lambda: ops.mean_over_time(normal(2, 3)), ShapeError, r"\(N, T, C\)"),
        (lambda: ops.pack(normal(2, 3, 1), [1, 4]), DataError, "pack: .* 1 is 4.*1 to 3"),
        (lambda: ops.unpack(normal(5, 1), [2, 2]), ShapeError, "unpack: .*R;.* whose sum is 4"),
        (lambda: ops.unpack(normal(5, 1), [6, -1]), DataError, "unpack: .* 1 is -1.*1 to 6"),
        (lambda: ops.unpack(normal(5, 1), None), ShapeError, r"unpack: .*\(5, 1\) and lengths"),
        (lambda: ops.unpack(normal(5, 1), ["a"]), ShapeError, "unpack: .* lengths of <U1"),
        (lambda: ops.unpack(normal(1, 5, 1), [5]), ShapeError, r"unpack: .* \(1, 5, 1\)"),
        (lambda: ops.attention(*[normal(1, 2, 8)] * 3, 4, 4), ShapeError, "4 heads .* 2 quat"),
        (lambda: ops.attention(*[normal(1, 2, 8)] * 3, 3), ShapeError, "3 heads .* 8 features"),
        (lambda: ops.attention(*[normal(1, 2, 8)] * 3, 1, 2), OptionError, "1 or 4"),
        (lambda: ops.layer_norm(normal(2, 6), normal(6), normal(6), 4), ShapeError, "4 component"),
        (lambda: ops.gru(normal(1, 2, 3), normal(3, 6), normal(3, 6), normal(6), normal(2)),
         ShapeError, r"w_h has shape \(2, 6\)"),
        (lambda: ops.lstm(normal(1, 2, 3), normal(3, 8), normal(2, 8), normal(7)),
         ShapeError, "w_x"),
        (lambda: ops.csr_matmul(np.eye(2), normal(2, 2)), DTypeError, "CSR"),
        (lambda: CSR(normal(2), np.array([0, 3]), np.array([0, 2]), (1, 3)), DataError, "below 3"),
        (lambda: ops.conv1d(normal(1, 3, 2), normal(2, 2, 2, 2)), ShapeError, r"\(1, V, P, Q\)"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(f, error, message):
    with no_grad(), pytest.raises(error, match=message):
        f()
