"""BROAD: an inertial sensor in motion, and its true attitude by cameras.

Read from broad95.npz, or from the official files data_mat/*.mat of the same trials, which are
brought to the same form: of three samples the mean of accelerations and turning rates, and the last
orientation, all in 16 bits. broad95.npz has differences in time of these numbers.

A window is T moments of two pure quaternions, acceleration in g and turning rate in rad/s; its
labels are unit quaternions, from the sensor to east, north, up, and 0 where nothing counts.

Source: D. Laidig, M. Caruso, A. Cereatti, T. Seel, Data 6(7), 2021, CC BY 4.0.
"""

import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from quatgrad.data import mat
from quatgrad.data.dataset import Dataset, Split, as_it_is
from quatgrad.data.fetch import data_root
from quatgrad.data.packed import LIMIT, read_files
from quatgrad.errors import DataError, brief
from quatgrad.task import Attitude

FILES = {"broad95.npz": "22c68084a07efb29c4a5d540a200fef92d44dd66ab444395d24e0e90a7608aa5"}
ADVICE = (
    "get the folder data_mat of github.com/dlaidig/broad into DIR/broad and give --data-dir DIR or "
    "set QUATGRAD_DATA=DIR"
)
TRIALS = (
    *("01_undisturbed_slow_rotation_A", "02_undisturbed_slow_rotation_B"),
    *("03_undisturbed_slow_rotation_C", "04_undisturbed_slow_rotation_with_breaks_A"),
    *("05_undisturbed_slow_rotation_with_breaks_B", "06_undisturbed_fast_rotation_A"),
    *("07_undisturbed_fast_rotation_B", "08_undisturbed_fast_rotation_with_breaks_A"),
    *("09_undisturbed_fast_rotation_with_breaks_B", "10_undisturbed_slow_translation_A"),
    *("11_undisturbed_slow_translation_B", "12_undisturbed_slow_translation_C"),
    *("14_undisturbed_slow_translation_with_breaks_B", "15_undisturbed_fast_translation_A"),
    *("16_undisturbed_fast_translation_B", "18_undisturbed_fast_translation_with_breaks_B"),
    *("21_undisturbed_fast_combined", "24_disturbed_tapping_A", "25_disturbed_tapping_B"),
    *("26_disturbed_phone_vibration_A", "27_disturbed_phone_vibration_B"),
)
TESTED = ("03", "07", "09", "12", "16", "21", "25", "27")  # there is no official split
#: What 1 stands for in 16 bits: m/s^2, rad/s, and a component of a unit quaternion.
UNITS = np.repeat([0.005, 0.001, 1 / 30000], [3, 3, 4])
MOST = 1e6  # of any number
RATE, STEP = 285.7, 3  # samples a second; so many become one
GRAVITY = 9.81
STEPS, SETTLE = 512, 128  # moments of a window; the first 1.3 seconds do not count
LEAST = 0.25  # share of a window that counts, or it is left out

Trial = tuple[np.ndarray, np.ndarray]  # int16 (10, n) in `UNITS`; bool (n,): it moves
Trials = dict[str, Trial]


def load(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Windows float32 (N, 512, 1, 8) of 13 trials to train on and 8 for testing.

    Channels are [0 0 | ax gx | ay gy | az gz]. `DataError` for a file that is missing or damaged.
    """
    folder = data_root(data_dir)[0] / "broad" / "data_mat"
    if os.path.isdir(folder):
        return as_dataset({name: read_mat(folder / f"{name}.mat") for name in TRIALS})
    return as_dataset(unpack(read_files("broad", FILES, data_dir, ADVICE)["broad95.npz"]))


def as_dataset(trials: Trials) -> Dataset:
    """A dataset of trials by their names; at rest, only training counts."""
    parts = []
    for is_test in (False, True):
        own = [t for name, t in trials.items() if (name[:2] in TESTED) == is_test]
        windows = [windows_of(*trial, everywhere=not is_test) for trial in own]
        if not sum(len(x) for x, _ in windows):
            kind = "testing" if is_test else "training"
            raise DataError(f"broad: there is no window for {kind} in which the sensor is seen")
        parts.append(Split(*(np.concatenate(a) for a in zip(*windows, strict=True))))
    train, test = parts
    return Dataset("broad", train, test, ("1", "i", "j", "k"), as_it_is, task=Attitude())


def windows_of(numbers: np.ndarray, moves: np.ndarray, everywhere: bool) -> Trial:
    """Windows (N, T, 1, 8) of a trial, and orientations (N, T, 4), 0 where nothing counts.

    Each begins before the last one ends, so that each moment counts once, but for the first ones
    of a trial. `everywhere`: also where nothing moves.
    """
    a = (numbers * UNITS[:, None]).T.astype(np.float32)  # (n, 10)
    x = np.zeros((len(a), 4, 2), np.float32)
    x[:, 1:, 0], x[:, 1:, 1] = a[:, :3] / GRAVITY, a[:, 3:6]
    q = a[:, 6:]
    length = np.linalg.norm(q, axis=1, keepdims=True)
    q = np.where((length > 0) & (moves[:, None] | everywhere), q / np.maximum(length, 0.5), 0)
    starts = np.arange(0, len(a) - STEPS + 1, STEPS - SETTLE)[:, None]
    at = starts + np.arange(STEPS)  # (N, T)
    labels = q[at].astype(np.float32)
    labels[:, :SETTLE] = 0
    kept = (labels != 0).any(axis=2).mean(axis=1) >= LEAST
    return x.reshape(-1, 8)[at][kept][:, :, None], labels[kept]


# ------------------------------------------------------------------------------------- files


def unpack(content: bytes) -> Trials:
    """The trials in broad95.npz; `DataError` where it is another file."""
    found = Trials()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            for name in TRIALS:
                differences, bits = archive[name], archive[f"{name}.movement"]
                if differences.dtype != np.int16 or differences.ndim != 2:
                    raise ValueError(f"{name} is {differences.dtype} {differences.shape}")
                n = differences.shape[1]
                if len(differences) != 10 or bits.dtype != np.uint8 or len(bits) != -(-n // 8):
                    raise ValueError(f"{name} has {len(differences)} rows, {len(bits)} bytes")
                moves = np.unpackbits(bits, count=n).astype(bool)
                found[name] = np.cumsum(differences, axis=1, dtype=np.int16), moves
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"broad95.npz does not hold the trials of broad ({brief(str(error))}); {ADVICE}"
        ) from error
    return found


def read_mat(path: Path) -> Trial:
    """A trial of an official file."""
    wanted = ("imu_acc", "imu_gyr", "opt_quat", "movement", "sampling_rate")
    try:
        if path.stat().st_size > LIMIT:
            raise ValueError(f"more than {LIMIT >> 20} MB, as no official file has")
        arrays = mat.read(path.read_bytes(), wanted, LIMIT)
        acc, gyr, q, moves, rate = (arrays[name] for name in wanted)
        moves, n = moves.ravel(), len(acc)
        if (acc.shape, gyr.shape, q.shape, moves.shape) != ((n, 3), (n, 3), (n, 4), (n,)):
            raise ValueError(f"arrays of shapes {acc.shape}, {gyr.shape}, {q.shape}, {moves.shape}")
        if rate.size != 1 or abs(rate.item() - RATE) > 0.1:
            raise ValueError(f"{brief(rate.ravel())} samples a second, not {RATE}")
        if not max(abs(acc).max(initial=0), abs(gyr).max(initial=0)) < MOST:
            raise ValueError("a number is not finite, or of no sensor")
        seen = q[~np.isnan(q).any(axis=1)]
        if not (abs(seen) <= 1.01).all() or (abs(np.linalg.norm(seen, axis=1) - 1) > 0.01).any():
            raise ValueError("an orientation is no unit quaternion")
    except (OSError, KeyError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({brief(str(error))}); {ADVICE}") from error
    return reduced(acc, gyr, q), moves[: n - n % STEP][STEP - 1 :: STEP] > 0


def reduced(acc: np.ndarray, gyr: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Of three samples one, int16 (10, n) in `UNITS`; 0 where the cameras lost the sensor."""
    whole = len(acc) - len(acc) % STEP
    means = [a[:whole].reshape(-1, STEP, 3).mean(axis=1) for a in (acc, gyr)]
    q = np.nan_to_num(q[:whole][STEP - 1 :: STEP])
    back = np.cumprod(np.where((q[1:] * q[:-1]).sum(axis=1) < 0, -1, 1))  # a sign without jumps
    q[1:] *= back[:, None]
    limits = np.iinfo(np.int16)
    numbers = np.rint(np.concatenate([*means, q], axis=1).T / UNITS[:, None])
    return np.clip(numbers, limits.min, limits.max).astype(np.int16)
