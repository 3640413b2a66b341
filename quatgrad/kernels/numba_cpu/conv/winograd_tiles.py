"""The pieces of Winograd's convolution: what happens to one tile, or to the weight.

A *square* is 6 x 6 points for a tile of 4 x 4 pixels, and 4 x 4 points for a tile of 2 x 2, in
scratch memory E. Each point is a vector of channels. (Pixels, or a window of 3 x 3, take the corner
of a square.) A tile of a map becomes squares, one for each component of a quaternion, and these
become the planes that are multiplied: see `winograd`.

Why there are read2, read3, read4, read6, and as many of map and merged: the tables take tuples, so
that vectors stay in registers, and Numba cannot make a tuple of a length that it is given. So each
length is a function, and is handed to the loops below together with its table.
"""

from quatgrad.kernels.numba_cpu.jit import leaf, serial, template
from quatgrad.kernels.numba_cpu.simd.vector import LANES, load, store, transpose

ROW = 6 * LANES  # numbers of a row of a square
SQUARE = 6 * ROW


# ------------------------------------------------------------- the tables, in one dimension


@serial
def _input(d):
    """B^T d: six pixels -> values at six points."""
    s, t, u, v = d[4] - 4 * d[2], d[3] - 4 * d[1], d[4] - d[2], 2 * (d[3] - d[1])
    return 4 * d[0] - 5 * d[2] + d[4], s + t, s - t, u + v, u - v, 4 * d[1] - 5 * d[3] + d[5]


@serial
def _output(m):
    """A^T m: values at six points -> four pixels."""
    s, t, u, v = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return m[0] + s + u, t + 2 * v, s + 4 * u, t + 8 * v + m[5]


@serial
def _output_adjoint(g):
    """A g: four pixels -> values at six points."""
    s, t, u, v = g[0] + g[2], g[1] + g[3], g[0] + 4 * g[2], 2 * (g[1] + 4 * g[3])
    return g[0], s + t, s - t, u + v, u - v, g[3]


@serial
def weight(w):
    """G w: a window of three -> values at six points."""
    s, t = (-1 / 6) * (w[0] + w[2]), (-1 / 6) * w[1]
    u, v = (1 / 24) * w[0] + (1 / 6) * w[2], (1 / 12) * w[1]
    return 0.25 * w[0], s + t, s - t, u + v, u - v, w[2]


@serial
def weight_adjoint(z):
    """G^T z: values at six points -> a window of three."""
    s, t, u, v = z[1] + z[2], z[1] - z[2], z[3] + z[4], z[3] - z[4]
    return (
        0.25 * z[0] - (1 / 6) * s + (1 / 24) * u,
        (1 / 12) * v - (1 / 6) * t,
        (1 / 6) * (u - s) + z[5],
    )


# The same for F(2x2, 3x3), whose points are 0, 1, -1 and infinity.


@serial
def _input2(d):
    """B^T d: four pixels -> values at four points."""
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


@serial
def _output2(m):
    """A^T m: values at four points -> two pixels."""
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


@serial
def _output2_adjoint(g):
    """A g: two pixels -> values at four points."""
    return g[0], g[0] + g[1], g[0] - g[1], -1.0 * g[1]


@serial
def weight2(w):
    """G w: a window of three -> values at four points."""
    s, t = 0.5 * (w[0] + w[2]), 0.5 * w[1]
    return w[0], s + t, s - t, w[2]


@serial
def weight2_adjoint(z):
    """G^T z: values at four points -> a window of three."""
    s, t = 0.5 * (z[1] + z[2]), 0.5 * (z[1] - z[2])
    return z[0] + s, t, s + z[3]


# ------------------------------------------------------------------------ in two dimensions


@serial
def read2(E, k, d):
    """Two vectors, d numbers apart."""
    return load(E, k, LANES), load(E, k + d, LANES)


@serial
def read3(E, k, d):
    """Three vectors, d numbers apart."""
    return load(E, k, LANES), load(E, k + d, LANES), load(E, k + 2 * d, LANES)


@serial
def read4(E, k, d):
    """Four vectors, d numbers apart."""
    return (*read3(E, k, d), load(E, k + 3 * d, LANES))


@serial
def read6(E, k, d):
    """Six vectors, d numbers apart."""
    return (*read3(E, k, d), *read3(E, k + 3 * d, d))


@serial
def map2(x, at, d, i, H, width):
    """Two vectors of a map, one in row i and one in the next, d numbers apart; 0 beyond the map."""
    first = load(x, at, width if 0 <= i < H else 0)
    return first, load(x, at + d, width if 0 <= i + 1 < H else 0)


@serial
def map4(x, at, d, i, H, width):
    """Four vectors of a map."""
    return (*map2(x, at, d, i, H, width), *map2(x, at + 2 * d, d, i + 2, H, width))


@serial
def map6(x, at, d, i, H, width):
    """Six vectors of a map."""
    return (*map2(x, at, d, i, H, width), *map4(x, at + 2 * d, d, i + 2, H, width))


@template  # a function as an argument that is not inlined cannot be cached
def map_columns(table, read, x, n, top, left, size, channel, width, E, k):
    """table X for the square X of size x size pixels of image n of flat x, to E[k]."""
    flat, H, W, C = x
    for j in range(size):
        at = ((n * H + top) * W + left + j) * C + channel
        y = table(read(flat, at, W * C, top, H, width if 0 <= left + j < W else 0))
        for i in range(len(y)):
            store(y[i], E, k + i * ROW + j * LANES, LANES)


@template
def inner_columns(table, read, x, n, top, left, size, channel, E, k):
    """`map_columns` for a square inside of the map and a whole vector of channels, in half the
    instructions.
    """
    flat, H, W, C = x
    for j in range(size):
        at = ((n * H + top) * W + left + j) * C + channel
        y = table(read(flat, at, W * C))
        for i in range(len(y)):
            store(y[i], E, k + i * ROW + j * LANES, LANES)


@template
def window_columns(table, T, of, E, k):
    """table w for the window w of 3 x 3 vectors in a `weight_block`, to the square at E[k]."""
    pixel = LANES * LANES
    for j in range(3):
        y = table(read3(T, of + j * pixel, 3 * pixel))
        for i in range(len(y)):
            store(y[i], E, k + i * ROW + j * LANES, LANES)


@template
def map_rows(table, read, E, k, y, n, top, left, size, channel, width):
    """X table^T for the square X at E[k], of `size` rows, to image n of y, what is inside of it."""
    flat, H, W, C = y
    for i in range(min(size, H - top)):
        at = ((n * H + top + i) * W + left) * C + channel
        z = table(read(E, k + i * ROW, LANES))
        for j in range(len(z)):
            if left + j < W:
                store(z[j], flat, at + j * C, width)


# ------------------------------------------------------------------- planes of a quaternion


@serial
def hadamard(a, b, c, d):
    """(a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)."""
    s, t, u, v = a + b, a - b, c + d, c - d
    return s + u, t + v, s - u, t - v


@leaf
def split(a, b, c, d, V, at, step, width):
    """Components to their eight planes at V[at], `step` apart: 1, i, j, k and Hadamard sums."""
    h = hadamard(a, b, c, d)
    store(a, V, at, width)
    store(b, V, at + step, width)
    store(c, V, at + 2 * step, width)
    store(d, V, at + 3 * step, width)
    store(h[0], V, at + 4 * step, width)
    store(h[1], V, at + 5 * step, width)
    store(h[2], V, at + 6 * step, width)
    store(h[3], V, at + 7 * step, width)


@leaf
def merged(M, at, step, width):
    """Components from their eight products at M[at], `step` apart.

    With h = Hadamard (M4, M5, M6, M7) / 4: (2 M0 - h0, h1 - 2 M2, h2 - 2 M3, h3 - 2 M1). Source:
    the scheme of `eight_products`, the products in the order of the planes of x.
    """
    h = hadamard(
        load(M, at + 4 * step, width),
        load(M, at + 5 * step, width),
        load(M, at + 6 * step, width),
        load(M, at + 7 * step, width),
    )
    return (
        2 * load(M, at, width) - 0.25 * h[0],
        0.25 * h[1] - 2 * load(M, at + 2 * step, width),
        0.25 * h[2] - 2 * load(M, at + 3 * step, width),
        0.25 * h[3] - 2 * load(M, at + step, width),
    )


@template
def rows_to_planes(table, read, E, V, at, step, components, sign, width, side):
    """X table^T for the square X at E as it is; or of a quaternion's four, with Hadamard sums.

    Plane m of point k goes to V[at + (8 k + m) step]. A `sign` of -1 takes the conjugate.
    """
    for i in range(side):
        k, to = i * ROW, at + i * side * components * (1 + (components > 1)) * step
        a = table(read(E, k, LANES))
        if components == 1:
            for j in range(len(a)):
                store(a[j], V, to + j * step, width)
        else:
            b = table(read(E, k + SQUARE, LANES))
            c = table(read(E, k + 2 * SQUARE, LANES))
            d = table(read(E, k + 3 * SQUARE, LANES))
            for j in range(len(a)):
                imaginary = sign * b[j], sign * c[j], sign * d[j]
                split(a[j], *imaginary, V, to + 8 * j * step, step, width)


@template
def merged4(M, at, d, step, width):
    """Four quaternions from their products, d numbers apart, component by component."""
    p, q = merged(M, at, step, width), merged(M, at + d, step, width)
    r, s = merged(M, at + 2 * d, step, width), merged(M, at + 3 * d, step, width)
    a, b = (p[0], q[0], r[0], s[0]), (p[1], q[1], r[1], s[1])
    return a, b, (p[2], q[2], r[2], s[2]), (p[3], q[3], r[3], s[3])


@template
def merged6(M, at, d, step, width):
    """Six quaternions."""
    p, q = merged(M, at, step, width), merged(M, at + d, step, width)
    a, b, c, e = merged4(M, at + 2 * d, d, step, width)
    return (p[0], q[0], *a), (p[1], q[1], *b), (p[2], q[2], *c), (p[3], q[3], *e)


@template
def planes_to_columns(table, read, merge, M, at, step, E, components, width, side):
    """table X for the square X made of its products; of a quaternion, four from their eight."""
    for j in range(side):
        if components == 1:
            y = table(read(M, at + j * step, side * step))
            for i in range(len(y)):
                store(y[i], E, i * ROW + j * LANES, LANES)
        else:
            m = merge(M, at + 8 * j * step, 8 * side * step, step, width)
            a, b, c, d = table(m[0]), table(m[1]), table(m[2]), table(m[3])
            for i in range(len(a)):
                k = i * ROW + j * LANES
                store(a[i], E, k, LANES)
                store(b[i], E, k + SQUARE, LANES)
                store(c[i], E, k + 2 * SQUARE, LANES)
                store(d[i], E, k + 3 * SQUARE, LANES)


@leaf
def paired_plane(plane, components):
    """The plane of the left factor that plane m of the right factor is multiplied by.

    (1, i, j, k) are multiplied by (1, j, k, i), and each Hadamard sum by its own kind.
    """
    point, m = divmod(plane, 8)
    if components == 1 or m == 0 or m >= 4:
        return plane
    return 8 * point + m % 3 + 1


# ------------------------------------------------------------------------------ whole maps


@leaf
def count_tiles(N, I, J, tile):
    """Number of tiles of a map (N, I, J); those at the border may reach beyond it."""
    return N * ((I + tile - 1) // tile) * ((J + tile - 1) // tile)


@leaf
def tile_origin(number, I, J, tile):
    """Image, row and column of the first pixel of a tile, by its number, of a map (N, I, J)."""
    n, rest = divmod(number, count_tiles(1, I, J, tile))
    i, j = divmod(rest, count_tiles(1, 1, J, tile))
    return n, tile * i, tile * j


@template
def is_inside(x, top, left, size):
    """Are all pixels of the square pixels of the map?"""
    return 0 <= top <= x[1] - size and 0 <= left <= x[2] - size


@leaf
def input_tile(x, n, top, left, E, V, at, step, components, sign, tile):
    """B^T x B of all channels of a tile."""
    P = x[3] // components
    inside = tile == 4 and is_inside(x, top, left, 6)
    for p in range(0, P, LANES):
        width, to = min(LANES, P - p), at + p
        for c in range(components):
            k, channel = c * SQUARE, c * P + p
            if inside and width == LANES:
                inner_columns(_input, read6, x, n, top, left, 6, channel, E, k)
            elif tile == 4:
                map_columns(_input, map6, x, n, top, left, 6, channel, width, E, k)
            else:
                map_columns(_input2, map4, x, n, top, left, 4, channel, width, E, k)
        if tile == 4:
            rows_to_planes(_input, read6, E, V, to, step, components, sign, width, 6)
        else:
            rows_to_planes(_input2, read4, E, V, to, step, components, sign, width, 4)


@leaf
def gradient_tile(g, n, top, left, E, V, at, step, components, tile):
    """A g A^T of all channels of a tile."""
    Q = g[3] // components
    inside = tile == 4 and is_inside(g, top, left, 4)
    for q in range(0, Q, LANES):
        width, to = min(LANES, Q - q), at + q
        for c in range(components):
            k, channel = c * SQUARE, c * Q + q
            if inside and width == LANES:
                inner_columns(_output_adjoint, read4, g, n, top, left, 4, channel, E, k)
            elif tile == 4:
                map_columns(_output_adjoint, map4, g, n, top, left, 4, channel, width, E, k)
            else:
                map_columns(_output2_adjoint, map2, g, n, top, left, 2, channel, width, E, k)
        if tile == 4:
            rows_to_planes(_output_adjoint, read4, E, V, to, step, components, 1, width, 6)
        else:
            rows_to_planes(_output2_adjoint, read2, E, V, to, step, components, 1, width, 4)


@leaf
def output_tile(M, at, step, E, y, n, top, left, first, end, components, tile):
    """A^T M A of channels `first` to `end` of each component of a tile."""
    Q = y[3] // components
    for q in range(first, end, LANES):
        width, of = min(LANES, end - q), at + q - first
        if tile == 4:
            planes_to_columns(_output, read6, merged6, M, of, step, E, components, width, 6)
        else:
            planes_to_columns(_output2, read4, merged4, M, of, step, E, components, width, 4)
        for c in range(components):
            k, channel = c * SQUARE, c * Q + q
            if tile == 4:
                map_rows(_output, read6, E, k, y, n, top, left, 4, channel, width)
            else:
                map_rows(_output2, read4, E, k, y, n, top, left, 2, channel, width)


# -------------------------------------------------------------------------------- weights


@leaf
def weight_block(w, shape, flipped, p, q, T):
    """LANES rows of w from p on, and LANES columns from q on, to T (components, 9, LANES, LANES).

    The shape of w, flat, is (components, 3, 3, P, Q); or that of its mirrored transpose, if it is
    `flipped`. Beyond the last row and column T may hold anything.
    """
    components, _, _, P, Q = shape
    rows, width = min(LANES, P - p), min(LANES, Q - q)
    for window in range(9 * components):
        to = window * LANES * LANES
        if flipped:
            mirrored = window // 9 * 9 + 8 - window % 9
            transpose(w, (mirrored * Q + q) * P + p, P, width, rows, T, to, LANES)
        else:
            for i in range(rows):
                at = (window * P + p + i) * Q + q
                store(load(w, at, width), T, to + i * LANES, LANES)


@leaf
def weight_square(T, i, components, sign, width, E, U, at, step, tile):
    """G w G^T of row i of a `weight_block`, at U[at + plane step]; a `sign` of -1 conjugates w."""
    for c in range(components):
        of = (9 * c * LANES + i) * LANES
        if tile == 4:
            window_columns(weight, T, of, E, c * SQUARE)
        else:
            window_columns(weight2, T, of, E, c * SQUARE)
    if tile == 4:
        rows_to_planes(weight, read3, E, U, at, step, components, sign, width, 6)
    else:
        rows_to_planes(weight2, read3, E, U, at, step, components, sign, width, 4)


@leaf
def weight_square_adjoint(U, step, p, q, E, w, shape, tile):
    """G^T U G at row p and columns q .. of w, flat, of shape (components, 3, 3, P, Q)."""
    components, _, _, P, Q = shape
    width, of = min(LANES, Q - q), p * Q + q
    if tile == 4:
        planes_to_columns(weight_adjoint, read6, merged6, U, of, step, E, components, width, 6)
    else:
        planes_to_columns(weight2_adjoint, read4, merged4, U, of, step, E, components, width, 4)
    for c in range(components):
        for u in range(3):
            k = c * SQUARE + u * ROW
            if tile == 4:
                y = weight_adjoint(read6(E, k, LANES))
            else:
                y = weight2_adjoint(read4(E, k, LANES))
            for v in range(3):
                store(y[v], w, (((c * 3 + u) * 3 + v) * P + p) * Q + q, width)
