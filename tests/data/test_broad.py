"""A sensor in motion: small trials made here, packed and in the official form, and damaged ones."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from quatgrad import Tensor, data, models, ops
from quatgrad import quaternion as alg
from quatgrad.data import broad, mat
from quatgrad.errors import DataError, ShapeError
from quatgrad.task import Attitude
from quatgrad.testing import check_gradients
from quatgrad.train import Recipe, evaluate, train

RNG = np.random.default_rng(3)


def motion(n, seed):
    """A sensor that turns slowly: what it feels and its true orientation, at the official rate."""
    rng, dt = np.random.default_rng(seed), 1 / broad.RATE
    time = np.arange(n)[:, None] * dt
    rate = np.sin(2 * np.pi * (time * rng.uniform(0.1, 0.4, 3) + rng.random(3)))  # rad/s, (n, 3)
    q = np.empty((n, 4))
    q[0] = rng.standard_normal(4)
    q[0] /= np.linalg.norm(q[0])
    for k in range(1, n):
        q[k] = alg.multiply(q[k - 1], alg.exp(np.array([0.0, *rate[k - 1] * dt / 2])))
    up = alg.multiply(alg.multiply(alg.conjugate(q), np.array([0, 0, 0, broad.GRAVITY])), q)[:, 1:]
    acc = up + 0.02 * rng.standard_normal((n, 3))
    moves = np.ones(n)
    moves[: n // 4] = 0
    q[n // 2 : n // 2 + 30] = np.nan  # the cameras lose it
    q[n // 3 :] *= -1  # the same orientation
    return acc, rate, q, moves


def write_mat(path, acc, rate, q, moves, **changes):
    arrays = {"imu_acc": acc, "imu_gyr": rate, "opt_quat": q, "movement": moves[:, None]}
    savemat(path, arrays | {"sampling_rate": 2000 / 7} | changes, do_compression=True)


def pack(trials):
    """Trials as they stand in broad95.npz."""
    buffer, arrays = io.BytesIO(), {}
    for name, (numbers, moves) in trials.items():
        arrays[name] = np.diff(numbers, axis=1, prepend=np.int16(0)).astype(np.int16)
        arrays[f"{name}.movement"] = np.packbits(moves)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A data folder with the official form of 21 short trials."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "broad" / "data_mat"
    folder.mkdir(parents=True)
    for k, name in enumerate(broad.TRIALS):
        write_mat(folder / f"{name}.mat", *motion(3 * 900 + k % 3, k))
    return root


@pytest.fixture(scope="module")
def trials(official):
    return {n: broad.read_mat(official / "broad" / "data_mat" / f"{n}.mat") for n in broad.TRIALS}


def test_a_trial_is_reduced_to_means_and_last_orientations(official):
    acc, rate, q, moves = motion(2701, 1)
    name = broad.TRIALS[1]
    numbers, found = broad.read_mat(official / "broad" / "data_mat" / f"{name}.mat")
    assert numbers.shape == (10, 900)
    assert numbers.dtype == np.int16
    np.testing.assert_array_equal(found, moves[2:2700:3] > 0)
    back = (numbers * broad.UNITS[:, None]).T
    np.testing.assert_allclose(back[5, :3], acc[15:18].mean(axis=0), atol=0.0026)
    np.testing.assert_allclose(back[5, 3:6], rate[15:18].mean(axis=0), atol=0.0006)
    seen = np.isfinite(q[2:2700:3]).all(axis=1)
    same = abs((back[:, 6:] * np.nan_to_num(q[2:2700:3])).sum(axis=1))
    np.testing.assert_allclose(same[seen], 1, atol=2e-4)
    assert not back[~seen, 6:].any()
    steps = (back[1:, 6:] * back[:-1, 6:]).sum(axis=1)
    assert (steps >= 0).all()  # the sign does not jump, although the file's does


def test_the_packed_form_is_the_official_one(official, trials, tmp_path, monkeypatch):
    (tmp_path / "broad").mkdir()
    content = pack(trials)
    (tmp_path / "broad" / "broad95.npz").write_bytes(content)
    import hashlib

    monkeypatch.setattr(broad, "FILES", {"broad95.npz": hashlib.sha256(content).hexdigest()})
    a, b = data.load("broad", tmp_path), data.load("broad", official)
    assert a.fingerprint() == b.fingerprint()
    assert a.input_shape == (broad.STEPS, 1, 8)
    assert len(a.train) > len(a.test) > 0


def test_each_moment_counts_once_and_none_at_the_start_or_unseen(trials, monkeypatch):
    monkeypatch.setattr(broad, "LEAST", 0.0)
    numbers, moves = trials[broad.TRIALS[2]]
    x, q = broad.windows_of(numbers, moves, everywhere=False)
    assert x.shape == (len(q), broad.STEPS, 1, 8)
    assert not x[..., :2].any()  # the real parts
    counts = q.any(axis=2)
    assert not counts[:, : broad.SETTLE].any()
    np.testing.assert_allclose(np.linalg.norm(q[counts], axis=1), 1, atol=1e-6)
    hop = broad.STEPS - broad.SETTLE
    end = broad.STEPS + (len(q) - 1) * hop
    seen = (numbers[6:] != 0).any(axis=0)
    assert counts.sum() == (moves & seen)[broad.SETTLE : end].sum()
    more = broad.windows_of(numbers, moves, everywhere=True)[1]
    assert more.any(axis=2).sum() > counts.sum()


def test_the_inclination_error_by_hand():
    """Turned about up by any angle: nothing is wrong; about a level axis by t: t is."""
    task, true = Attitude(), RNG.standard_normal((2, 3, 4))
    true /= np.linalg.norm(true, axis=2, keepdims=True)
    heading = np.array([np.cos(0.7), 0, 0, np.sin(0.7)])
    t = np.deg2rad(36)
    tilt = np.array([np.cos(t / 2), np.sin(t / 2) * 0.6, np.sin(t / 2) * 0.8, 0])
    labels = true.astype(np.float32)
    for error, angle in ((heading, 0.0), (alg.multiply(heading, tilt), t)):
        q = Tensor(alg.multiply(error, true).astype(np.float32))
        loss, score = task.loss(q, labels)
        assert loss.item() == pytest.approx(4 * np.sin(angle / 2) ** 2, abs=1e-5)
        assert score == pytest.approx(1 - angle / (np.pi / 2), abs=2e-3)
        loss, again = task.loss(-q, labels)
        assert again == pytest.approx(score)
    half = labels.copy()
    half[0, 1:] = 0  # a window's mean is over what counts
    q = true.copy()
    q[0, 0] = alg.multiply(tilt, true[0, 0])
    _, score = task.loss(Tensor(q.astype(np.float32)), half)
    assert score == pytest.approx(1 - 0.5 * t / (np.pi / 2), abs=2e-3)
    assert task.loss(Tensor(q.astype(np.float32)), np.zeros_like(half))[0].item() == 0
    with pytest.raises(ShapeError, match="orientations are"):
        task.loss(Tensor(q[:, :2].astype(np.float32)), half)


def test_the_gradient_of_the_loss():
    true = RNG.standard_normal((2, 3, 4))
    true[1, 2] = 0
    check_gradients(
        lambda q: Attitude().loss(ops.algebra.normalize(q), true)[0], RNG.standard_normal((2, 3, 4))
    )


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_attitude_is_learned(trials, algebra):
    dataset = broad.as_dataset(trials)
    net = models.create("attitude", algebra, 4, 8, 16, image_size=(broad.STEPS, 1), seed=0)
    _, before = evaluate(net, dataset.test, dataset)
    recipe = Recipe(epochs=15, batch_size=8, lr=1e-2, optimizer="adam", clip=1.0)
    history = train(net, dataset, recipe, progress=False)
    assert history[-1].test_accuracy > max(before + 0.2, 0.6)
    q = net(Tensor(dataset.test.images[:2])).numpy()
    np.testing.assert_allclose(np.linalg.norm(q, axis=2), 1, atol=1e-5)
    one, all_at_once = (evaluate(net, dataset.test, dataset, n) for n in (1, 256))
    assert one == pytest.approx(all_at_once, abs=1e-5)


def test_tickets_of_the_command(official, tmp_path, capsys):
    from quatgrad.lth.command.cli import main

    how = ["--preset", "broad", "--data-dir", str(official), "--out", str(tmp_path), "--width", "8",
           "--epochs", "1", "--rewind-epoch", "0", "--levels", "1", "--algebra", "all",
           "--warmup", "0", "--quiet"]  # fmt: skip
    assert main(how) == 0
    (run,) = tmp_path.glob("broad-attitude-*")
    assert main(["verify", str(run)]) == 0
    assert main(["--preset", "broad", "--data-dir", str(tmp_path)]) == 2
    assert "lacks broad95.npz; get the folder data_mat" in capsys.readouterr().err


# --------------------------------------------------------------------------- what is damaged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opt_quat": np.zeros((2700, 3))}, "arrays of shapes"),
        ({"sampling_rate": 100.0}, "100.* samples a second, not 285.7"),
        ({"imu_acc": np.full((2700, 3), np.nan)}, "not finite"),
        ({"imu_gyr": {"a": 1}}, "imu_gyr is no array of real numbers"),
        ({"movement": "all of it"}, "movement is no array of real numbers"),
        ({"imu_acc": np.full((2700, 3), 1e300)}, "of no sensor"),
        ({"opt_quat": np.ones((2700, 4))}, "no unit quaternion"),
        ({"opt_quat": np.full((2700, 4), 1e300)}, "no unit quaternion"),
        ({"imu_acc": np.ones((2700, 3), complex)}, "no array of real numbers"),
    ],
)
def test_a_damaged_trial_is_named(tmp_path, change, message):
    write_mat(tmp_path / "a.mat", *motion(2700, 0), **change)
    with pytest.raises(DataError, match=rf"a\.mat.*{message}"):
        broad.read_mat(tmp_path / "a.mat")


@pytest.mark.parametrize(
    "damage",
    [lambda c: b"", lambda c: b"no file of MATLAB" * 20, lambda c: c[: len(c) // 2],
     lambda c: c[:300] + bytes(200) + c[500:]],
)  # fmt: skip
def test_a_cut_or_foreign_file_is_named(tmp_path, damage):
    path = tmp_path / "a.mat"
    write_mat(path, *motion(2700, 0))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.mat"):
        broad.read_mat(path)


@pytest.mark.parametrize("packed", [False, True])
def test_random_damage_is_refused_or_read_as_numbers(tmp_path, packed):
    """SciPy's reader ends the process with such files."""
    path = tmp_path / "a.mat"
    acc, rate, q, moves = motion(60, 0)
    names = {"imu_acc": acc, "imu_gyr": rate, "opt_quat": q, "movement": moves[:, None]}
    savemat(path, names | {"sampling_rate": 2000 / 7}, do_compression=packed)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(packed), 0
    for _ in range(500):
        raw = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(raw)))
            if rng.random() < 0.7:
                raw[at : at + 4] = rng.bytes(int(rng.integers(1, 5)))
            else:
                del raw[at : at + int(rng.integers(1, 40))]
        path.write_bytes(bytes(raw))
        try:
            numbers, moves = broad.read_mat(path)
        except DataError:
            refused += 1
        else:
            assert numbers.shape == (10, len(moves))
    assert refused > 200


def test_every_kind_of_number_is_read_as_scipy_reads_it(tmp_path):
    kinds = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8", "?"]
    arrays = {f"x{k}": RNG.integers(0, 2, (3, 4)).astype(k) for k in kinds}
    arrays |= {"one": np.array([[7.0]]), "none": np.zeros((0, 3)), "many": np.ones((2, 3, 4))}
    arrays["text"], arrays["cell"] = "abc", np.array([1, "a"], object)
    savemat(tmp_path / "a.mat", arrays)
    numbers = arrays.keys() - {"text", "cell"}
    found = mat.read((tmp_path / "a.mat").read_bytes(), numbers, 1 << 20)
    assert found.keys() == numbers
    for name in numbers:
        np.testing.assert_array_equal(found[name], loadmat(tmp_path / "a.mat")[name], err_msg=name)
    for name in ("text", "cell"):
        with pytest.raises(ValueError, match="no array of real numbers"):
            mat.read((tmp_path / "a.mat").read_bytes(), [name], 1 << 20)


def test_what_would_fill_the_memory_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"x": np.zeros(10**6)}, do_compression=True)
    content = (tmp_path / "a.mat").read_bytes()
    assert len(content) < 10**5
    with pytest.raises(ValueError, match="unpacks to more"):
        mat.read(content, ["x"], 10**6)


def test_a_missing_trial_and_one_too_large_are_named(tmp_path, monkeypatch):
    (tmp_path / "broad" / "data_mat").mkdir(parents=True)
    with pytest.raises(DataError, match=r"01_undisturbed_slow_rotation_A\.mat cannot be read"):
        data.load("broad", tmp_path)
    write_mat(tmp_path / "a.mat", *motion(2700, 0))
    monkeypatch.setattr(broad, "LIMIT", 1 << 10)
    with pytest.raises(DataError, match="as no official file has"):
        broad.read_mat(tmp_path / "a.mat")


def test_another_packed_file_is_refused(trials):
    content = pack(trials)
    name = broad.TRIALS[0]
    fewer = {n: t for n, t in trials.items() if n != name}
    wide = trials | {name: (trials[name][0][:9], trials[name][1])}
    short = trials | {name: (trials[name][0], trials[name][1][:8])}
    for wrong in (b"", content[: len(content) // 2], pack(fewer), pack(wide), pack(short)):
        with pytest.raises(DataError, match="does not hold the trials of broad"):
            broad.unpack(wrong)
    unseen = {n: (np.zeros((10, 600), np.int16), np.ones(600, bool)) for n in broad.TRIALS}
    with pytest.raises(DataError, match="no window for training in which"):
        broad.as_dataset(unseen)


OFFICIAL = Path(os.environ.get("QUATGRAD_DATA", "/nowhere"))


@pytest.mark.skipif(not (OFFICIAL / "broad").is_dir(), reason="the official files are not here")
def test_official_file():
    dataset = data.load("broad", OFFICIAL)
    assert dataset.train.images.shape[1:] == (broad.STEPS, 1, 8)
    gravity = np.linalg.norm(dataset.train.images[..., 2::2], axis=-1)
    assert np.median(gravity) == pytest.approx(1, abs=0.02)
