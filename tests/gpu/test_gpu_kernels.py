"""Every rung on device arrays against `reference` on NumPy's: the table of test_ladder.py."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quatgrad.arrays import BFLOAT16_BITS, asarray, to_numpy
from quatgrad.kernels import cupy_gpu, reference
from quatgrad.kernels.cupy_gpu import cudnn, norm
from quatgrad.kernels.reference.optimizer import AdamRule
from quatgrad.kernels.registry import kernels_of

LADDER = Path(__file__).parent.parent / "kernels" / "test_ladder.py"
spec = importlib.util.spec_from_file_location("ladder", LADDER)
ladder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ladder)


def on_device(rung):
    """The rung's kernels, with NumPy arrays taken to the device and back."""

    def moved(f):
        def call(*args):
            found = ladder.flatten(f(*ladder.convert(asarray, args)))
            return tuple(None if a is None else to_numpy(a) for a in found)

        return call

    return {name: moved(f) for name, f in kernels_of(rung).items()}


RUNGS = {rung: on_device(rung) for rung in ("cupy_gpu", "gemm", "reference")}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("rung", "name"),
    [
        (rung, name)
        for rung in RUNGS
        for name in RUNGS[rung]
        if name in ladder.ARGUMENTS and name != "quaternion_polar"  # which is nowhere else
    ],
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rung_on_device_agrees_with_reference(device, monkeypatch, rung, name, dtype, data):
    args = ladder.ARGUMENTS[name](ladder.Draw(data.draw, dtype))
    if device == "gpu" and dtype == np.float32:  # CuPy has all its kernels flush denormals
        arrays = [abs(a) for a in args if isinstance(a, np.ndarray)]
        assume(all(((a == 0) | (a > 1e-30)).all() for a in arrays))
        monkeypatch.setattr(ladder, "_smallest", lambda info: info.tiny)
    monkeypatch.setattr(ladder, "kernels_of", RUNGS.get)
    ladder._compare(rung, name, args, dtype)


def test_every_kernel_of_the_fast_rung_is_compared():
    assert set(kernels_of("cupy_gpu")) <= set(ladder.ARGUMENTS) | ladder.ELSEWHERE


STEPS = {
    "sgd": [(0.1, 0.0, False, 0.0), (0.1, 0.9, False, 1e-3), (0.05, 0.9, True, 5e-4)],
    "adam": [
        (1, 1e-3, AdamRule((0.9, 0.999), 1e-8, 0.0, False)),
        (2, 1e-3, AdamRule((0.9, 0.999), 1e-8, 0.01, False)),
        (100, 1e-3, AdamRule((0.9, 0.999), 1e-8, 0.01, True)),
    ],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (4, 3, 5), (300, 7)], ids=str)
@pytest.mark.parametrize(("name", "numbers"), [(n, s) for n in STEPS for s in STEPS[n]])
def test_optimizer_steps(device, name, numbers, shape, dtype):
    w, g, m, v = np.random.default_rng(0).standard_normal((4, *shape)).astype(dtype)
    arrays = [w, g, m] if name == "sgd" else [w, g, m, abs(v)]
    there = [asarray(np.array(a)) for a in arrays]
    true = [np.array(a, np.float64) for a in arrays]
    for _ in range(3):
        getattr(cupy_gpu, name)(*there, *numbers)
        getattr(reference, name)(*true, *numbers)
    for a, b in zip(there, true, strict=True):
        np.testing.assert_allclose(to_numpy(a), b, rtol=0, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_masked_steps_of_an_arena(device, dtype):
    w, g, v = np.random.default_rng(0).standard_normal((3, 1037)).astype(dtype)
    g[5] = np.inf  # of an entry that is pruned
    alive = np.where(np.arange(1037) % 3 == 2, 0, -1).astype(f"i{w.itemsize}")
    alive = alive.view(f"u{w.itemsize}")
    numbers = np.array(0.05, dtype), 0.9, True, 5e-4
    there = [asarray(a.copy()) for a in (w, g, v, alive)]
    for _ in range(3):
        cupy_gpu.sgd_masked(*there, asarray(numbers[0]), *numbers[1:])
        reference.sgd_masked(w, g, v, alive, *numbers)
    found = [to_numpy(a) for a in there]
    assert not found[0][2::3].view(alive.dtype).any()  # not even a sign
    keep = alive != 0
    for a, b in ((found[0], w), (found[2], v)):
        np.testing.assert_allclose(a[keep], b[keep], rtol=0, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("N", "K"), [(1, 1), (9, 3), (300, 100), (5, 33)])
def test_accumulate_metrics(device, N, K, dtype):
    rng = np.random.default_rng(N)
    z, labels = rng.integers(-3, 3, (N, K)).astype(dtype), rng.integers(0, K, N)  # many equals
    z[rng.random((N, K)) < 0.02] = np.nan
    z[rng.random((N, K)) < 0.05] = -np.inf
    sums, L = np.array([0.5, 2]), np.array(1.25, dtype)
    there = asarray(sums.copy())
    cupy_gpu.accumulate_metrics(there, asarray(z), asarray(labels), asarray(L))
    reference.accumulate_metrics(sums, z, labels, L)
    np.testing.assert_array_equal(to_numpy(there), sums)


def test_numbers_without_axes_stay_so(device):
    x, y = asarray(np.float32(-2.0)), asarray(np.float32(3.0))
    assert cupy_gpu.relu(x).shape == cupy_gpu.add(x, y).shape == ()
    assert cupy_gpu.relu_dx(y, cupy_gpu.relu(y)).shape == ()
    assert to_numpy(cupy_gpu.add(x, y)) == 1


def test_metrics_of_no_images(device):
    sums = asarray(np.zeros(2))
    nothing = asarray(np.zeros((0, 3), np.float32)), asarray(np.zeros(0, np.int64))
    cupy_gpu.accumulate_metrics(sums, *nothing, asarray(np.float32(np.nan)))
    np.testing.assert_array_equal(to_numpy(sums), [np.nan, 0])


def test_matrices_that_do_not_fit_are_refused(solved):
    a, b = asarray(np.ones((3, 5), np.float32)), asarray(np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match="5"):
        cupy_gpu.matmul(a, b)


def test_cross_entropy_of_odd_logits(device):
    z = np.array([[0, -np.inf, 3], [np.nan, 0, 1], [np.inf, 0, 1], [1, 2, 3]], np.float32)
    for row, label in ((0, 0), (0, 1), (1, 1), (2, 0), (3, 2)):
        args = z[row : row + 1], np.array([label])
        with np.errstate(invalid="ignore"):
            expected = reference.cross_entropy(*args, 0.0)
        found = cupy_gpu.cross_entropy(*map(asarray, args), 0.0)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(to_numpy(a), b, rtol=1e-6)
    loss, _ = cupy_gpu.cross_entropy(asarray(z[3:]), asarray(np.array([3])), 0.0)
    assert np.isnan(to_numpy(loss))  # no such class: not a number of somewhere in memory


def test_running_statistics_follow(device):
    r, b = np.random.default_rng(0).standard_normal((2, 300)).astype(np.float32)
    there = asarray(r.copy())
    cupy_gpu.update_running_stats(there, asarray(b), 0.1)
    np.testing.assert_allclose(to_numpy(there), 0.9 * r + 0.1 * b, rtol=0, atol=5e-7)


@pytest.mark.parametrize("mean", [0, 1e3, 1e6])
def test_statistics_survive_a_large_mean(device, mean):
    x = (mean + np.random.default_rng(0).standard_normal((5_000, 37))).astype(np.float32)
    one = asarray(np.ones(37, np.float32))
    _, m, v = cupy_gpu.batch_norm(asarray(x), one, one, 0.0)
    true = x.astype(np.longdouble).mean(axis=0)
    np.testing.assert_allclose(to_numpy(m), true, rtol=5e-7, atol=1e-8)
    np.testing.assert_allclose(to_numpy(v), x.astype(np.longdouble).var(axis=0), rtol=5e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bits"])
@pytest.mark.parametrize("C", [1, 5, 68, 130, 256])
def test_norms_of_many_rows_and_channels(device, C, dtype):
    """Several blocks in each direction; packs and single channels; each way to relu."""
    rng, number = np.random.default_rng(C), np.float64 if dtype == "float64" else np.float32
    x, g, s = rng.standard_normal((3, 3_000 if C < 100 else 700, C)).astype(number)
    scale, shift = rng.standard_normal((2, C)).astype(number)
    x, g, s = (cudnn.to_bf16(asarray(a)) if dtype == "bits" else asarray(a) for a in (x, g, s))
    wide = [to_numpy(reference.upcast(a)).astype(np.float64) for a in (x, g, s)]
    parameters = [asarray(scale), asarray(shift)]
    size = 2**-8 if dtype == "bits" else 1e3 * np.finfo(number).eps
    for residual, relu in ((None, False), (None, True), (s, True)):
        y, mean, var = norm.batch_norm_act(x, *parameters, 0.1, relu, residual)
        z, m, v = reference.batch_norm(wide[0], scale.astype(float), shift.astype(float), 0.1)
        z = z if residual is None else z + wide[2]
        z = np.maximum(z, 0) if relu else z
        channels, kept = (mean, var, *parameters), y if residual is not None else None
        found = norm.batch_norm_act_dx(g, x, kept, channels, 0.1, relu)
        passed = np.where(z > 0, wide[1], 0) if relu else wide[1]
        expected = reference.batch_norm_dx(passed, wide[0], m, v, scale.astype(float), 0.1)
        pairs = [(y, z), (mean, m), (var, v), *zip(found, expected, strict=False)]
        if residual is not None:
            pairs.append((found[3], passed))
        for a, b in pairs:
            a = to_numpy(reference.upcast(a))
            np.testing.assert_allclose(a, b, rtol=0, atol=2 * size * max(1, abs(b).max()))


def test_a_sum_of_bits_and_numbers(device):
    a, b = np.random.default_rng(0).standard_normal((2, 33, 4)).astype(np.float32)
    bits = cudnn.to_bf16(asarray(a))
    rounded = to_numpy(reference.upcast(bits))
    np.testing.assert_array_equal(to_numpy(cupy_gpu.add(bits, asarray(b))), rounded + b)
    both = cupy_gpu.add(bits, bits)
    assert both.dtype == BFLOAT16_BITS
    np.testing.assert_array_equal(to_numpy(reference.upcast(both)), 2 * rounded)


def test_the_same_bits_every_time(device):
    x = np.random.default_rng(0).standard_normal((3000, 40)).astype(np.float32)
    x, c = asarray(x), asarray(1 + x[0] ** 2)
    for f in (lambda: cupy_gpu.batch_norm(x, c, c, 1e-5),
              lambda: cupy_gpu.batch_norm_dx(x, x, c, c, c, 1e-5)):  # fmt: skip
        for a, b in zip(f(), f(), strict=True):
            assert to_numpy(a).tobytes() == to_numpy(b).tobytes()


def test_sums_of_many_numbers(device):
    x = np.full((1, 1000, 1100, 1), 0.1, np.float32)
    kernels = RUNGS["cupy_gpu"] | {"sum_over": RUNGS["reference"]["sum_over"]}
    (mean,) = kernels["avg_pool"](x, (1000, 1050), (1, 25), (0, 0))
    (total,) = kernels["sum_over"](x, (0, 1, 2))
    np.testing.assert_allclose(mean, x[0, 0, 0, 0], rtol=1e-4)
    np.testing.assert_allclose(total, x.sum(dtype=np.float64), rtol=1e-5)
