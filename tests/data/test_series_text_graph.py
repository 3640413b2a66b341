"""Gestures, texts and graphs: official files, small ones made here, and damaged ones."""

import hashlib
import io
import lzma
import os
from pathlib import Path

import numpy as np
import pytest

from quatgrad import data, models
from quatgrad.data import graph, natops, packed, text
from quatgrad.data.encode import vectors
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.train import Recipe, train

# ------------------------------------------------------------------------------- gestures


def gestures(count=12, series=24, steps=51, seed=0):
    """A .ts file in which class k moves with frequency k."""
    rng = np.random.default_rng(seed)
    lines = ["#made", "@problemName made", "@data"]
    for n in range(count):
        k = n % 6 + 1
        t = np.arange(steps) / steps
        rows = [
            np.sin(2 * np.pi * k * t + c) + 0.1 * rng.standard_normal(steps) for c in range(series)
        ]
        lines.append(":".join([*(",".join(f"{v:.5f}" for v in row) for row in rows), f"{k}.0"]))
    return "\n".join(lines).encode()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A data folder with a small NATOPS, one file packed, whose sums are taken for the official."""
    folder = tmp_path / "natops"
    folder.mkdir()
    contents = {name: gestures(36, seed=k) for k, name in enumerate(natops.FILES)}
    (folder / "NATOPS_TRAIN.ts").write_bytes(contents["NATOPS_TRAIN.ts"])
    (folder / "NATOPS_TEST.ts.xz").write_bytes(lzma.compress(contents["NATOPS_TEST.ts"]))
    sums = {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()}
    monkeypatch.setattr(natops, "FILES", sums)
    return tmp_path


def test_a_joint_is_a_pure_quaternion():
    x = np.arange(12.0, dtype=np.float32).reshape(1, 1, 2, 6)
    q = vectors(x)
    assert q.shape == (1, 1, 2, 8)
    blocks = q.reshape(2, 4, 2)  # moment, component, joint
    assert not blocks[:, 0].any()
    np.testing.assert_array_equal(blocks[1, 1:, 1], [9, 10, 11])
    with pytest.raises(ShapeError, match="three channels"):
        vectors(x[..., :4])


def test_gestures_are_images_one_pixel_wide_and_are_learned(made):
    dataset = data.load("natops", made)
    assert dataset.train.images.shape == (36, 51, 1, 24)
    assert dataset.input_shape == (51, 1, 32)
    x = dataset.encode(dataset.train.images)
    np.testing.assert_allclose(x[..., 8:].mean((0, 1, 2)), 0, atol=1e-5)
    assert dataset.train.labels.tolist() == [0, 1, 2, 3, 4, 5] * 6
    for algebra in ("real", "quaternion"):
        net = models.create("fcn", algebra, 6, 32, 16, image_size=(51, 1))
        recipe = Recipe(epochs=20, batch_size=12, lr=1e-2, optimizer="adam")
        assert train(net, dataset, recipe, progress=False)[-1].test_accuracy > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace(b"@data", b"@date"), "no line @data"),
        (lambda t: t[: t.index(b"@data") + 5], "no series"),
        (lambda t: t.replace(b":1.0", b":7.0"), "line 4: the class is 7.0, not 1 to 6"),
        (lambda t: t.replace(b":1.0", b":x"), "line 4: could not convert"),
        (lambda t: t.replace(b",", b":", 1), "line 4: 25 series of .* not 24 of 51"),
        (lambda t: t.replace(b",", b",nan,", 1), "line 4: 24 series of"),
        (lambda t: t.replace(b"@data\n0", b"@data\ninf0"), "line 4"),
    ],
)
def test_a_damaged_file_says_where(change, message):
    with pytest.raises(DataError, match=message):
        natops.parse(change(gestures()), "made.ts", 6, (24, 51))


def test_a_number_that_is_not_finite_is_refused():
    lines = gestures(1).decode().split("\n")
    lines[-1] = "nan" + lines[-1][lines[-1].index(",") :]
    with pytest.raises(DataError, match="not finite"):
        natops.parse("\n".join(lines).encode(), "made.ts", 6, (24, 51))


def test_another_file_of_that_name_is_refused(made):
    path = made / "natops" / "NATOPS_TRAIN.ts"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match="is not the official file of natops: the SHA-256"):
        data.load("natops", made)
    (made / "natops" / "NATOPS_TEST.ts.xz").write_bytes(b"no xz")
    with pytest.raises(DataError, match=r"NATOPS_T.* (cannot be read|is not the official)"):
        data.load("natops", made)
    path.unlink()
    with pytest.raises(DataError, match=r"lacks NATOPS_TRAIN.ts; get NATOPS_TRAIN.ts"):
        data.load("natops", made)


def test_a_packed_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "LIMIT", 1000)
    (tmp_path / "a.xz").write_bytes(lzma.compress(bytes(10**6)))
    with pytest.raises(DataError, match="more than"):
        packed.read_files("a", {"a": ""}, tmp_path, "advice")


# ----------------------------------------------------------------------------------- texts


def test_the_text_that_comes_with_the_package():
    t = text.load()
    assert t.text.startswith("First Citizen:")
    assert t.decode(t.encode("thou art")) == "thou art"
    assert len(t.train) + len(t.validation) == len(t.text)
    assert len(t.validation) == pytest.approx(len(t.text) / 10, abs=1)
    assert repr(t) == f"Text(citizens: {len(t.text):,} characters, {len(t.characters)} kinds)"
    for tokens, following in t.batches(3, 8, 2, rng=0):
        assert tokens.shape == following.shape == (3, 8)
        np.testing.assert_array_equal(tokens[:, 1:], following[:, :-1])
        assert t.decode(tokens[0]) + t.decode(following[0, -1:]) in t.text
    tokens, following = t.windows(64)
    np.testing.assert_array_equal(tokens.reshape(-1)[1:], following.reshape(-1)[:-1])
    assert 0 <= len(t.validation) - 1 - tokens.size < 64


def test_batches_of_a_seed_are_the_same_and_no_window_is_of_the_validation_part():
    t = text.Text("made", "abcdefghi" * 10 + "Z" * 10)
    one, two = (list(t.batches(50, 12, 4, rng=3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert "Z" not in "".join(t.decode(b.ravel()) for batch in one for b in batch)
    starts = {t.decode(tokens[:1]) for batch in one for tokens in batch[0]}
    assert len(starts) == 9  # every place of the pattern


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda: text.load("bible"), OptionError, "bible.*citizens"),
        (lambda: text.Text("mine", "short"), DataError, "5 characters is too short"),
        (lambda: text.load().encode("€"), DataError, "has no character '€'"),
        (lambda: text.load().windows(10**6), OptionError, "1 to .*; got 1000000"),
        (lambda: text.load("tinyshakespeare", "/nowhere"), DataError, "lacks input.txt|cannot be"),
    ],
)
def test_texts_that_do_not_fit(f, error, message):
    with pytest.raises(error, match=message):
        f()


# ---------------------------------------------------------------------------------- graphs

ARRAYS = {
    "indptr": np.array([0, 2, 2, 3], np.int32),
    "indices": np.array([0, 4, 1], np.uint16),
    "shape": np.array([3, 5], np.int32),
    "labels": np.array([1, -1, 0], np.int8),
    "edges": np.array([[0, 1], [1, 2]], np.uint16),
    "train": np.array([0], np.uint16),
    "validation": np.array([2], np.uint16),
    "test": np.array([], np.uint16),
}


def file_of(**changes):
    buffer = io.BytesIO()
    arrays = {k: a for k, a in (ARRAYS | changes).items() if a is not None}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_a_graph_of_three_papers():
    g = graph.parse(file_of(), "made")
    expected = np.zeros((3, 8))
    expected[0, [0, 4]] = 0.5
    expected[2, 1] = 1
    np.testing.assert_array_equal(g.features, expected)
    assert (g.features.dtype, g.labels.tolist(), g.num_classes) == (np.float32, [1, -1, 0], 2)
    assert repr(g) == "Graph(made: 3 nodes, 2 edges, 2 classes)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"PK\x03\x04 damaged", "not the arrays"),
        (lambda: file_of(test=None), "not the arrays"),
        (lambda: file_of(labels=np.array([print, 1, 2], object)), "not the arrays"),
        (lambda: file_of(edges=np.array([[0, 3]])), "a node that is not 0 to 2"),
        (lambda: file_of(train=np.array([2])), "twice, or has no class"),
        (lambda: file_of(train=np.array([1])), "twice, or has no class"),
        (lambda: file_of(indptr=np.array([0, 3, 2, 3])), "do not fit 3 nodes"),
        (lambda: file_of(indices=np.array([0, 5, 1])), "word 5 is out of range: there are 5"),
        (lambda: file_of(indices=np.array([0, -1, 1])), "word -1 is out of range: there are 5"),
        (lambda: file_of(indptr=np.array([1, 2, 2, 3])), "do not fit 3 nodes"),
        (lambda: file_of(edges=np.array([0, 1])), "3 nodes want 3 labels"),
    ],
)
def test_a_graph_that_does_not_fit(content, message):
    with pytest.raises(DataError, match=message):
        graph.parse(content(), "made")


def test_another_split_takes_the_nodes_that_have_a_class():
    N = 40
    g = graph.Graph(
        "made",
        np.zeros((N, 4), np.float32),
        np.arange(N) % 3 - 1,
        np.zeros((0, 2), int),
        *(np.array([], int) for _ in range(3)),
    )
    parts = graph.random_split(g, 0.5, 0.25, np.random.default_rng(0))
    sizes = [len(p) for p in (parts.train, parts.validation, parts.test)]
    labelled = (g.labels >= 0).sum()
    assert sizes == [
        round(labelled / 2),
        round(0.75 * labelled) - round(labelled / 2),
        labelled - round(0.75 * labelled),
    ]
    with pytest.raises(OptionError, match="without nodes"):
        graph.random_split(g, 1.0, 0.0, np.random.default_rng(0))


# -------------------------------------------------------------------------- official files

OFFICIAL = Path(os.environ.get("QUATGRAD_DATA", "/nowhere"))


@pytest.mark.skipif(not (OFFICIAL / "natops").is_dir(), reason="the official files are not here")
def test_official_files():
    gestures = data.load("natops", OFFICIAL)
    assert [np.bincount(s.labels).tolist() for s in gestures.splits] == [[30] * 6] * 2
    t = text.load("tinyshakespeare", OFFICIAL)
    assert (len(t.train), len(t.validation), len(t.characters)) == (1_003_854, 111_540, 65)
    cora, citeseer = (graph.load(name, OFFICIAL) for name in graph.SUMS)
    assert [len(p) for p in (cora.train, cora.validation, cora.test)] == [140, 500, 1000]
    assert (cora.features.shape, citeseer.features.shape) == ((2708, 1436), (3327, 3704))
    assert (citeseer.features.sum(1) == 0).sum() == 15
