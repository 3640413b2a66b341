"""Sentences and spoken digits: small ones made here, in each form, and damaged ones."""

import hashlib
import io
import lzma
import wave
import zipfile

import numpy as np
import pytest

from quatgrad import data, models
from quatgrad.data import sentences, speech
from quatgrad.errors import DataError
from quatgrad.train import Recipe, train

# ------------------------------------------------------------------------------- sentences

GOOD, BAD = ["fine", "great", "lovely"], ["dull", "awful", "weak"]


def reviews(count, seed):
    """Sentences that one word decides, among words that say nothing."""
    rng, lines = np.random.default_rng(seed), []
    for n in range(count):
        words = list(rng.choice(["the", "a", "film", "plot", "of", "and"], rng.integers(1, 9)))
        words.insert(rng.integers(0, len(words) + 1), str(rng.choice((BAD, GOOD)[n % 2])))
        lines.append(" ".join([str(n % 2), *words]))
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """File -> content of a small SST-2, whose sums are taken for the official ones."""
    source = sentences.SOURCES["sst2"]
    contents = {f: reviews(120, k) for k, (f, _) in enumerate(source.files.values())}
    files = {
        split: (f, hashlib.sha256(contents[f]).hexdigest())
        for split, (f, _) in source.files.items()
    }
    monkeypatch.setitem(sentences.SOURCES, "sst2", source._replace(files=files))
    (tmp_path / "sentences").mkdir()
    return contents


def test_sentences_plain_and_in_a_zip_are_the_same_and_are_learned(made, tmp_path):
    folder = tmp_path / "sentences"
    for name, content in made.items():
        (folder / name).write_bytes(content)
    plain = data.load("sst2", tmp_path)
    for name in made:
        (folder / name).unlink()
    with zipfile.ZipFile(folder / "sentences.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in made.items():
            archive.writestr(name, content)
    packed = data.load("sst2", tmp_path)
    assert plain.fingerprint() == packed.fingerprint()
    assert [len(split) for split in packed.splits] == [120, 120, 120]
    assert packed.input_shape == (9, 1, 14)  # 12 words, another one, and none
    how = {"image_size": (9, 1), "init": "polar-glorot"}
    net = models.create("transformer", "quaternion", 2, 14, 16, **how)
    last = train(net, packed, Recipe(12, 20, 0.02, optimizer="adamw"), progress=False)[-1]
    assert last.validation_accuracy > 0.95


def test_a_word_that_occurs_once_is_unknown():
    parts = {"train": [(0, ["a", "b", "b"]), (1, ["a"])], "test": [(1, ["b", "c", "a", "a"])]}
    dataset = sentences.as_dataset("few", parts, ("no", "yes"))
    assert dataset.train.images.tolist() == [[2, 3, 3, 0], [2, 0, 0, 0]]
    assert dataset.test.images.tolist() == [[3, 1, 2, 2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0 fine\n2 bad\n", "FILE, line 2: a line is a class, 0 to 1, and words; got 2 bad"),
        (b"0 fine\n\nbad\n", "FILE, line 3: a line is a class"),
        (b"0 fine\n1 \n", "FILE, line 2"),
        (b"\n\n", "FILE has no sentences"),
        (b"", "FILE has no sentences"),
        (bytes(range(256)) * 2, "FILE, line 1"),
    ],
)
def test_damaged_sentences(content, message):
    with pytest.raises(DataError, match=message):
        sentences.parse(content, "FILE", 2)


@pytest.mark.parametrize("damage", [lambda c: c[:300], lambda c: b"", lambda c: c[:-30]])
def test_a_damaged_zip(made, tmp_path, damage):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in made.items():
            archive.writestr(name, content)
    path = tmp_path / "sentences" / "sentences.zip"
    path.write_bytes(damage(buffer.getvalue()))
    with pytest.raises(DataError, match=r"sentences.zip (cannot be read|is not the official)"):
        data.load("sst2", tmp_path)


def test_a_zip_without_one_of_the_files(made, tmp_path):
    with zipfile.ZipFile(tmp_path / "sentences" / "sentences.zip", "w") as archive:
        archive.writestr("stsa.binary.dev", b"")
    with pytest.raises(DataError, match=r"no item named 'stsa\.binary\.train'"):
        data.load("sst2", tmp_path)


# ---------------------------------------------------------------------------- spoken digits


def recordings(takes=8):
    """A tone for each digit, the higher the larger, of four speakers."""
    rng, found = np.random.default_rng(3), {}
    for digit in range(10):
        for speaker in ("ann", "bob", *speech.TESTED):
            for take in range(takes):
                t = np.arange(rng.integers(900, 2500)) / speech.RATE
                a = np.sin(2 * np.pi * 200 * 1.3**digit * t) + 0.1 * rng.standard_normal(len(t))
                found[f"{digit}_{speaker}_{take}"] = (8000 * a).astype(np.int16)
    return {name: found[name] for name in sorted(found)}


def packed(found):
    """The same as index.csv and the content of fsdd.pcm: differences of order 0, 1 and 2."""
    lines, numbers = ["name,samples,order"], []
    for k, (name, a) in enumerate(found.items()):
        order, a = k % 3, a.view(np.uint16)
        for _ in range(order):
            a = np.diff(a, prepend=np.uint16(0))
        r = a.view(np.int16).astype(np.int32)
        numbers.append(np.where(r < 0, -2 * r - 1, 2 * r).astype(np.uint16))
        lines.append(f"{name},{len(a)},{order}")
    u = np.concatenate(numbers)
    return "\n".join(lines).encode(), (u >> 8).astype(np.uint8).tobytes() + u.astype(
        np.uint8
    ).tobytes()


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Small recordings whose sums are taken for the official ones; a folder for them."""
    found = recordings()
    index, pcm = packed(found)
    samples = np.concatenate(list(found.values())).astype("<i2").tobytes()
    monkeypatch.setattr(speech, "COUNT", len(found))
    monkeypatch.setattr(speech, "SAMPLES", hashlib.sha256(samples).hexdigest())
    contents = {"index.csv": index, "fsdd.pcm": pcm}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(speech, "FILES", sums)
    folder = tmp_path / "fsdd"
    folder.mkdir()
    (folder / "index.csv").write_bytes(index)
    (folder / "fsdd.pcm.xz").write_bytes(lzma.compress(pcm))
    return folder


def write_wavs(folder, found, **how):
    folder.mkdir()
    for name, a in found.items():
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setnchannels(how.get("channels", 1))
            file.setsampwidth(2)
            file.setframerate(how.get("rate", speech.RATE))
            file.writeframes(a.astype("<i2").tobytes())


def test_recordings_packed_and_as_they_were_are_the_same_and_are_learned(official):
    dataset = data.load("fsdd-speakers", official.parent)
    write_wavs(official / "recordings", recordings())
    assert data.load("fsdd-speakers", official.parent).fingerprint() == dataset.fingerprint()
    assert len(data.load("fsdd", official.parent).test) == 200  # takes 0 to 4
    assert (len(dataset.train), len(dataset.test)) == (160, 160)
    assert dataset.input_shape == (80, 1, 160)
    x = dataset.train.images
    inside = abs(x).max(axis=(2, 3)) > 0
    np.testing.assert_allclose(x[inside].mean((0, 1)), 0, atol=1e-4)
    net = models.create("gru", "quaternion", 10, 160, 16, image_size=(80, 1))
    recipe = Recipe(6, 20, 0.02, optimizer="adam", clip=1.0)
    assert train(net, dataset, recipe, progress=False)[-1].test_accuracy > 0.6


def test_a_tone_is_in_its_band_and_derivatives_are_slopes():
    filters = speech.mel_filters()
    f = np.fft.rfftfreq(speech.FOURIER, 1 / speech.RATE)
    t = np.arange(4000) / speech.RATE
    for tone in (500, 1000, 3000):
        energy = speech.log_mel((8000 * np.sin(2 * np.pi * tone * t)).astype(np.int16))
        band = energy.mean(axis=0).argmax()
        assert abs(f[filters[:, band].argmax()] - tone) < 0.1 * tone + 40
    line = np.outer(np.arange(21.0), [1.0, -2.0])
    slopes = speech.with_derivatives(line).reshape(21, 4, 2)
    np.testing.assert_allclose(slopes[2:-2, 1], np.tile([1.0, -2.0], (17, 1)))
    np.testing.assert_allclose(slopes[10, 2:], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"name,samples\nx,3", "no table of recordings"),
        (b"name,samples,order\nx,three,1", "no table of recordings"),
        (b"name,samples,order\nx,3,1", "tells of other recordings than fsdd.pcm has: 4 samples"),
        (b"name,samples,order\nx,4,9", "tells of other recordings"),
        (b"name,samples,order\nx,-4,1\ny,8,0", "tells of other recordings"),
    ],
)
def test_a_damaged_table_of_recordings(index, message):
    with pytest.raises(DataError, match=message):
        speech.unpack(index, bytes(8))


def test_damaged_recordings(official):
    folder = official / "recordings"
    write_wavs(folder, recordings(2))
    with pytest.raises(DataError, match="these are not the 320 official recordings"):
        data.load("fsdd", official.parent)
    (folder / "0_ann_0.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"0_ann_0.wav is no recording"):
        data.load("fsdd", official.parent)
    for k, how in enumerate(({"rate": 16000}, {"channels": 2})):
        write_wavs(official / f"other{k}", {"0_a_0": np.zeros(10, np.int16)}, **how)
        with pytest.raises(DataError, match=r"is not mono, 16 bits, 8000 Hz: it is \("):
            speech.read_wavs(official / f"other{k}")
