"""The quaternion algebra with gradients: what `quatgrad.quaternion` has, for Tensors (..., 4).

    multiply conjugate norm inverse normalize exp log sqrt power general_power rotate slerp matmul

A quaternion is a point of R^4, with the gradient of real analysis, finite at the identity. At zero,
and where log and sqrt jump on the negative real axis, each operation states its rule.
"""

from collections.abc import Callable
from numbers import Integral, Real

from quatgrad import quaternion
from quatgrad.arrays import Array, array_module
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import DTypeError
from quatgrad.ops.arithmetic import unbroadcast, where
from quatgrad.ops.hamilton import hamilton as multiply
from quatgrad.quaternion.checks import check_pair


class Conjugate(Function):
    """y = conj(q); dq = conj(g)."""

    def forward(self, q):
        return quaternion.conjugate(q)

    def backward(self, g):
        return quaternion.conjugate(g)


class Norm(Function):
    """y = |q|; dq = g q / |q|, 0 at zero."""

    def forward(self, q):
        self.save_for_backward(q)
        return quaternion.norm(q)

    def backward(self, g):
        (q,) = self.saved
        return _select(g[..., None], q) * quaternion.normalize(q)


class Inverse(Function):
    """y = 1 / q; since d(1/q) = -y dq y, dq = -conj(y) g conj(y), 0 at zero."""

    def forward(self, q):
        y = quaternion.inverse(q)
        self.save_for_backward(q, y)
        return y

    def backward(self, g):
        q, y = self.saved
        g, c = _select(g, q), quaternion.conjugate(_select(y, q))
        return -quaternion.multiply(quaternion.multiply(c, g), c)


class Normalize(Function):
    """y = q / |q|; dq = (g - y <y, g>) / |q|, 0 at zero."""

    def forward(self, q):
        y = quaternion.normalize(q)
        self.save_for_backward(q, y)
        return y

    def backward(self, g):
        q, y = self.saved
        return _over_norm(g - y * _dot(y, g), q)


class Intrinsic(Function):
    """y = f(q) where f keeps every plane spanned by 1 and an axis u: exp, log, sqrt, powers.

    Within its plane q = w + t u is a complex number, and moves y by the complex derivative f'(q);
    across the plane it turns v about 0, and y's vector part turns with it. So, splitting g,

        dq = conj(f'(q)) g_along + (<y_v, u> / t) g_across,    the second factor Re f' at t = 0.

    At zero dq is 0 where f' is not finite. Where f jumps (log and sqrt on the negative real axis)
    u is the axis of the value taken, i. `value(q)` is f(q), `slope(q, y)` is f'(q).
    """

    def __init__(
        self, name: str, value: Callable[[Array], Array], slope: Callable[[Array, Array], Array]
    ):
        self.name, self.value, self.slope = name, value, slope

    def __repr__(self) -> str:
        return self.name

    def forward(self, q):
        y = self.value(q)
        self.save_for_backward(q, y)
        return y

    def backward(self, g):
        q, y = self.saved
        xp = array_module(q)
        slope = self.slope(q, y)
        lost = (q == 0).all(axis=-1, keepdims=True) & ~xp.isfinite(slope).all(
            axis=-1, keepdims=True
        )
        slope, y, g = (xp.where(lost, 0, a) for a in (slope, y, g))
        v = q[..., 1:]
        real = (v == 0).all(axis=-1, keepdims=True)
        u = _axis(xp.where(real, y[..., 1:], v))
        t = xp.where(real, 1, _length(v))
        ratio = xp.where(real, slope[..., :1], _dot(y[..., 1:], u) / t)
        along = _dot(g[..., 1:], u) * u
        across = g[..., 1:] - along
        across = xp.where(across == 0, 0, ratio) * across  # beside the cut a ratio is infinite
        in_plane = quaternion.conjugate(slope), xp.concatenate([g[..., :1], along], axis=-1)
        return quaternion.multiply(*in_plane) + _pure(across)


class Rotate(Function):
    """y = vec(q v q^-1); dv = vec(q^-1 g q), dq = -2 (g u v + <g, y> u) / |q| with u = q / |q|.

    Lengthening q changes nothing, so dq stands at right angles to q; it is 0 at zero.
    """

    def forward(self, q, v):
        y = quaternion.rotate(q, v)
        self.save_for_backward(q, v, y)
        return y

    def backward(self, g):
        q, v, y = self.saved
        u = quaternion.normalize(q)
        turned = quaternion.multiply(quaternion.multiply(_pure(g), u), _pure(v))
        dq = _over_norm(-2 * (turned + _dot(g, y) * u), q)
        dv = quaternion.rotate(quaternion.conjugate(q), g)
        return unbroadcast(dq, self.shapes[0]), unbroadcast(dv, self.shapes[1])


class MatMul(Function):
    """Y = A B, matrices of quaternions; dA = G B^H, dB = A^H G, B^H = conj(B)^T."""

    def forward(self, A, B):
        self.save_for_backward(A, B)
        return quaternion.matmul(A, B)

    def backward(self, g):
        # B^H, A^H: (..., N, K, 4) -> (..., K, N, 4)
        A, B = (quaternion.conjugate(M).swapaxes(-2, -3) for M in self.saved)
        dA, dB = quaternion.matmul(g, B), quaternion.matmul(A, g)
        return unbroadcast(dA, self.shapes[0]), unbroadcast(dB, self.shapes[1])


def conjugate(q: Tensor) -> Tensor:
    """y = conj(q)."""
    return Conjugate()(q)


def norm(q: Tensor) -> Tensor:
    """y = |q|: (..., 4) -> (...)."""
    return Norm()(q)


def inverse(q: Tensor) -> Tensor:
    """y = 1 / q; at zero y is NaN and dq 0."""
    return Inverse()(q)


def normalize(q: Tensor) -> Tensor:
    """y = q / |q|."""
    return Normalize()(q)


def exp(q: Tensor) -> Tensor:
    """y = e^q, its own derivative."""
    return Intrinsic("Exp", quaternion.exp, lambda q, y: y)(q)


def log(q: Tensor) -> Tensor:
    """y = ln q; f' = 1 / q. At zero dq is 0."""
    return Intrinsic("Log", quaternion.log, lambda q, y: quaternion.inverse(q))(q)


def sqrt(q: Tensor) -> Tensor:
    """y = q^(1/2), the root with the real part >= 0; f' = 1 / (2 y). At zero dq is 0."""
    return Intrinsic("Sqrt", quaternion.sqrt, lambda q, y: quaternion.inverse(2 * y))(q)


def power(q: Tensor, t: float) -> Tensor:
    """y = q^t for a number t; f' = t q^(t-1). At zero dq is 0 where f' is not finite."""
    if not isinstance(t, Real):
        raise DTypeError(
            f"power: the exponent is a number; got a {type(t).__name__} (for quaternion "
            "exponents there is general_power)"
        )

    t = int(t) if isinstance(t, Integral) else float(t)
    return Intrinsic(
        "Power", lambda q: quaternion.power(q, t), lambda q, y: t * quaternion.power(q, t - 1)
    )(q)


def general_power(q: Tensor, p: Tensor) -> Tensor:
    """y = e^(ln(q) p) for a quaternion exponent p (..., 4); where q is 0, dq and dp are 0."""
    q, p = as_tensors("general_power", q, p)
    xp = array_module(q.data)
    zero = (q.data == 0).all(axis=-1, keepdims=True)
    one = xp.asarray([1, 0, 0, 0], dtype=q.dtype)
    y = exp(multiply(log(where(zero, one, q)), p))
    return where(zero, quaternion.general_power(xp.zeros_like(q.data), p.data), y)


def rotate(q: Tensor, v: Tensor) -> Tensor:
    """y = vec(q v q^-1): vectors v (..., 3) turned by quaternions q (..., 4), of any length."""
    return Rotate()(q, v)


def slerp(p: Tensor, q: Tensor, t: float) -> Tensor:
    """y = p (p^-1 q)^t: from p (t = 0) to q (t = 1), the shorter way of q and -q."""
    p, q = as_tensors("slerp", p, q)
    check_pair("slerp", p.data, q.data)
    xp = array_module(p.data)
    nearer = xp.where(_dot(p.data, q.data) < 0, -1, 1).astype(p.dtype)
    return multiply(p, power(multiply(inverse(p), q * nearer), t))


def matmul(A: Tensor, B: Tensor) -> Tensor:
    """Y = A B: matrices of quaternions, (..., N, K, 4) times (..., K, M, 4)."""
    return MatMul()(A, B)


def _dot(p: Array, q: Array) -> Array:
    """<p, q> over the last axis, which stays with size 1."""
    return (p * q).sum(axis=-1, keepdims=True)


def _select(a: Array, q: Array) -> Array:
    """a, but 0 where q is 0: NaN and infinity too."""
    return array_module(q).where((q == 0).all(axis=-1, keepdims=True), 0, a)


def _pure(v: Array) -> Array:
    """The quaternion 0 + v of vectors (..., 3)."""
    xp = array_module(v)
    return xp.concatenate([xp.zeros_like(v[..., :1]), v], axis=-1)


def _length(v: Array) -> Array:
    """|v| (..., 1) of vectors (..., 3) of any size."""
    return quaternion.norm(_pure(v))[..., None]


def _axis(v: Array) -> Array:
    """v / |v| of vectors (..., 3), 0 for 0."""
    return quaternion.normalize(_pure(v))[..., 1:]


def _over_norm(a: Array, q: Array) -> Array:
    """a / |q|, 0 where q is 0."""
    n = quaternion.norm(q)[..., None]
    return array_module(q).where(n == 0, 0, a / (n + (n == 0)))
