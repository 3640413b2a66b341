"""The identities of the quaternion algebra: numbers 1 to 43 of the table."""

import numpy as np

from quatgrad import quaternion as Q  # noqa: N812
from quatgrad.arrays import Array
from quatgrad.random import generator
from quatgrad.testing.identity_table import ONE, Sides, identity, like, real, size

_, I, J, K = np.eye(4)


# ---------------------------------------------------------------------- products and norms


@identity(1, "i i = j j = k k = i j k = -1", 0)
def units(q: Array) -> list[Sides]:
    one, i, j, k = (like(e, q) for e in (ONE, I, J, K))
    products = [(i, i), (j, j), (k, k), (Q.multiply(i, j), k)]
    table = [(i, j, k), (j, k, i), (k, i, j), (j, i, -k), (k, j, -i), (i, k, -j)]
    return [(Q.multiply(a, b), -one, 1) for a, b in products] + [
        (Q.multiply(a, b), c, 1) for a, b, c in table
    ]


@identity(2, "1 q = q 1 = q, 0 q = 0, q + 0 = q", 0)
def neutral(q: Array) -> list[Sides]:
    one, zero = like(ONE, q), like(0 * ONE, q)
    return [
        (Q.multiply(one, q), q, 1),
        (Q.multiply(q, one), q, 1),
        (Q.multiply(zero, q), zero, 1),
        (q + zero, q, 1),
        (np.negative(-q), q, 1),
    ]


@identity(3, "p + q = q + p, s q = q s", 0)
def commute(p: Array, q: Array, s: Array) -> list[Sides]:
    left, right = Q.multiply(real(s), q), Q.multiply(q, real(s))
    return [(p + q, q + p, 1), (left, right, 1), (left, s[:, None] * q, 1)]


@identity(4, "(p q) r = p (q r)", 12.4)
def associative(p: Array, q: Array, r: Array) -> list[Sides]:
    left, right = Q.multiply(Q.multiply(p, q), r), Q.multiply(p, Q.multiply(q, r))
    return [(left, right, size(p) * size(q) * size(r))]


@identity(5, "p (q + r) = p q + p r, (q + r) p = q p + r p", 11.6)
def distributive(p: Array, q: Array, r: Array) -> list[Sides]:
    scale = size(p) * (size(q) + size(r))
    return [
        (Q.multiply(p, q + r), Q.multiply(p, q) + Q.multiply(p, r), scale),
        (Q.multiply(q + r, p), Q.multiply(q, p) + Q.multiply(r, p), scale),
    ]


@identity(6, "conj(p q) = conj(q) conj(p)", 7.2)
def conjugate_reverses(p: Array, q: Array) -> list[Sides]:
    right = Q.multiply(Q.conjugate(q), Q.conjugate(p))
    return [(Q.conjugate(Q.multiply(p, q)), right, size(p) * size(q))]


@identity(7, "conj(conj q) = q, q + conj q = 2 w; whole numbers multiply exactly", 0)
def exact(q: Array, m: Array, n: Array) -> list[Sides]:
    a, b = m.astype(np.int64), n.astype(np.int64)
    w = a[:, 0] * b[:, 0] - (a[:, 1:] * b[:, 1:]).sum(axis=1)
    v = a[:, :1] * b[:, 1:] + b[:, :1] * a[:, 1:] + np.cross(a[:, 1:], b[:, 1:])
    return [
        (Q.conjugate(Q.conjugate(q)), q, 1),
        (q + Q.conjugate(q), real(2 * q[:, 0]), 1),
        (Q.multiply(m, n), np.column_stack([w, v]).astype(q.dtype), 1),
    ]


@identity(8, "|p q| = |p| |q|", 12)
def norm_of_product(p: Array, q: Array) -> list[Sides]:
    return [(Q.norm(Q.multiply(p, q)), Q.norm(p) * Q.norm(q), size(p) * size(q))]


@identity(9, "q conj(q) = |q|^2 = q . q", 4)
def norm2(q: Array) -> list[Sides]:
    n2 = Q.norm2(q)
    return [(Q.multiply(q, Q.conjugate(q)), real(n2), size(q) ** 2), (Q.dot(q, q), n2, 1)]


@identity(10, "Re(p q) = Re(q p)", 0)
def real_part_commutes(p: Array, q: Array) -> list[Sides]:
    return [(Q.real(Q.multiply(p, q)), Q.real(Q.multiply(q, p)), 1)]


@identity(11, "q^2 - 2 w q + |q|^2 = 0", 10.4)
def quadratic(q: Array) -> list[Sides]:
    return [(Q.multiply(q, q) - 2 * q[:, :1] * q, -real(Q.norm2(q)), size(q) ** 2)]


# -------------------------------------------------------------------------------- inverses


@identity(12, "q q^-1 = q^-1 q = 1, of any size", 10)
def inverse(q: Array, h: Array) -> list[Sides]:
    return [
        (side, like(ONE, x), 1)
        for x in (q, h)
        for side in (Q.multiply(x, Q.inverse(x)), Q.multiply(Q.inverse(x), x))
    ]


@identity(13, "(p q)^-1 = q^-1 p^-1", 17.2)
def inverse_reverses(p: Array, q: Array) -> list[Sides]:
    right = Q.multiply(Q.inverse(q), Q.inverse(p))
    return [(Q.inverse(Q.multiply(p, q)), right, 1 / (size(p) * size(q)))]


@identity(14, "(q^-1)^-1 = q, p / q = p q^-1", 10.4)
def quotient(p: Array, q: Array) -> list[Sides]:
    right = Q.multiply(p, Q.inverse(q))
    return [(Q.inverse(Q.inverse(q)), q, size(q)), (Q.divide(p, q), right, size(p) / size(q))]


@identity(15, "|q / |q|| = 1, of any size", 6)
def direction(q: Array, h: Array) -> list[Sides]:
    return [(Q.norm(Q.normalize(x)), np.ones_like(x[:, 0]), 1) for x in (q, h)]


# ------------------------------------------------------------------------------- functions


@identity(20, "exp(log q) = q", 6.8)
def exp_of_log(k: Array, q: Array) -> list[Sides]:
    return [(Q.exp(Q.log(x)), x, size(x) * (1 + size(Q.log(x)))) for x in (k, q)]


@identity(21, "log(exp q) = q, |v| < pi", 6)
def log_of_exp(k: Array) -> list[Sides]:
    v = size(k[:, 1:])
    k = (k * np.where(v > 3, 3 / np.where(v > 3, v, 1), 1)[:, None]).astype(k.dtype)
    v = size(k[:, 1:])
    blown = np.where(v > 0, v / np.where(v > 0, np.sin(v), 1), 1)
    return [(Q.log(Q.exp(k)), k, (1 + size(k)) * blown)]


@identity(22, "exp(q) exp(-q) = 1", 8)
def exp_of_minus(k: Array) -> list[Sides]:
    return [(Q.multiply(Q.exp(k), Q.exp(-k)), like(ONE, k), 1 + size(k))]


@identity(23, "|exp q| = e^w", 4)
def modulus_of_exp(k: Array) -> list[Sides]:
    e = np.exp(k[:, 0])
    return [(Q.norm(Q.exp(k)), e, (1 + size(k)) * e)]


@identity(24, "f(conj q) = conj(f(q)) for f = exp, log, sqrt", 0)
def functions_commute_with_conj(k: Array) -> list[Sides]:
    k = k[(k[:, 1:] != 0).any(axis=1) | (k[:, 0] > 0)]  # not where log and sqrt jump
    return [(f(Q.conjugate(k)), Q.conjugate(f(k)), 1) for f in (Q.exp, Q.log, Q.sqrt)]


@identity(24, "exp(p + q) = exp(p) exp(q) where p q = q p", 12)
def exp_of_sum(k: Array, a: Array, b: Array) -> list[Sides]:
    p, q = (t[:, None] * k for t in (a, b))
    scale = (1 + size(p) + size(q)) * np.exp((p + q)[:, 0].astype(np.float64))
    return [(Q.exp(p + q), Q.multiply(Q.exp(p), Q.exp(q)), scale)]


@identity(25, "f(r q r^-1) = r f(q) r^-1 for f = exp, log, sqrt", 12.8)
def functions_turn(k: Array, u: Array) -> list[Sides]:
    near_a_jump = size(k[:, 1:]) < 0.5
    k = k + near_a_jump[:, None] * like(I, k)

    def turn(x: Array) -> Array:
        return Q.multiply(Q.multiply(u, x), Q.conjugate(u))

    u = Q.normalize(u)
    n = size(k)
    return [
        (Q.exp(turn(k)), turn(Q.exp(k)), np.exp(np.float64(k[:, 0])) * (1 + n)),
        (Q.log(turn(k)), turn(Q.log(k)), 1 + size(Q.log(k)) + n / size(k[:, 1:])),
        (Q.sqrt(turn(k)), turn(Q.sqrt(k)), np.sqrt(n) * (1 + n / size(k[:, 1:]))),
    ]


@identity(26, "sqrt(q)^2 = q, Re sqrt(q) >= 0, of any size", 16)
def sqrt_squared(k: Array, q: Array, h: Array) -> list[Sides]:
    sides: list[Sides] = []
    for x in (k, q, h):
        root = Q.sqrt(x)
        sides += [(Q.multiply(root, root), x, size(x)), (abs(root[:, 0]), root[:, 0], 1)]
    return sides


@identity(27, "|sqrt q|^2 = |q|", 18.4)
def modulus_of_sqrt(k: Array, q: Array) -> list[Sides]:
    return [(Q.norm2(Q.sqrt(x)), Q.norm(x), size(x)) for x in (k, q)]


@identity(28, "q^a q^b = q^(a+b)", 10.8)
def powers_add(k: Array, a: Array, b: Array) -> list[Sides]:
    n, turns = size(k), size(Q.log(k))
    scale = n ** np.float64(a + b) * (1 + turns * (abs(np.float64(a)) + abs(np.float64(b))))
    left = Q.multiply(Q.power(k, a), Q.power(k, b))
    return [(left, Q.power(k, a + b), scale)]


@identity(29, "q^-1 = 1 / q, q^2 = q q, q^(1/2) = sqrt q, q^0 = 1", 13.6)
def special_powers(k: Array) -> list[Sides]:
    n, turns = size(k), 1 + size(Q.log(k))
    pairs = [(-1, Q.inverse(k)), (2, Q.multiply(k, k)), (0.5, Q.sqrt(k)), (0, like(ONE, k))]
    exponents = [f for t, _ in pairs for f in (t, float(t))]
    expected = [y for _, y in pairs for _ in range(2)]
    return [(Q.power(k, t), y, n**t * turns) for t, y in zip(exponents, expected, strict=True)]


# -------------------------------------------------------------------------------- matrices


@identity(16, "L(p) q = p q", 4.8)
def left_matrix(p: Array, q: Array) -> list[Sides]:
    left = (Q.left_matrix(p) @ q[..., None])[..., 0]
    return [(left, Q.multiply(p, q), size(p) * size(q))]


@identity(17, "R(q) p = p q, L(p) R(q) = R(q) L(p)", 5.2)
def right_matrix(p: Array, q: Array) -> list[Sides]:
    L, R, scale = Q.left_matrix(p), Q.right_matrix(q), size(p) * size(q)
    return [((R @ p[..., None])[..., 0], Q.multiply(p, q), scale), (L @ R, R @ L, scale)]


@identity(18, "L(p q) = L(p) L(q), R(p q) = R(q) R(p)", 5.6)
def matrices_multiply(p: Array, q: Array) -> list[Sides]:
    L, R, scale, pq = Q.left_matrix, Q.right_matrix, size(p) * size(q), Q.multiply(p, q)
    return [(L(p) @ L(q), L(pq), scale), (R(q) @ R(p), R(pq), scale)]


@identity(18, "L(conj q) = L(q)^T, R too, C(conj q) = C(q)^H; and back to q", 0)
def matrices_transpose(q: Array) -> list[Sides]:
    sides: list[Sides] = []
    for name in ("left", "right", "complex"):
        M, back = getattr(Q, f"{name}_matrix"), getattr(Q, f"from_{name}_matrix")
        a, b = M(Q.conjugate(q)), M(q).swapaxes(-1, -2).conj()
        sides += [(a.real, b.real, 1), (a.imag, b.imag, 1), (back(M(q)), q, 1)]
    return sides


@identity(19, "det L(q) = det R(q) = |q|^4, det C(q) = |q|^2, C(p q) = C(p) C(q)", 32)
def determinants(p: Array, k: Array) -> list[Sides]:
    C, det, n2 = Q.complex_matrix, np.linalg.det, Q.norm2(k)
    a, b, scale = C(Q.multiply(p, k)), C(p) @ C(k), size(p) * size(k)
    four = (np.float64(n2) ** 2).astype(k.dtype)
    return [
        (det(Q.left_matrix(k)), four, size(k) ** 4),
        (det(Q.right_matrix(k)), four, size(k) ** 4),
        (det(C(k)).real, n2, size(k) ** 2),
        (a.real, b.real, scale),
        (a.imag, b.imag, scale),
    ]


@identity(42, "(A B) C = A (B C), (A B)^H = B^H A^H, A B = sum of products", 12)
def matrix_products(A: Array, B: Array, C: Array) -> list[Sides]:
    def adjoint(X: Array) -> Array:
        return Q.conjugate(X.swapaxes(-2, -3))

    def whole(X: Array) -> Array:
        return np.sqrt((np.float64(X) ** 2).sum(axis=(-3, -2, -1)))

    a, b, c = whole(A), whole(B), whole(C)
    AB, root = Q.matmul(A, B), np.sqrt(A.shape[-2])
    terms = Q.multiply(A[..., :, :, None, :], B[..., None, :, :, :])
    return [
        (Q.matmul(AB, C), Q.matmul(A, Q.matmul(B, C)), root * a * b * c),
        (adjoint(AB), Q.matmul(adjoint(B), adjoint(A)), root * a * b),
        (AB, terms.sum(axis=-3), root * a * b),
    ]


@identity(43, "8 multiplications (Howell and Lafon 1975) = 16", 12)
def eight_products(p: Array, q: Array) -> list[Sides]:
    hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], p.dtype)
    r, i, j, k = p.T
    a, b, c, d = q.T
    P = ((p @ hadamard) * (q @ hadamard)) @ hadamard.T / 4
    eight = [2 * r * a - P[:, 0], P[:, 1] - 2 * k * c, P[:, 2] - 2 * i * d, P[:, 3] - 2 * j * b]
    return [(np.stack(eight, axis=-1), Q.multiply(p, q), size(p) * size(q))]


# ------------------------------------------------------------------------------- rotations


@identity(30, "rotate(q, v) = vec(q v q^-1) = rotate(s q, v)", 16)
def rotated(k: Array, q: Array, s: Array) -> list[Sides]:
    v = q[:, 1:]
    sandwich = Q.multiply(Q.multiply(k, Q.from_vector(v)), Q.inverse(k))
    y, n = Q.rotate(k, v), size(v)
    return [(y, sandwich[:, 1:], n), (Q.rotate(s[:, None] * k, v), y, n)]


@identity(30, "rotate(-q, v) = rotate(q, v)", 0)
def sign_blind(k: Array, q: Array) -> list[Sides]:
    return [(Q.rotate(-k, q[:, 1:]), Q.rotate(k, q[:, 1:]), 1)]


@identity(31, "rotation keeps |v|, u . v and u x v", 23.2)
def isometry(k: Array, q: Array, p: Array) -> list[Sides]:
    u, v = p[:, 1:], q[:, 1:]
    a, b, n = Q.rotate(k, u), Q.rotate(k, v), size(u) * size(v)
    return [
        (size(b).astype(v.dtype), size(v).astype(v.dtype), size(v)),
        ((a * b).sum(axis=-1), (u * v).sum(axis=-1), n),
        (np.cross(a, b), Q.rotate(k, np.cross(u, v)), n),
    ]


@identity(32, "rotate(p, rotate(q, v)) = rotate(p q, v)", 28.8)
def rotations_compose(u: Array, k: Array, q: Array) -> list[Sides]:
    v = q[:, 1:]
    return [(Q.rotate(u, Q.rotate(k, v)), Q.rotate(Q.multiply(u, k), v), size(v))]


@identity(33, "R R^T = 1, det R = 1", 28.8)
def orthogonal(h: Array) -> list[Sides]:
    R = Q.to_rotation_matrix(h)
    one = np.broadcast_to(np.eye(3, dtype=R.dtype), R.shape)
    return [(R @ R.swapaxes(-1, -2), one, 1), (np.linalg.det(R), one[:, 0, 0], 1)]


@identity(34, "R(p) R(q) = R(p q), R(q^-1) = R(q)^T", 25.6)
def rotation_matrices_multiply(u: Array, k: Array) -> list[Sides]:
    R = Q.to_rotation_matrix
    return [(R(u) @ R(k), R(Q.multiply(u, k)), 1), (R(Q.inverse(k)), R(k).swapaxes(-1, -2), 1)]


def towards(p: Array, q: Array) -> Array:
    """p or -p, whichever is nearer to q."""
    return np.where((p * q).sum(axis=-1, keepdims=True) < 0, -p, p)


@identity(35, "from_rotation_matrix(R(q)) = q or -q, half turns included", 8.4)
def from_matrix(k: Array) -> list[Sides]:
    q = Q.normalize(k)
    return [(towards(Q.from_rotation_matrix(Q.to_rotation_matrix(k)), q), q, 1)]


@identity(36, "slerp(p, q, 0) = p, slerp(p, q, 1) = q", 0)
def slerp_ends(u: Array, k: Array) -> list[Sides]:
    q = Q.normalize(k)
    return [
        (Q.slerp(u, q, 0), u, 1),
        (Q.slerp(u, q, 1), towards(q, u), 1),
        (Q.slerp(u, q, 0, False), u, 1),
        (Q.slerp(u, q, 1, False), q, 1),
    ]


@identity(37, "|slerp| = 1", 16)
def slerp_norm(u: Array, k: Array, a: Array) -> list[Sides]:
    q, t = Q.normalize(k), abs(a) / 3
    one = np.ones_like(t)
    return [(Q.norm(Q.slerp(u, q, t, short)), one, 1) for short in (True, False)]


def arc(u: Array, k: Array, a: Array) -> tuple[Array, Array, Array, Array]:
    """Ends p and q that are not opposite, t and 1 - t exactly, and 1 / sin of their angle."""
    q, t = Q.normalize(k), (np.round(abs(a) * 21) / 64).astype(a.dtype)
    sine = size(u - q) * size(u + q) / 2
    q = np.where(sine[:, None] > 1e-6, q, u)
    return q, t, 1 - t, 1 / np.where(sine > 1e-6, sine, 1)


@identity(38, "slerp(p, q, t) = slerp(q, p, 1 - t)", 17.6)
def slerp_backwards(u: Array, k: Array, a: Array) -> list[Sides]:
    q, t, rest, scale = arc(u, k, a)
    short = Q.slerp(u, q, t)
    return [
        (towards(Q.slerp(q, u, rest), short), short, 1 + 0 * scale),
        (Q.slerp(q, u, rest, False), Q.slerp(u, q, t, False), scale),
    ]


@identity(39, "slerp(r p, r q, t) = r slerp(p, q, t), and with r on the right", 21.6)
def slerp_turns(u: Array, k: Array, l: Array, a: Array) -> list[Sides]:
    q, t, _, scale = arc(u, k, a)
    r, y, mul = Q.normalize(l), Q.slerp(u, q, t, False), Q.multiply
    return [
        (Q.slerp(mul(r, u), mul(r, q), t, False), mul(r, y), scale),
        (Q.slerp(mul(u, r), mul(q, r), t, False), mul(y, r), scale),
    ]


@identity(40, "rotation vector, axis and angle, Euler angles, and back", 40)
def rotation_round_trips(k: Array) -> list[Sides]:
    q = Q.normalize(k)
    trips = [
        Q.from_rotation_vector(Q.to_rotation_vector(k)),
        Q.from_axis_angle(*Q.to_axis_angle(k)),
        *(Q.from_euler(Q.to_euler(k, axes), axes) for axes in ("ZYX", "zyx", "ZYZ", "xzx")),
    ]
    return [(towards(p, q), q, 1) for p in trips]


@identity(40, "d(p, q) = d(q, p) = d(r p, r q) = d(p r, q r), all four; triangle", 40)
def distances(u: Array, k: Array, l: Array) -> list[Sides]:
    sides: list[Sides] = []
    r, mul = Q.normalize(l), Q.multiply
    for space in ("rotation", "rotor"):
        for metric in ("intrinsic", "chordal"):

            def d(p: Array, q: Array, how: tuple[str, str] = (space, metric)) -> Array:
                return Q.distance(p, q, *how)

            pq, detour = d(u, k), d(u, l) + d(l, k)
            sides += [(x, pq, 1) for x in (d(k, u), d(mul(r, u), mul(r, k)))]
            sides += [(d(mul(u, r), mul(k, r)), pq, 1), (np.minimum(pq, detour), pq, 1)]
    return sides


@identity(41, "mean of copies = q; mean(r q_n) = r mean(q_n); of any sign", 80)
def means(u: Array, k: Array, l: Array) -> list[Sides]:
    q, r, mul = Q.normalize(k), Q.normalize(l), Q.multiply
    rng = generator(0, "means")
    turns = Q.from_rotation_vector(rng.uniform(-0.5, 0.5, (3, 1, 3)).astype(u.dtype))
    some = mul(u, turns)
    mean, signs = Q.mean_rotation(some), np.array([1, -1, 1], u.dtype)[:, None, None]
    return [
        (towards(Q.mean_rotation(np.stack([q, -q, q])), q), q, 1),
        (towards(Q.mean_rotation(mul(r, some)), mul(r, mean)), mul(r, mean), 1),
        (Q.mean_rotation(some * signs), mean, 1),
    ]
