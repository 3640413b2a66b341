"""Pictures with boxes: mirrored with them, made ones, and files in the form of Pascal VOC."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from quatgrad import data
from quatgrad.boxes import iou, padded
from quatgrad.data import batches, bccd, boxed, discs, voc
from quatgrad.errors import DataError, OptionError

RNG = np.random.default_rng(3)
CLASSES = ("cell", "dust")

# ------------------------------------------------------------------------------- augmentation


def bright(count=40, size=(24, 32)):
    """Pictures that are 200 inside of their boxes and 0 outside; some have none."""
    pictures, own = np.zeros((count, *size, 3), np.uint8), []
    for n, picture in enumerate(pictures):
        rows = []
        for _ in range(n % 3):
            (x0, x1), (y0, y1) = (np.sort(RNG.permutation(side + 1)[:2]) for side in size[::-1])
            picture[y0:y1, x0:x1] = 200
            rows.append((0, x0, y0, x1, y1))
        own.append(np.array(rows, np.float32).reshape(-1, 5))
    return pictures, own


def painted(labels, size):
    """What `bright` paints of boxes."""
    picture = np.zeros((*size, 3), np.uint8)
    for k, *corners in labels.astype(int):
        if k >= 0:
            x0, y0, x1, y1 = corners
            picture[y0:y1, x0:x1] = 200
    return picture


def test_boxes_are_mirrored_with_their_pictures():
    pictures, own = bright()
    labels = padded(own)
    moved, told = boxed.flip(pictures, labels, np.random.default_rng(0))
    for picture, boxes in zip(moved, told, strict=True):
        np.testing.assert_array_equal(picture, painted(boxes, (24, 32)))
    changed = (moved != pictures).any(axis=(1, 2, 3)).sum()
    assert 15 < changed < 28  # of 26 with a box, three quarters
    np.testing.assert_array_equal(told[..., 0], labels[..., 0])
    pictures2, _ = bright(4)
    assert pictures.flags.writeable
    assert pictures2.shape == (4, 24, 32, 3)


@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_batches_have_the_boxes_of_their_pictures_whatever_their_size(size):
    dataset = boxed.from_boxes("bright", ("one",), bright(), bright(6))
    mean, std = dataset.encode.mean[0], dataset.encode.std[0]
    seen = []
    for x, y in batches(dataset, size, seed=1, epoch=2):
        for picture, boxes in zip(x, y, strict=True):
            there = (picture[..., 0] * std + mean > 100).astype(np.uint8) * 200
            np.testing.assert_array_equal(there, painted(boxes, (24, 32))[..., 0])
            seen.append(boxes)
    whole = np.concatenate([y for _, y in batches(dataset, 40, seed=1, epoch=2)])
    np.testing.assert_array_equal(np.stack(seen), whole)


# ----------------------------------------------------------------------------------- datasets


def test_what_is_made_is_always_the_same_and_has_boxes_that_fit():
    one = data.load("discs")
    assert one.fingerprint() == discs.load().fingerprint() == "cf5460571f4d130b"
    assert repr(one) == (
        "Dataset(discs: 240 training, 80 test pictures with boxes of 48 x 64 x 3, 2 classes)"
    )
    labels = one.train.labels
    there = labels[..., 0] >= 0
    assert (~there.any(axis=1)).sum() > 20  # some have none
    assert np.bincount(labels[there, 0].astype(int)).min() > 100
    for picture, own in zip(one.train.images, labels, strict=True):
        inside = np.zeros((48, 64), bool)
        for k, *corners in own:
            x0, y0, x1, y1 = map(int, corners)
            inside[y0:y1, x0:x1] |= k >= 0
        if inside.any():
            assert picture[inside].mean() > picture[~inside].mean() + 20
    pairs = iou(labels[:, :, None, 1:], labels[:, None, :, 1:])
    pairs[:, np.arange(labels.shape[1]), np.arange(labels.shape[1])] = 0
    assert pairs.max() == 0  # they do not touch


def test_boxes_that_do_not_fit_their_pictures():
    pictures, own = bright(6)
    bad = [*own[:-1], np.array([[0, 1, 1, 90, 5]])]
    for train, test, message in [
        ((pictures, bad), (pictures, own), "many, training: box 0 of picture 5, .*not inside"),
        ((pictures, own), (pictures, bad), "many, test: box 0"),
        ((pictures, own[:5]), (pictures, own), "6 training pictures have 5 arrays of boxes"),
        ((pictures, own), (pictures[:1], own[:1]), "the test pictures have no box"),
        ((pictures, own), (pictures[:, :8], own), "test pictures are"),
        (
            (pictures, [a[:, :4] for a in own]),
            (pictures, own),
            r"have shape \(1, 4\), not \(M, 5\)",
        ),
        ((pictures, [[["one", 1, 1, 2, 2]]] * 6), (pictures, own), "the boxes of a picture are no"),
        (
            (pictures, [[[0, 1, 1, 2, 2], [0]]] * 6),
            (pictures, own),
            "the boxes of a picture are no",
        ),
        ((pictures, None), (pictures, own), "6 training pictures have 0 arrays of boxes"),
    ]:
        with pytest.raises(DataError, match=message):
            data.from_boxes("many", ("one",), train, test)
    with pytest.raises(OptionError, match="encoder 'blocks' does not fit"):
        data.from_boxes("many", ("one",), (pictures, own), (pictures, own), encoder="blocks")


# --------------------------------------------------------------------------------- Pascal VOC


def annotation(*rows):
    """The XML of boxes (name, x0, y0, x1, y1)."""
    tags = ("xmin", "ymin", "xmax", "ymax")
    inside = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{t}>{v}</{t}>" for t, v in zip(tags, corners, strict=True))
        + "</bndbox></object>"
        for name, *corners in rows
    )
    return f"<annotation><size><width>0</width></size>{inside}</annotation>"


def files(sizes):
    """NAME -> content of small splits, whose pictures are JPEGs of 40 x 32 pixels."""
    made = {}
    for split, count in sizes.items():
        ids = [f"{split}_{n}" for n in range(count)]
        made[f"ImageSets/Main/{split}.txt"] = "\n".join([*ids, ""]).encode()
        for n, id_ in enumerate(ids):
            buffer = io.BytesIO()
            pixels = RNG.integers(0, 255, (32, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
            made[f"JPEGImages/{id_}.jpg"] = buffer.getvalue()
            rows = [("RBC", 4, 8, 20, 24), ("WBC", 0, 0, 40, 32)][: n % 3]
            made[f"Annotations/{id_}.xml"] = annotation(*rows).encode()
    return made


def write(folder, made):
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path, made):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in made.items():
            archive.writestr(f"BCCD/{name}", content)
    return path


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small BCCD, which is taken for the official one."""
    made = files({"train": 7, "test": 4, "val": 5})
    monkeypatch.setattr(bccd, "SUM", bccd._sum(write(tmp_path / "plain" / "BCCD", made)))
    monkeypatch.setattr(bccd, "SIZE", (16, 20))
    return made


def test_a_zip_and_a_folder_are_the_same(small, tmp_path):
    plain = data.load("bccd", tmp_path / "plain")
    (tmp_path / "packed" / "bccd").mkdir(parents=True)
    zipped(tmp_path / "packed" / "bccd" / "bccd.zip", small)
    packed = data.load("bccd", tmp_path / "packed")
    assert plain.fingerprint() == packed.fingerprint()
    assert [len(split) for split in packed.splits] == [7, 4, 5]
    assert packed.input_shape == (16, 20, 4)
    assert packed.train.labels[2].tolist() == [[0, 2, 4, 10, 12], [1, 0, 0, 20, 16]]  # at half size
    assert (packed.train.labels[0] == -1).all()
    assert packed.task.density == pytest.approx(sum(n % 3 for n in range(7)) / 7)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("JPEGImages/val_0.jpg", b"no picture", "does not hold the official files of bccd"),
        ("JPEGImages/val_0.jpg", None, "val_0.jpg cannot be read"),
        ("ImageSets/Main/val.txt", b"", "val.txt names no picture"),
        ("ImageSets/Main/val.txt", b"../../secret", "which is no file of JPEGImages"),
        ("ImageSets/Main/val.txt", b"\xff\xfe", "val.txt is no text in UTF-8"),
        ("ImageSets/Main/val.txt", None, "val.txt cannot be read"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "folder"])
def test_files_that_are_missing_or_others(small, tmp_path, name, content, message, form):
    changed = small | {name: content}
    changed = {n: c for n, c in changed.items() if c is not None}
    (tmp_path / "bccd").mkdir()
    if form == "zip":
        zipped(tmp_path / "bccd" / "bccd.zip", changed)
    else:
        write(tmp_path / "bccd" / "BCCD", changed)
    with pytest.raises(DataError, match=message):
        data.load("bccd", tmp_path)


@pytest.mark.parametrize("damage", [lambda c: c[:300], lambda c: b"", lambda c: c[: len(c) // 2]])
def test_a_zip_that_was_cut(small, tmp_path, damage):
    path = zipped(tmp_path / "bccd.zip", small)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"bccd\.zip cannot be read"):
        data.load("bccd", tmp_path)
    with pytest.raises(DataError, match=r"lacks bccd\.zip, and a folder BCCD; get the folder"):
        data.load("bccd", tmp_path / "elsewhere")


ENTITIES = '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (annotation(("cell", 1, 1, 5, 1)), r"FILE: box 1, \(1, 1, 5, 1\), has no size"),
        (annotation(("cell", 1, 1, 5, 9), ("dust", 5, 1, 1, 9)), "FILE: box 2, .* has no size"),
        (annotation(("cell", 1, 1, 41, 9)), "FILE: box 1, .*is not inside the picture of 40 x 32"),
        (annotation(("cell", -1, 1, 4, 9)), "is not inside the picture"),
        (annotation(("cell", 1, 1, "nan", 9)), "is not inside the picture"),
        (annotation(("cell", 1, 1, "inf", 9)), "is not inside the picture"),
        (annotation(("dog", 1, 1, 4, 9)), "FILE: a box is of 'dog'; the classes are cell, dust"),
        (annotation(("cell", 1, 1, "four", 9)), "FILE: xmax of a box of cell is 'four', no number"),
        (annotation(("cell", 1, 1, "", 9)), "xmax of a box of cell is '', no number"),
        ("<annotation><object/></annotation>", "FILE: a box is of ''"),
        ("<annotation><object><name>cell</name></object></annotation>", "xmin of a box of cell is"),
        ("<annotation>", "FILE is no XML"),
        ("", "FILE is no XML"),
        (ENTITIES, "FILE defines entities"),
    ],
)
def test_damaged_annotations(text, message):
    with pytest.raises(DataError, match=message) as caught:
        voc.parse(text, "FILE", CLASSES, (32, 40))
    assert "\n" not in str(caught.value)


def test_boxes_without_a_size_are_left_out_where_that_is_asked():
    text = annotation(("cell", 1, 1, 5, 1), ("dust", 1, 2, 3, 4))
    assert voc.parse(text, "FILE", CLASSES, (32, 40), drop=True).tolist() == [[1, 1, 2, 3, 4]]
    assert voc.parse(annotation(), "FILE", CLASSES, (32, 40)).shape == (0, 5)


def test_a_picture_of_voc_that_is_none(tmp_path):
    made = files({"train": 1}) | {"JPEGImages/train_0.jpg": b"no picture"}
    with pytest.raises(DataError, match=r"train_0.jpg is no picture"):
        voc.read_split(write(tmp_path, made), "train", CLASSES, (16, 20))
