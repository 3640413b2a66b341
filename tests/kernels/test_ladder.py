"""Every kernel of every rung against `reference`: value, dtype, shape, and arguments left alone.

A new kernel needs an entry in `ARGUMENTS`; the structural test at the end says so.
"""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad.kernels import reference
from quatgrad.kernels.reference.conv_norm_act import Block, Saved
from quatgrad.kernels.registry import kernels_of

RUNGS = ("gemm", "numba_cpu")
ELSEWHERE = {  # are these tested
    "accumulate_metrics", "adam", "bias_relu", "sgd", "sgd_all", "sgd_masked", "upcast",
    "update_running_stats",
}  # fmt: skip


# ---------------------------------------------------------------------------- arguments


def _layout(a, how):
    """The numbers in another layout in memory, writeable or not ("broadcast": a's first only)."""
    axes = tuple(range(a.ndim))
    if how == "transposed":
        a = np.ascontiguousarray(a.transpose(axes[::-1])).transpose(axes[::-1])
    elif how == "reversed":
        a = np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    elif how == "sliced":
        big = np.full([2 * n for n in a.shape], 99, a.dtype)
        big[tuple(slice(0, None, 2) for _ in axes)] = a
        a = big[tuple(slice(0, None, 2) for _ in axes)]
    elif how == "broadcast":
        a = np.broadcast_to(a[:1], a.shape)
    elif how == "read-only":
        a = a.copy()
        a.flags.writeable = False
    return a


LAYOUTS = st.sampled_from(
    ("contiguous", "transposed", "reversed", "sliced", "broadcast", "read-only")
)
SMALL = st.integers(1, 3)
PAIRS = st.tuples(SMALL, SMALL)


@st.composite
def _shapes(draw):
    """Shapes of a window that slides over a map: any that leave at least one output pixel."""
    s = {}
    s["N"], s["H"], s["W"] = draw(SMALL), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    s["P"], s["Q"] = draw(SMALL), draw(SMALL)
    s["stride"], s["padding"] = draw(PAIRS), draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    s["size"] = tuple(
        draw(st.integers(1, min(5, n + 2 * p)))
        for n, p in zip((s["H"], s["W"]), s["padding"], strict=True)
    )
    s["out"] = reference.out_size((s["H"], s["W"]), s["size"], s["stride"], s["padding"])
    return s


class Draw:
    """What an entry of the table draws from: a generator for numbers, `draw` for layouts."""

    def __init__(self, draw, dtype):
        self.draw, self.dtype = draw, dtype
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.s = draw(_shapes())

    def array(self, *shape, mean=0.0):
        return self.lay(mean + self.rng.standard_normal(shape))

    def lay(self, a):
        return _layout(a.astype(self.dtype), self.draw(LAYOUTS))

    def x(self, Q=1):
        return self.array(self.s["N"], self.s["H"], self.s["W"], Q * self.s["P"])

    def g(self, Q):
        return self.array(self.s["N"], *self.s["out"], Q)


def _window(d):
    return d.s["stride"], d.s["padding"]


def _hamilton(d):
    lead = d.draw(st.sampled_from([(), (1,), (3,), (2, 3)]))
    return d.array(*lead, 4), d.array(*lead, 4)


def _quaternions(d, lead, k=4):
    """Of size 1, mostly; or spread over all decades, real, zero, not finite."""
    a = d.rng.standard_normal((*lead, k))
    kind = d.draw(st.sampled_from(["one", "one", "spread", "special"]))
    if kind == "spread":
        a *= 10 ** d.rng.uniform(*((-44, 37) if d.dtype == np.float32 else (-320, 307)), a.shape)
    if kind == "special":
        odd = [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, np.finfo(d.dtype).max / 4]
        change = d.rng.random(a.shape) < 0.5
        a[change] = d.rng.choice(odd, change.sum())
    return d.lay(a)


LEADS = st.sampled_from([((), ()), ((3,), (3,)), ((3,), ()), ((), (3,)), ((2, 3), (3,)),
                         ((2, 1), (1, 3)), ((0,), (0,)), ((20,), (1,))])  # fmt: skip


def _quaternion(d):
    return (_quaternions(d, d.draw(LEADS)[0]),)


def _quaternion_and(d, k):
    p, q = d.draw(LEADS)
    return _quaternions(d, p), _quaternions(d, q, k)


def _exp(d):
    """Not so long that all digits of the angle are lost, which would leave nothing to compare."""
    (q,) = _quaternion(d)
    return (d.lay(np.where(abs(q) < 1e30, np.clip(q, -60, 60), q)) if q.size else q,)


def _power(d):
    q, t = d.draw(LEADS)
    return _quaternions(d, q), d.array(*t) if t else np.array(d.rng.standard_normal(), d.dtype)


def _matrices(d):
    """Rotations, and what is none: enlarged, reflected, not finite."""
    q = _quaternions(d, d.draw(LEADS)[0])
    R = reference.quaternion_to_matrix(q)
    return (d.lay(R * d.rng.choice([1, 1, 1, 2, -1], R.shape[:-2])[..., None, None]),)


def _to_euler(d):
    """Turns about any three axes, not near the lock, where rounding decides which angle is 0."""
    i, k, last = d.draw(st.permutations([1, 2, 3]))
    axes = (i, k, d.draw(st.sampled_from([i, last])))
    return d.array(*d.draw(LEADS)[0], 4), axes, d.draw(st.booleans())


def _slerp(d):
    """Between any, equal, and opposite unit quaternions."""
    p, q = (reference.quaternion_normalize(d.array(*lead, 4)) for lead in d.draw(LEADS))
    if d.draw(st.booleans()) and p.shape == q.shape:
        q = p * d.draw(st.sampled_from([1, -1]))
    t = d.draw(st.sampled_from([0.0, 1.0, 0.3, 1.7, -0.4, [0.0, 0.5, 1.0]]))
    t = t if p.shape[:-1] in ((), (3,)) and q.shape[:-1] in ((), (3,)) else 0.3
    return d.lay(p), d.lay(q), np.array(t, d.dtype), True


def _linear(d, *names):
    N, P, Q = d.s["N"], d.s["P"], d.s["Q"]
    make = {"x": (N, 4 * P), "g": (N, 4 * Q), "w": (4, P, Q)}
    return [d.array(*make[n]) for n in names]


def _lead(d):
    return d.draw(st.sampled_from([(), (2,), (3, 2)]))


def _conv(d, *names, quaternion=False):
    s, four = d.s, 4 if quaternion else 1
    P, Q = s["P"], s["Q"]
    lead = (4,) if quaternion else ()
    make = {
        "x": lambda: d.x(four),
        "g": lambda: d.g(four * Q),
        "w": lambda: d.array(*lead, *s["size"], P, Q),
        "shape": lambda: (s["N"], s["H"], s["W"], four * P),
        "size": lambda: s["size"],
        "weight": lambda: (*lead, *s["size"], P, Q),
    }
    return [make[n]() for n in names] + list(_window(d))


def _pool_input(d):
    """Numbers with many ties, and now and then a NaN or an infinity."""
    a = np.array(d.rng.integers(-2, 3, (d.s["N"], d.s["H"], d.s["W"], d.s["P"])), d.dtype)
    odd = d.draw(st.sampled_from([None, None, np.nan, np.inf, -np.inf]))
    if odd is not None:
        a[d.rng.random(a.shape) < 0.2] = odd
    return d.lay(a)


def _max_pool_dx(d):
    s = d.s
    _, winner = reference.max_pool(_pool_input(d), s["size"], *_window(d))
    shape = (s["N"], s["H"], s["W"], s["P"])
    return d.g(s["P"]), _layout(winner, d.draw(LAYOUTS)), shape, s["size"], *_window(d)


def _norm_input(d):
    """(..., C); sometimes a mean a thousand times the deviation; sometimes a single row."""
    lead = d.draw(st.sampled_from([(1,), (2,), (5,), (1, 1, 1), (2, 3, 1), (3, 4, 5), (3000,)]))
    return d.array(*lead, d.draw(st.integers(1, 5)), mean=d.draw(st.sampled_from([0, 0, 1000])))


def _batch_norm(d):
    x = _norm_input(d)
    return x, d.array(x.shape[-1]), d.array(x.shape[-1]), 1e-5


def _statistics(d, x):
    """A mean near that of x, and a variance: those of another batch."""
    C = x.shape[-1]
    mean = x.reshape(-1, C).mean(axis=0) + d.rng.standard_normal(C)
    return d.lay(mean), d.lay(0.5 + d.rng.random(C))


def _batch_norm_dx(d):
    x = _norm_input(d)
    return d.array(*x.shape), x, *_statistics(d, x), d.array(x.shape[-1]), 1e-5


def _batch_norm_eval(d):
    x = _norm_input(d)
    C = x.shape[-1]
    return x, *_statistics(d, x), d.array(C), d.array(C), 1e-5


def _logits(d):
    """Logits or log-probabilities of up to 70 classes, more than a warp has lanes, and labels."""
    N, K = d.draw(st.integers(1, 20)), d.draw(st.integers(1, 70))
    labels = d.rng.integers(0, K, N)
    if d.draw(st.booleans()):
        labels = labels.astype(np.int32)
    return d.array(N, K), labels, d.draw(st.sampled_from([0.0, 0.1]))


def _augment(d):
    """Images of which some are taken, twice perhaps, and moved, a few right out of the frame."""
    M, H, W, C = d.draw(SMALL), d.s["H"], d.s["W"], d.draw(SMALL)
    N, K = d.draw(st.integers(0, 5)), d.draw(st.integers(1, 4))
    images = d.rng.integers(0, 256, (M, H, W, C)).astype(np.uint8)
    moves = np.stack([d.rng.integers(-4, 5, N), d.rng.integers(-4, 5, N), d.rng.integers(0, 2, N)])
    moves = _layout(moves.T.astype(np.int32), d.draw(st.sampled_from(["contiguous", "sliced"])))
    mean, deviation = d.array(C), d.lay(0.5 + d.rng.random(C))
    return images, d.rng.integers(0, M, N), moves, mean, deviation, d.array(C, K)


def _block(d, *names):
    """A convolution and its norm; eps is large, so that nothing is divided by hardly anything.

    Alone, with a rectifier, with a residual, and with both.
    """
    quaternion, kind = d.draw(st.booleans()), d.draw(st.integers(0, 3))
    Q = 4 * d.s["Q"] if quaternion else d.s["Q"]
    *arrays, stride, padding = _conv(d, *names, quaternion=quaternion)
    c = d.g(Q)
    norm = [d.array(Q), d.lay(0.5 + d.rng.random(Q))]
    residual = d.g(Q) if kind >= 2 else None
    block = Block(stride, padding, 1.0, kind % 2 == 1)
    return arrays, c, residual, norm, [d.array(Q), d.array(Q)], block


def _conv_norm_act(d):
    (x, w), _, residual, _, parameters, block = _block(d, "x", "w")
    return x, w, *parameters, residual, block


def _conv_norm_act_dx(d):
    (g, x, w), c, y, statistics, parameters, block = _block(d, "g", "x", "w")
    y = y if block.relu else None
    return g, Saved(x, c, y, *statistics), w, *parameters, block, True


def _segments(d):
    """Rows and their keys, of which some are nobody's; sometimes no rows."""
    M, K = d.draw(st.sampled_from([0, 1, 5, 40])), d.draw(st.integers(1, 9))
    return d.array(M, d.draw(st.integers(1, 40))), d.rng.integers(0, K, M), K


def _csr(d):
    """A matrix with E entries, and rows without any."""
    I, J, E = d.draw(SMALL), d.draw(SMALL), d.draw(st.integers(0, 9))
    starts = np.sort(np.concatenate([[0, E], d.rng.integers(0, E + 1, I - 1)]))
    return d.array(E), d.rng.integers(0, J, E), starts, d.array(J, d.draw(st.integers(1, 20)))


def _rows(d):
    """(M, C) in 1 or 4 blocks, C, and the blocks."""
    components = d.draw(st.sampled_from([1, 4]))
    return d.draw(st.sampled_from([1, 3, 130])), components * d.draw(st.integers(2, 9)), components


def _layer_norm(d):
    M, C, components = _rows(d)
    return d.array(M, C), d.array(C // components), d.array(C), components, 0.1


def _layer_norm_dx(d):
    M, C, components = _rows(d)
    inv = d.lay(0.5 + d.rng.random(M))
    return d.array(M, C), d.array(M, C), inv, d.array(C // components), components


def _sequences(d):
    """N, T, and lengths from 1 to T."""
    N, T = d.draw(SMALL), d.draw(st.integers(1, 6))
    return N, T, d.rng.integers(1, T + 1, N)


def _attention(d, dx=False):
    (N, T, lengths), heads = _sequences(d), d.draw(SMALL)
    components = d.draw(st.sampled_from([1, 4]))
    C = heads * components * d.draw(st.integers(1, 9))
    q, k, v = (d.array(N, T, C) for _ in range(3))
    if not dx:
        return q, k, v, lengths, heads, components, d.draw(st.booleans())
    inside = np.arange(T) < lengths[:, None]
    a = d.rng.random((N, heads, T, T)) * (inside[:, None, None] & inside[:, None, :, None])
    a = _layout(a.astype(d.dtype), d.draw(st.sampled_from(["contiguous", "transposed", "sliced"])))
    return d.array(N, T, C), q, k, v, a, lengths, components


def _recurrence(d, name):
    """Gates and states as they may be: gates inside (0, 1), or (-1, 1) for the new state."""
    (N, T, lengths), H = _sequences(d), d.draw(st.integers(1, 18))
    G, reverse = 3 if name.startswith("gru") else 4, d.draw(st.booleans())
    x, U = d.array(N, T, G * H), d.array(H, G * H)
    if not name.endswith("dx"):
        return (x, U, d.array(H), lengths, reverse) if G == 3 else (x, U, lengths, reverse)
    gates, g = d.lay(d.rng.random(x.shape)), d.array(N, T, H)
    y, inner = d.lay(d.rng.random(g.shape)), d.array(N, T, H)
    U = d.lay(U / H)  # else gradients grow by powers of T
    if G == 3:
        return g, y, U, gates, inner, lengths, reverse
    return g, U, gates, inner, lengths, reverse


#: Kernel name -> its arguments, drawn.
ARGUMENTS = {
    "augment": _augment,
    "hamilton": _hamilton,
    **dict.fromkeys(
        [
            f"quaternion_{f}"
            for f in ("norm", "normalize", "inverse", "log", "sqrt", "polar", "to_matrix")
        ],
        _quaternion,
    ),
    "quaternion_from_matrix": _matrices,
    "quaternion_to_euler": _to_euler,
    "quaternion_distance": lambda d: (
        *_quaternion_and(d, 4),
        d.draw(st.booleans()),
        d.draw(st.booleans()),
    ),
    "quaternion_slerp": _slerp,
    "quaternion_exp": _exp,
    "quaternion_divide": lambda d: _quaternion_and(d, 4),
    "quaternion_rotate": lambda d: _quaternion_and(d, 3),
    "quaternion_power": _power,
    "matmul": lambda d: (d.array(d.s["N"], d.s["P"]), d.array(d.s["P"], d.s["Q"])),
    "hamilton_linear": lambda d: _linear(d, "x", "w"),
    "hamilton_linear_dx": lambda d: _linear(d, "g", "w"),
    "hamilton_linear_dw": lambda d: _linear(d, "x", "g"),
    "expand": lambda d: (d.array(4, *_lead(d), d.s["P"], d.s["Q"]),),
    "fold": lambda d: (d.array(*_lead(d), 4 * d.s["P"], 4 * d.s["Q"]),),
    "patches": lambda d: _conv(d, "x", "size"),
    "unpatches": lambda d: (
        d.array(d.s["N"], *d.s["out"], *d.s["size"], d.s["P"]),
        *_conv(d, "shape"),
    ),
    "cast_input": lambda d: (d.x(),),
    "conv2d": lambda d: _conv(d, "x", "w", quaternion=d.draw(st.booleans())),
    "conv2d_dx": lambda d: _conv(d, "g", "w", "shape", quaternion=d.draw(st.booleans())),
    "conv2d_dw": lambda d: _conv(d, "x", "g", "weight", quaternion=d.draw(st.booleans())),
    "max_pool": lambda d: (_pool_input(d), d.s["size"], *_window(d)),
    "max_pool_dx": _max_pool_dx,
    "avg_pool": lambda d: _conv(d, "x", "size"),
    "avg_pool_dx": lambda d: (
        d.g(d.s["P"]),
        (d.s["N"], d.s["H"], d.s["W"], d.s["P"]),
        d.s["size"],
        *_window(d),
    ),
    "relu": lambda d: (_pool_input(d),),
    "add": lambda d: (d.array(d.s["N"], d.s["P"]), d.array(d.s["N"], d.s["P"])),
    "add_to": lambda d: (d.array(d.s["N"], d.s["P"]), d.array(d.s["N"], d.s["P"])),
    "gelu": lambda d: (d.array(d.s["N"], 5 * d.s["P"]),),
    "dropout": lambda d: (x := d.x(), _layout(d.rng.random(x.shape) >= 0.3, d.draw(LAYOUTS)), 0.3),
    "gelu_dx": lambda d: (d.array(d.s["N"], d.s["P"]), d.array(d.s["N"], d.s["P"])),
    "segment_sum": _segments,
    "csr_matmul": _csr,
    "layer_norm": _layer_norm,
    "layer_norm_dx": _layer_norm_dx,
    "attention": _attention,
    "attention_dx": lambda d: _attention(d, dx=True),
    "gru": lambda d: _recurrence(d, "gru"),
    "gru_dx": lambda d: _recurrence(d, "gru_dx"),
    "lstm": lambda d: _recurrence(d, "lstm"),
    "lstm_dx": lambda d: _recurrence(d, "lstm_dx"),
    "relu_dx": lambda d: (d.array(d.s["N"], d.s["P"]), d.array(d.s["N"], d.s["P"])),
    "bias_relu_dx": lambda d: (d.x(), d.x()),
    "conv_norm_act": _conv_norm_act,
    "conv_norm_act_dx": _conv_norm_act_dx,
    "cross_entropy": _logits,
    "cross_entropy_dz": lambda d: (*_logits(d), np.array(d.rng.standard_normal(), d.dtype)),
    "batch_norm": _batch_norm,
    "batch_norm_dx": _batch_norm_dx,
    "batch_norm_eval": _batch_norm_eval,
    "sum_over": lambda d: (d.x(), d.draw(st.sampled_from([None, 0, (0, 1, 2), -1]))),
}


# --------------------------------------------------------------------------- comparison


def flatten(values):
    """The values in a row, tuples within tuples opened."""
    if not isinstance(values, tuple):
        return [values]
    return [v for value in values for v in flatten(value)]


def convert(f, value):
    """f of every array in a value, which may be a tuple of tuples."""
    if isinstance(value, tuple):
        values = [convert(f, v) for v in value]
        return type(value)(*values) if hasattr(value, "_fields") else tuple(values)
    return f(value) if isinstance(value, np.ndarray) else value


def _tolerance(name, args, dtype):
    """64 eps of a natural size of the numbers summed.

    Sums here have at most a few hundred terms of size about 1, apart from batch norm: there x
    is read with a rounding error of eps |x|, which the division by the deviation enlarges, and
    the reference adds up to 9000 rows one by one in float64: M eps of float64 more.
    """
    eps = np.finfo(dtype).eps
    if not name.startswith("batch_norm"):
        return 64 * eps
    x = args[1] if name == "batch_norm_dx" else args[0]
    deviation = np.sqrt(x.astype(np.float64).var(axis=tuple(range(x.ndim - 1))) + 1e-5).min()
    eps = 64 * eps + x.size // x.shape[-1] * np.finfo(np.float64).eps
    return eps * max(1, float(np.abs(x).max())) / min(1.0, float(deviation))


def widen(value):
    """The value with its float32 arrays in float64."""
    return convert(lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, value)


def _compare_quaternions(name, args, y, r):
    """Each by itself: 16 eps of its size, times what exp and powers make of an error in q."""
    assert y.dtype == r.dtype
    assert y.shape == r.shape
    if name in ("quaternion_exp", "quaternion_power"):  # |y| overflows: which parts, may differ
        over = np.isinf(r).any(axis=-1)
        assert np.isinf(y[over]).any(axis=-1).all()
        y, r = (np.where(over[..., None], 0, a) for a in (y, r))
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(r))
    np.testing.assert_array_equal(y[~np.isfinite(r)], r[~np.isfinite(r)])
    y, r = (np.where(np.isfinite(a), a, 0).astype(np.longdouble) for a in (y, r))
    size = np.abs(r)
    if r.ndim and r.shape[-1] in (3, 4):
        size = size.max(axis=-1, keepdims=True)
    if name == "quaternion_distance":
        size = np.maximum(size, 1)  # it is of q / |q|
    grows = 1.0
    with np.errstate(all="ignore"):
        if name == "quaternion_exp":
            grows = 1 + np.abs(args[0]).max(axis=-1, keepdims=True)
        if name == "quaternion_power":
            grows = 1 + np.abs(args[1][..., None] * reference.quaternion_log(args[0])).max(
                axis=-1, keepdims=True, initial=0
            )
    info = np.finfo(args[0].dtype)
    grows = np.where(np.isfinite(grows), grows, 1)
    assert (np.abs(y - r) <= 16 * info.eps * grows * size + 4 * _smallest(info)).all()


def _smallest(info):
    """The least number that a rung has: a denormal."""
    return info.smallest_subnormal


def _compare(rung, name, args, dtype):
    arrays = [a for a in flatten(args) if isinstance(a, np.ndarray)]
    before = [a.copy() for a in arrays]
    got = flatten(kernels_of(rung)[name](*args))
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b, err_msg="an argument was modified")

    expected = flatten(getattr(reference, name)(*args))
    if name.startswith("quaternion_"):
        for y, r in zip(got, expected, strict=True):
            _compare_quaternions(name, args, y, r)
        return
    truth = flatten(getattr(reference, name)(*widen(args)))
    for y, r, t in zip(got, expected, truth, strict=True):
        if r is None:
            assert y is None
            continue
        assert y.shape == r.shape
        assert y.dtype == r.dtype
        if y.dtype.kind == "i" or name in ("max_pool", "relu", "relu_dx"):
            np.testing.assert_array_equal(y, r)
        else:
            assert y.dtype == dtype
            size = max(1.0, float(np.abs(t).max(initial=0)))
            np.testing.assert_allclose(y, t, rtol=0, atol=size * _tolerance(name, args, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("rung", "name"),
    [(r, n) for r in RUNGS for n in kernels_of(r) if n not in ELSEWHERE],
    ids=lambda v: v,
)
@given(data=st.data())
def test_rung_agrees_with_reference(rung, name, dtype, data):
    args = ARGUMENTS[name](Draw(data.draw, dtype))
    _compare(rung, name, args, dtype)


# ---------------------------------------------------------------------------- structure


def test_every_reference_kernel_is_in_the_table():
    assert set(kernels_of("reference")) - ELSEWHERE == set(ARGUMENTS)


@pytest.mark.parametrize("rung", [*RUNGS, "cupy_gpu"])
def test_rung_has_names_and_parameters_of_reference(rung):
    for name, f in kernels_of(rung).items():
        assert name in {*ARGUMENTS, *ELSEWHERE}, (
            f"{rung}.{name}: no such kernel in reference, or in ARGUMENTS"
        )
        expected = inspect.signature(getattr(reference, name)).parameters
        assert list(inspect.signature(f).parameters) == list(expected), f"{rung}.{name}"


# ------------------------------------------------------------------------ numba_cpu alone


def _numba_results():
    from quatgrad.kernels import numba_cpu
    from quatgrad.kernels.numba_cpu.quaternion.algebra import SHARED

    rng = np.random.default_rng(0)
    x = (1000 + rng.standard_normal((5, 33, 31, 48))).astype(np.float32)
    g = rng.standard_normal(x.shape).astype(np.float32)
    scale, shift = rng.standard_normal((2, 48)).astype(np.float32)
    a = (3, 3), (2, 2), (1, 1)
    yield from numba_cpu.batch_norm(x, scale, shift, 1e-5)
    yield from numba_cpu.batch_norm_dx(g, x, x[0, 0, 0], scale**2, scale, 1e-5)
    P = numba_cpu.patches(x, *a)
    y, winner = numba_cpu.max_pool(x, *a)
    yield from (P, numba_cpu.unpatches(P, x.shape, *a[1:]), y, numba_cpu.avg_pool(x, *a))
    yield numba_cpu.max_pool_dx(y, winner, x.shape, *a)
    yield numba_cpu.avg_pool_dx(y, x.shape, *a)
    p, q = rng.standard_normal((2, 3 * SHARED + 1, 4))
    q[::10_000, 1] = np.nan  # rows that go another way
    yield from (numba_cpu.hamilton(p, q), numba_cpu.hamilton(p[0], q), numba_cpu.quaternion_log(q))


def test_bits_do_not_depend_on_the_number_of_threads():
    import numba

    before = numba.get_num_threads()
    many = list(_numba_results())
    try:
        numba.set_num_threads(1)
        one = list(_numba_results())
    finally:
        numba.set_num_threads(before)
    for a, b in zip(many, one, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("C", [5, 64])
@pytest.mark.parametrize("contiguous", [False, True])
def test_gradients_over_what_nobody_reads_are_the_same_bits(dtype, residual, relu, C, contiguous):
    from quatgrad.kernels.numba_cpu.layers.norm import batch_norm_act_dx

    rng = np.random.default_rng(0)
    g, x, y = rng.standard_normal((3, 6, 7, 11, C)).astype(dtype)
    channels = x.mean((0, 1, 2)), x.var((0, 1, 2)), *rng.standard_normal((2, C)).astype(dtype)
    y = y if residual else None
    expected = batch_norm_act_dx(g, x, y, channels, 1e-5, relu)
    g, x = (a if contiguous else _layout(a, "sliced") for a in (g, x))
    found = batch_norm_act_dx(g, x, y, channels, 1e-5, relu, overwrite=True)
    for a, b in zip(found, expected, strict=True):
        assert (a is b is None) or a.tobytes() == b.tobytes()
    taken = [np.may_share_memory(found[0], x), residual and np.may_share_memory(found[3], g)]
    assert taken == [contiguous, contiguous and residual]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mean", [0, 1e3, 1e6])
def test_statistics_survive_a_large_mean(dtype, mean):
    from quatgrad.kernels import numba_cpu

    x = (mean + np.random.default_rng(0).standard_normal((40_000, 3))).astype(dtype)
    one = np.ones(3, dtype)
    _, m, v = numba_cpu.batch_norm(x, one, one, 0.0)
    eps = np.finfo(dtype).eps
    wide = x.astype(np.longdouble)  # the statistics of the numbers that x really holds
    np.testing.assert_allclose(m, wide.mean(axis=0), rtol=4 * eps, atol=1e-13)
    np.testing.assert_allclose(v, wide.var(axis=0), rtol=max(2 * eps, 1e-12))


def test_statistics_survive_an_outlier_as_the_pivot():
    from quatgrad.kernels import numba_cpu

    x = np.random.default_rng(0).standard_normal((40_000, 2))
    x[0] = 1e9
    _, _, v = numba_cpu.batch_norm(x, np.ones(2), np.ones(2), 0.0)
    np.testing.assert_allclose(v, x.astype(np.longdouble).var(axis=0), rtol=1e-11)


@pytest.mark.parametrize("name", ["patches", "max_pool", "avg_pool"])
def test_no_images(name):
    x = np.empty((0, 4, 4, 2), np.float32)
    args = x, (2, 2), (2, 2), (0, 0)
    for y, r in zip(
        flatten(kernels_of("numba_cpu")[name](*args)),
        flatten(getattr(reference, name)(*args)),
        strict=True,
    ):
        assert (y.shape, y.dtype) == (r.shape, r.dtype)
