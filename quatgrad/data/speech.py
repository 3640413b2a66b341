"""Spoken digits: 3000 recordings of 6 speakers, as series of spectra.

Read from the official recordings (.wav), or from index.csv and fsdd.pcm.xz, which hold the same
samples: per recording their differences of an order, zigzag, high bytes before low bytes.

    x[t, c] = ln(1e-6 + energy of band c in the window at t)    40 bands, equal steps in mel

and its first, second and third derivative in time: four numbers that belong together, hence one
quaternion. Parcollet et al., arXiv:1806.04418, have the same.

Source: Z. Jackson et al., Free Spoken Digit Dataset, CC BY-SA 4.0.
"""

import csv
import hashlib
import io
import os
import wave
from pathlib import Path

import numpy as np

from quatgrad.data.dataset import Dataset, Split, as_it_is
from quatgrad.data.fetch import data_root
from quatgrad.data.own import moments
from quatgrad.data.packed import read_files
from quatgrad.errors import DataError, brief
from quatgrad.task import Padded

RATE, HOP, WINDOW, FOURIER, BANDS = 8000, 100, 200, 256, 40  # samples a second; samples
FRAMES = 80  # a second; what comes later is left out, of 1 recording in 200
TESTED = ("theo", "yweweler")  # the speakers that are not trained on
COUNT = 3000
SAMPLES = "6f643a7422de89763625dfc9aa79427e69f7a690223a5bc5752a2f56db5af465"  # SHA-256 of them all
FILES = {
    "index.csv": "a286966c99c4e73bde84283ba18b55460067259b681fec4ecbf2f46a7cf21acf",
    "fsdd.pcm": "995b7f1b7a66f740869b2ca5183a4ed69db41f91c00dcd61ea10944a923705c0",
}
ADVICE = (
    "get the folder recordings of github.com/Jakobovski/free-spoken-digit-dataset into DIR/fsdd "
    "and give --data-dir DIR or set QUATGRAD_DATA=DIR"
)

Recordings = dict[str, np.ndarray]  # DIGIT_SPEAKER_TAKE -> int16 samples


def load(data_dir: str | os.PathLike[str] | None = None, by_speaker: bool = False) -> Dataset:
    """2700 to train on and takes 0 to 4 for testing; or tested on two speakers apart.

    Series float32 (N, 80, 1, 160) in the layout [value | 1st | 2nd | 3rd derivative], each of the
    160 normalised by its mean and deviation in training; zeros after the end.
    """
    folder = data_root(data_dir)[0] / "fsdd" / "recordings"
    if os.path.isdir(folder):
        recordings = read_wavs(folder)
    else:
        contents = read_files("fsdd", FILES, data_dir, ADVICE)
        recordings = unpack(contents["index.csv"], contents["fsdd.pcm"])
    samples = np.concatenate(list(recordings.values())).astype("<i2")
    if len(recordings) != COUNT or hashlib.sha256(samples.tobytes()).hexdigest() != SAMPLES:
        raise DataError(f"these are not the {COUNT} official recordings of digits; {ADVICE}")
    return as_dataset(recordings, by_speaker)


def as_dataset(recordings: Recordings, by_speaker: bool) -> Dataset:
    """A dataset of recordings by their names."""
    parts = [name.split("_") for name in recordings]  # digit, speaker, take
    tested = np.array([s in TESTED if by_speaker else int(take) < 5 for _, s, take in parts])
    labels = np.array([int(digit) for digit, _, _ in parts], np.int64)
    spectra = [with_derivatives(log_mel(a)) for a in recordings.values()]
    trained = [x for x, is_test in zip(spectra, tested, strict=True) if not is_test]
    mean, std = moments(np.concatenate(trained)[None, :, None])
    x = np.zeros((len(spectra), FRAMES, 1, 4 * BANDS), np.float32)
    for row, frames in zip(x, spectra, strict=True):
        row[: len(frames), 0] = (frames - mean) / std
    train, test = (Split(x[which], labels[which]) for which in (~tested, tested))
    name = "fsdd-speakers" if by_speaker else "fsdd"
    return Dataset(name, train, test, tuple("0123456789"), as_it_is, task=Padded())


# ------------------------------------------------------------------------------- features


def log_mel(samples: np.ndarray) -> np.ndarray:
    """ln(1e-6 + energies) (T, 40) of int16 samples, T = 1 frame for each `HOP`, at most 80."""
    a = np.pad(samples.astype(np.float64) / 2**15, (0, max(WINDOW - len(samples), 0)))
    count = min(1 + (len(a) - WINDOW) // HOP, FRAMES)
    frames = a[np.arange(count)[:, None] * HOP + np.arange(WINDOW)] * np.hanning(WINDOW)
    power = abs(np.fft.rfft(frames, FOURIER)) ** 2  # (T, 129)
    return np.log(1e-6 + power @ mel_filters())


def mel_filters() -> np.ndarray:
    """Triangles (129, 40) whose corners are equally apart in mel, m = 2595 log10(1 + f / 700)."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    f = np.fft.rfftfreq(FOURIER, 1 / RATE)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    return np.maximum(np.minimum((f - low) / (middle - low), (high - f) / (high - middle)), 0)


def with_derivatives(x: np.ndarray) -> np.ndarray:
    """[x | x' | x'' | x'''], (T, C) -> (T, 4 C); x'[t] is the slope of the line through t - 2 to
    t + 2, where before the first frame and after the last one these go on.
    """
    found = [x]
    for _ in range(3):
        a = np.pad(found[-1], ((2, 2), (0, 0)), mode="edge")
        found.append((a[3:-1] - a[1:-3] + 2 * (a[4:] - a[:-4])) / 10)
    return np.concatenate(found, axis=1)


# ------------------------------------------------------------------------------ recordings


def unpack(index: bytes, packed: bytes) -> Recordings:
    """Recordings by name, from the table of them and their bytes; `DataError` if these differ."""
    rows = list(csv.DictReader(io.StringIO(index.decode("ascii", "replace"))))
    try:
        sizes = [(row["name"], int(row["samples"]), int(row["order"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"index.csv is no table of recordings ({brief(str(error))})") from error
    N = len(packed) // 2
    fit = all(size > 0 and order in range(3) for _, size, order in sizes)
    if not fit or sum(size for _, size, _ in sizes) != N:
        raise DataError(f"index.csv tells of other recordings than fsdd.pcm has: {N} samples")
    raw = np.frombuffer(packed, np.uint8)
    u = raw[:N].astype(np.uint16) << 8 | raw[N : 2 * N]
    r = (u >> 1) ^ (0 - (u & 1)).astype(np.uint16)
    found, start = Recordings(), 0
    for name, size, order in sizes:
        a = r[start : start + size]
        start += size
        for _ in range(order):
            a = np.cumsum(a, dtype=np.uint16)
        found[name] = a.view(np.int16)
    return found


def read_wavs(folder: Path) -> Recordings:
    """Recordings by name, in order; `DataError` for a file that is none of 8000 Hz and 16 bits."""
    found = Recordings()
    for path in sorted(folder.glob("*_*_*.wav"), key=lambda path: path.stem):
        try:
            with wave.open(str(path), "rb") as file:
                how = file.getnchannels(), file.getsampwidth(), file.getframerate()
                content = file.readframes(file.getnframes())
        except (OSError, EOFError, wave.Error) as error:
            raise DataError(f"{path} is no recording ({brief(str(error))}); {ADVICE}") from error
        if how != (1, 2, RATE) or len(content) < 2 or len(content) % 2:
            raise DataError(f"{path} is not mono, 16 bits, {RATE} Hz: it is {how}; {ADVICE}")
        found[path.stem] = np.frombuffer(content, "<i2")
    return found
