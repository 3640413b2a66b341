"""The kernels that write to their arguments: each rung's optimizer steps against the reference."""

import numpy as np
import pytest

from quatgrad.kernels import numba_cpu, reference
from quatgrad.kernels.numba_cpu.layers.optimizer import SHARE
from quatgrad.kernels.reference.optimizer import AdamRule

SIZES = [(), (1,), (4, 3, 5), (2 * SHARE + 3,)]
SGD = [(0.1, 0.0, False, 0.0), (0.1, 0.9, False, 1e-3), (0.05, 0.9, True, 5e-4)]
ADAM = [(0.0, False), (0.01, False), (0.01, True)]


def draw(shape, dtype, how):
    """w, g and two memories; g may lie in memory in any way."""
    rng = np.random.default_rng(0)
    w, g, m, v = rng.standard_normal((4, *shape)).astype(dtype)
    if how == "strided":
        g = np.repeat(np.asarray(g)[..., None], 2, axis=-1)[..., 0]
    if how == "read-only":
        g = np.asarray(g).copy()
        g.flags.writeable = False
    return [np.array(w), g, np.array(m), np.abs(v) + np.zeros((), dtype)]


def check(name, arrays, *numbers):
    """Three steps of the kernel and of the reference, in float64: the same, and g untouched."""
    mine = [np.array(a) if i != 1 else a for i, a in enumerate(arrays)]
    true = [np.array(a, np.float64) for a in arrays]
    g = np.array(arrays[1])
    for _ in range(3):
        getattr(numba_cpu, name)(*mine, *numbers)
        getattr(reference, name)(*true, *numbers)
    assert np.array_equal(arrays[1], g)
    eps = np.finfo(arrays[0].dtype).eps
    for a, b in zip(mine, true, strict=True):
        assert a.dtype == arrays[0].dtype
        np.testing.assert_allclose(a, b, rtol=50 * eps, atol=50 * eps)


@pytest.mark.parametrize("how", ["plain", "strided", "read-only"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("numbers", SGD, ids=str)
def test_sgd(shape, dtype, how, numbers):
    w, g, v, _ = draw(shape, dtype, how)
    check("sgd", [w, g, v], *numbers)


@pytest.mark.parametrize("shapes", [SIZES[:3], [*SIZES, (0,), (2 * SHARE - 1,)]], ids=str)
@pytest.mark.parametrize("dtypes", [[np.float32], [np.float64], [np.float32, np.float64]])
def test_sgd_of_all_at_once_has_the_bits_of_one_by_one(shapes, dtypes):
    layouts = ("plain", "strided", "read-only")
    drawn = [draw(shape, dtypes[i % len(dtypes)], layouts[i % 3]) for i, shape in enumerate(shapes)]
    apart = [(w.copy(), g, v.copy()) for w, g, v, _ in drawn]
    for _ in range(2):
        numba_cpu.sgd_all(*zip(*(arrays[:3] for arrays in drawn), strict=True), *SGD[2])
        for arrays in apart:
            numba_cpu.sgd(*arrays, *SGD[2])
    for (w, _, v, _), (x, _, y) in zip(drawn, apart, strict=True):
        np.testing.assert_array_equal(w, x)
        np.testing.assert_array_equal(v, y)


def test_sgd_of_all_at_once_asks_other_arrays_for_their_addresses():
    def one_by_one(ws, gs, vs, *numbers):
        for arrays in zip(ws, gs, vs, strict=True):
            numba_cpu.sgd(*arrays, *numbers)

    def trained(step):
        draws = np.random.default_rng(0).standard_normal((6, 3, 2, 4)).astype(np.float32)
        models = [[[*map(np.copy, a)] for a in draw] for draw in draws]
        for n in range(12):  # six models are more than are remembered; then two take turns
            ws, gs, vs = models[n if n < 6 else n % 2]
            if n in (3, 8):  # as a step without a record makes them: the old ones are gone
                gs[:] = [2 * g for g in gs]
            if n == 7:
                vs[1] = vs[1].copy()
            if n == 9:
                ws[0], gs[0], vs[0] = (a[0].astype(np.float64) for a in (ws, gs, vs))
            step(ws, gs, vs, *SGD[2])
        return [a for ws, _, vs in models for a in (*ws, *vs)]

    for a, b in zip(trained(numba_cpu.sgd_all), trained(one_by_one), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (7,), (3, 4, 4)], ids=str)
@pytest.mark.parametrize("how", ["plain", "strided", "read-only"])
def test_running_statistics_have_the_bits_of_the_reference(shape, dtype, how):
    r, b, _, _ = draw(shape, dtype, how)
    known = r.copy()
    for numbers in ((0.1,), (0.1, 64 / 63), (1 / 3, 1.5)):
        numba_cpu.update_running_stats(r, b, *numbers)
        reference.update_running_stats(known, b, *numbers)
        assert r.tobytes() == known.tobytes()
    numba_cpu.update_running_stats(r.T, b.T, 0.1)  # not as memory has it
    reference.update_running_stats(known.T, b.T, 0.1)
    assert r.tobytes() == known.tobytes()


@pytest.mark.parametrize("how", ["plain", "strided", "read-only"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("decay", ADAM, ids=str)
def test_adam(shape, dtype, how, decay):
    arrays = draw(shape, dtype, how)
    for t in (1, 2, 100):
        check("adam", arrays, t, 1e-3, AdamRule((0.9, 0.999), 1e-8, *decay))


def test_bits_do_not_depend_on_the_number_of_threads():
    import numba

    def result():
        w, g, m, v = draw((3 * SHARE + 1,), np.float32, "plain")
        numba_cpu.sgd(w, g, m, 0.1, 0.9, True, 1e-3)
        numba_cpu.adam(w, g, m, v, 1, 1e-3, AdamRule((0.9, 0.999), 1e-8, 0.0, False))
        return w.tobytes()

    before, many = numba.get_num_threads(), result()
    try:
        numba.set_num_threads(1)
        assert result() == many
    finally:
        numba.set_num_threads(before)
