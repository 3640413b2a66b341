"""Data of one's own: arrays, lists, folders of pictures, .npz files, files in official forms."""

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cifar_files import make_files
from PIL import Image

from quatgrad import data
from quatgrad.data import cifar, on_device, own
from quatgrad.data.encode import channels
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError, OptionError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3


# -------------------------------------------------------------------------------------- arrays


def test_colours_are_seen_normalised_by_the_training_images(notices):
    dataset = data.from_arrays(COLOUR, LABELS, name="pets")
    assert (len(dataset.train), len(dataset.test)) == (24, 6)
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    x = dataset.encode(dataset.train.images)
    assert (x.shape, x.dtype) == ((24, 8, 8, 4), np.float32)
    assert np.allclose(x[..., :3].mean((0, 1, 2)), 0, atol=1e-5)
    assert np.allclose(x[..., :3].std((0, 1, 2)), 1, atol=1e-5)
    assert "pets: encoder rgb_gray: the three colours of a pixel" in notices()
    both = np.concatenate([dataset.train.images, dataset.test.images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, COLOUR))


def test_the_split_is_drawn_by_its_seed():
    a, b, c = (data.from_arrays(COLOUR, LABELS, seed=seed) for seed in (0, 0, 1))
    assert a.fingerprint() == b.fingerprint() != c.fingerprint()
    assert len(data.from_arrays(COLOUR, LABELS, test_share=0.5).test) == 15


def test_small_classes_keep_their_share():
    labels = np.array([0] * 100 + [1] * 5)
    dataset = data.from_arrays(RNG.normal(size=(105, 4)), labels, test_share=0.2)
    assert np.bincount(dataset.test.labels).tolist() == [20, 1]


def test_whole_numbers_that_fit_bytes_in_one_part_alone_are_floats_in_both():
    X = RNG.integers(0, 256, (30, 12, 4))
    dataset = data.from_arrays(X - 1, LABELS, X, LABELS, kind="series")
    assert dataset.train.images.dtype == dataset.test.images.dtype == np.float32
    bytes_alone = data.from_arrays(X, LABELS, X, LABELS, kind="series")
    assert bytes_alone.train.images.dtype == np.uint8


@pytest.mark.parametrize(
    ("shape", "kind", "encoder", "seen"),
    [
        ((8, 8), None, "blocks", (4, 4, 4)),
        ((7, 8), None, "consecutive", (7, 2, 4)),
        ((7, 5), None, "channels", (7, 5, 4)),
        ((8, 8, 1), None, "blocks", (4, 4, 4)),
        ((5, 5, 3), None, "rgb_gray", (5, 5, 4)),
        ((5, 5, 4), None, "channels", (5, 5, 4)),
        ((5, 5, 6), "images", "channels", (5, 5, 8)),
        ((20,), "series", "consecutive", (1, 5, 4)),
        ((21,), "series", "channels", (1, 21, 4)),
        ((20, 3), "series", "zero_real", (20, 1, 4)),
        ((20, 4), "series", "channels", (20, 1, 4)),
        ((20, 6), "series", "channels", (20, 1, 8)),
        ((13,), None, "channels", (1, 1, 16)),
        ((13,), "table", "channels", (1, 1, 16)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, np.int64])
def test_every_kind(shape, kind, encoder, seen, dtype):
    X = RNG.integers(0, 200, (30, *shape)).astype(dtype)
    dataset = data.from_arrays(X, LABELS, kind=kind)
    assert dataset.encode.encoder == encoder
    assert dataset.input_shape == seen
    x, y = next(data.batches(dataset, 8, seed=0, epoch=0))
    assert (x.dtype, x.shape, y.dtype) == (np.float32, (8, *seen), np.int64)
    same = data.from_arrays(X.astype(np.float32), LABELS, kind=kind)
    assert np.allclose(
        dataset.encode(dataset.test.images), same.encode(same.test.images), atol=1e-4
    )


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog", "eel"], np.array(["cat", "dog", "eel"]), np.array(["c", "d", "e"], object),
        [3, 7, 900], np.array([-1, 0, 1], np.int8), np.array([1, 2, 2**63], np.uint64) // 2,
        np.array([b"a", b"b", b"c"]), ["ä ö", "日本", "x y"], [np.int64(4), 5, np.uint8(6)],
    ],
)  # fmt: skip
def test_every_kind_of_label(labels):
    y = [labels[k % 3] for k in range(30)]
    dataset = data.from_arrays(COLOUR, y if isinstance(labels, list) else np.array(y, labels.dtype))
    assert np.bincount(dataset.train.labels).tolist() == [8, 8, 8]
    plain = [x.decode() if isinstance(x, bytes) else x for x in labels]
    assert dataset.class_names == tuple(str(x) for x in sorted(plain))


def test_lists_and_columns_of_labels():
    a = data.from_arrays(COLOUR.tolist(), LABELS.tolist())
    assert a.fingerprint() == data.from_arrays(COLOUR, LABELS[:, None]).fingerprint()
    assert a.train.images.dtype == np.uint8
    assert data.from_arrays(list(COLOUR), list(LABELS)).fingerprint() == a.fingerprint()


def test_a_constant_channel_and_named_statistics():
    X = COLOUR.copy()
    X[..., 1] = 7
    x = data.from_arrays(X, LABELS, encoder="rgb").encode(X)
    assert np.array_equal(x[..., 1], np.zeros((30, 8, 8)))
    x = data.from_arrays(COLOUR, LABELS, encoder="rgb", statistics="none").encode(COLOUR)
    assert np.allclose(x, COLOUR / 255, atol=1e-6)


def test_moments_of_large_images_are_those_of_their_pixels(monkeypatch):
    images = RNG.integers(0, 256, (7, 5, 4, 3), np.uint8)
    monkeypatch.setattr(own, "NUMBERS", 100)  # one image in a piece
    mean, std = own.moments(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)))
    np.testing.assert_allclose(std, images.std((0, 1, 2)))


def test_numbers_that_float32_cannot_tell_apart_are_noticed(notices):
    table = RNG.normal(size=(30, 2))
    data.from_arrays(table, LABELS)
    assert "subtract" not in notices()
    table[:, 1] = 1_700_000_000 + np.arange(30)
    data.from_arrays(table, LABELS)
    assert "`X`[:, 1] has large numbers that differ by little" in notices()


def test_test_images_of_ones_own(notices):
    dataset = data.from_arrays(COLOUR[:20], LABELS[:20], COLOUR[18:], LABELS[18:], name="pets")
    assert (len(dataset.train), len(dataset.test)) == (20, 12)
    assert "pets: 2 of the 12 test images are training images, too" in notices()


def test_channels_are_quaternions_of_four_in_a_row():
    x = RNG.normal(size=(2, 3, 5, 6)).astype(np.float32)
    q = channels(x)
    assert q.shape == (2, 3, 5, 8)
    for c in range(6):
        assert np.array_equal(q[..., c % 4 * 2 + c // 4], x[..., c])
    assert not q[..., [5, 7]].any()
    assert np.array_equal(channels(x[..., :4]), x[..., :4])


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (5, 5, 3), (5, 5, 4), (5, 5, 7)])
def test_a_gpu_encodes_the_same(shape):
    """The matrix that its kernel multiplies with, and what is left to do after it."""
    X = RNG.integers(0, 256, (30, *shape), dtype=np.uint8)
    dataset = data.from_arrays(X, LABELS)
    images = dataset.train.images
    mean, std, matrix, finish = on_device._split_encoding(images.shape[3], dataset.encode)
    x = finish(((images - mean) / std) @ matrix)
    assert np.allclose(x, dataset.encode(images), atol=1e-5)


NAN = np.full((30, 4), 1.0)
NAN[3, 2] = np.nan


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ((COLOUR, LABELS[:29]), "`X` has 30 images and `y` 29 labels"),
        ((COLOUR, np.zeros(30, int)), "all images are of class 0: there is nothing to learn"),
        ((COLOUR, [*range(29), 0]), "class 1 has 1 images, of which 1 would be for testing"),
        ((COLOUR[:1], [0]), "class 0 has 1 images"),
        ((COLOUR[:0], []), "there is nothing in it"),
        ((NAN, LABELS), "`X`[3, 2] is nan"),
        ((NAN * 0 + 1e300, LABELS), "`X`[0, 0] is 1e+300"),
        ((COLOUR.transpose(0, 3, 1, 2), LABELS), "X.transpose(0, 2, 3, 1)"),
        ((COLOUR[0, 0, 0], LABELS), "has shape (3,), and images are"),
        ((COLOUR[None], LABELS), "has shape (1, 30, 8, 8, 3)"),
        (([np.zeros((4, 4)), np.zeros((4, 5))], [0, 1]), "`X`[0] has shape (4, 4) and `X`[1]"),
        ((["a", "b"], [0, 1]), "`X` holds <U1; it must hold numbers"),
        (([None, None], [0, 1]), "`X` holds object"),
        ((COLOUR, LABELS * 1.0), "`y` holds float64; labels are whole numbers or texts"),
        ((COLOUR, np.eye(3)[LABELS]), "argmax(axis=1)"),
        ((COLOUR, np.array([b"caf\xe9", b"a"] * 15)), "`y` has bytes that are no UTF-8"),
        ((COLOUR, [[1], [1, 2]] * 15), "`y` is no array"),
        ((COLOUR, ["a", 1] * 15), "`y` mixes texts with other things"),
        ((COLOUR, [None, "a"] * 15), "`y` mixes texts"),
        ((COLOUR, np.array([0, 1, 2**64 - 1] * 10, np.uint64)), "too large for a label"),
        ((COLOUR * 1j, LABELS), "it must hold numbers"),
        ((5, LABELS), "`X` is one number"),
        (([], []), "has shape (0,)"),
        ((COLOUR, LABELS, COLOUR[:, :4], LABELS), "make them alike"),
        ((COLOUR, LABELS, COLOUR / 255, LABELS), "make them alike"),
        ((COLOUR, LABELS, COLOUR, LABELS + 1), "3 occurs as a class of test images"),
        ((COLOUR, LABELS, COLOUR, ["a"] * 30), "of two kinds"),
    ],
)
def test_what_cannot_be_trained_on(given, word):
    with pytest.raises(DataError) as caught:
        data.from_arrays(*given)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"test_share": 0.0}, "more than 0 and less than 1"),
        ({"test_share": 1.5}, "more than 0 and less than 1"),
        ({"kind": "image"}, "did you mean 'images'?"),
        ({"encoder": "blocks"}, "does not fit"),
        ({"encoder": "rbg"}, "did you mean"),
        ({"statistics": "cifar"}, "unknown statistics"),
        ({"X_test": COLOUR}, "belong together"),
        ({"X_test": COLOUR, "y_test": LABELS, "test_share": 0.1}, "for data without test images"),
    ],
)
def test_impossible_options(options, word):
    with pytest.raises(OptionError, match=word.replace("?", r"\?")):
        data.from_arrays(COLOUR, LABELS, **options)


# ------------------------------------------------------------------------------------ pictures


def make_pictures(root, sizes=((8, 8),), classes=("a b", "grün", "c"), n=10, mode="RGB", end="png"):
    for k, label in enumerate(classes):
        (root / label).mkdir(parents=True)
        for i in range(n):
            H, W = sizes[i % len(sizes)]
            pixels = RNG.integers(0, 100, (H, W, 3), dtype=np.uint8)
            pixels[..., k % 3] += 100
            Image.fromarray(pixels).convert(mode).save(root / label / f"{i}.{end}")
    return root


def test_a_folder_for_each_class(tmp_path):
    dataset = data.from_folder(make_pictures(tmp_path / "pics"))
    assert dataset.name == "pics"
    assert dataset.class_names == ("a b", "c", "grün")
    assert (len(dataset.train), len(dataset.test), dataset.input_shape) == (24, 6, (8, 8, 4))
    for image, label in zip(dataset.train.images, dataset.train.labels, strict=True):
        assert image.mean((0, 1)).argmax() == [0, 2, 1][label]
    again = data.load(str(tmp_path / "pics"))
    assert again.fingerprint() == dataset.fingerprint()
    assert len(data.load(str(tmp_path / "pics"), subset=6).train) == 6


def test_train_and_test(tmp_path, notices):
    make_pictures(tmp_path / "train")
    make_pictures(tmp_path / "test", classes=("c", "grün"), n=2)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "val").mkdir()
    dataset = data.load(str(tmp_path))
    assert notices().count("is not read") == 1
    assert "val is not read: only train and test are" in notices()
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (30, 4, 3)
    assert sorted(dataset.test.labels) == [1, 1, 2, 2]
    with pytest.raises(OptionError, match="for data without test images"):
        data.load(str(tmp_path), test_share=0.5)
    make_pictures(tmp_path / "test", classes=("new",), n=1)
    with pytest.raises(DataError, match="new occurs as a class of test images"):
        data.load(str(tmp_path))


def test_grey_and_colour_and_what_is_transparent(tmp_path, notices):
    dataset = data.from_folder(make_pictures(tmp_path / "grey", mode="L"))
    assert dataset.train.images.shape[1:] == (8, 8, 1)
    assert dataset.input_shape == (4, 4, 4)
    make_pictures(tmp_path / "mixed", classes=("a",), mode="L", n=4)
    make_pictures(tmp_path / "mixed", classes=("b", "c"), n=4, mode="RGBA")
    path = tmp_path / "mixed" / "b" / "0.png"
    image = Image.open(path)
    image.putalpha(0)
    image.save(path)
    dataset = data.from_folder(tmp_path / "mixed")
    assert dataset.train.images.shape[1:] == (8, 8, 3)
    assert "4 of 12 pictures are grey, the others in colour" in notices()
    assert "1 of 12 pictures are transparent: laid over white" in notices()


def test_other_sizes_are_refused_or_resized(tmp_path):
    root = make_pictures(tmp_path / "pics", sizes=((8, 8), (6, 9)), end="jpg")
    with pytest.raises(DataError) as caught:
        data.load(str(root))
    first, second = root / "a b" / "0.jpg", root / "a b" / "1.jpg"
    assert f"{first} has 8x8 pixels (height x width) and {second} has 6x9" in str(caught.value)
    assert "image_size" in str(caught.value)
    assert data.load(str(root), image_size=12).input_shape == (12, 12, 4)
    assert data.from_folder(root, image_size=(6, 12)).input_shape == (6, 12, 4)


def bad(tmp_path, change, *words):
    root = make_pictures(tmp_path / "pics")
    change(root)
    with pytest.raises(DataError) as caught:
        data.load(str(root))
    for word in (*words, str(root)):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def bomb(path):
    """A PNG that says it has 30,000 x 30,000 pixels."""
    import struct
    import zlib

    def chunk(kind, content):
        return (struct.pack(">I", len(content)) + kind + content
                + struct.pack(">I", zlib.crc32(kind + content)))  # fmt: skip

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + content)


def test_pictures_that_are_none(tmp_path):
    bad(tmp_path / "1", lambda r: (r / "c" / "3.png").write_text("hello"), "3.png is no picture")
    bad(tmp_path / "2", lambda r: (r / "c" / "3.png").write_bytes(b""), "3.png is no picture")
    whole = (tmp_path / "2" / "pics" / "c" / "1.png").read_bytes()
    bad(tmp_path / "3", lambda r: (r / "c" / "3.png").write_bytes(whole[:80]), "3.png")
    bad(tmp_path / "4", lambda r: (r / "empty").mkdir(), "empty holds no pictures")
    bad(tmp_path / "5", lambda r: (r / "c" / "inner").mkdir(), "inner is a folder in the folder")
    bad(
        tmp_path / "6", lambda r: (r / "c" / "0.png").rename(r / "0.png"), "in no folder of a class"
    )
    bad(tmp_path / "7", lambda r: bomb(r / "c" / "3.png"), "3.png", "make it smaller, or remove it")
    bad(tmp_path / "8", lambda r: [p.unlink() for p in (r / "c").iterdir() if p.name != "0.png"],
        "class c has 1 images")  # fmt: skip


def test_more_names_that_cannot_be(tmp_path):
    bad(tmp_path / "1", lambda r: (r / "c" / "x.png").symlink_to("nowhere"), "x.png is no file")
    bad(tmp_path / "2", lambda r: os.mkfifo(r / "c" / "x.png"), "x.png is no file")
    bad(tmp_path / "3", lambda r: os.mkdir(os.fsencode(r) + b"/\xff"), "cannot be printed")
    bad(tmp_path / "4", lambda r: (r / "a\nb").mkdir(), "cannot be printed")
    bad(tmp_path / "5", lambda r: make_pictures(r / "train"), "has train and a b: call the folder")


def test_the_same_name_written_in_two_ways(tmp_path):
    make_pictures(tmp_path / "train", classes=("gr\u00fcn", "b"))
    make_pictures(tmp_path / "test", classes=("gru\u0308n", "b"))
    assert data.load(tmp_path).class_names == ("b", "gr\u00fcn")
    assert len(data.load(tmp_path / "train").test) == 4


def test_train_alone_is_split(tmp_path):
    make_pictures(tmp_path / "train")
    assert (len(data.load(tmp_path).train), len(data.load(tmp_path).test)) == (24, 6)


@pytest.mark.parametrize("size", [0, -1, 5000, 1.5, (8,), (8, 0), "8", True + 0.5])
def test_impossible_sizes(tmp_path, size):
    make_pictures(tmp_path / "pics")
    with pytest.raises(OptionError, match="`image_size` is one number or two"):
        data.load(tmp_path / "pics", image_size=size)


def test_a_folder_with_nothing_or_one_class(tmp_path):
    with pytest.raises(DataError, match="holds no pictures: make a folder for each class"):
        data.load(str(tmp_path))
    make_pictures(tmp_path / "pics", classes=("one",))
    with pytest.raises(DataError, match="all images are of class one"):
        data.load(str(tmp_path / "pics"))


def test_files_that_are_no_pictures_are_noticed(tmp_path, notices):
    root = make_pictures(tmp_path / "pics")
    for name in (".DS_Store", "c/.hidden.png", "c/Thumbs.db", "c/list.csv"):
        (root / name).write_text("x")
    assert len(data.load(str(root)).train) == 24
    assert (
        f"1 files of {root} are no pictures by their names: {root / 'c' / 'list.csv'}" in notices()
    )


@pytest.mark.parametrize("path", ["./nowhere", "a/b.npz", "~nobody-of-this-name/x", "x" * 300 + "/",
                                  "a\0b/"])  # fmt: skip
def test_paths_that_are_not_there(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"the dataset .* cannot be read: "):
        data.load(path)


@pytest.mark.parametrize("name", [5, None, b"digits", ["digits"]])
def test_what_is_no_name(name):
    with pytest.raises(OptionError, match="unknown dataset"):
        data.load(name)


def test_names_are_no_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=r"did you mean 'digits'.*or a path, as ./digit"):
        data.load("digit")
    make_pictures(Path("digit"))
    assert data.load("digit").num_classes == 3
    with pytest.raises(OptionError, match="are for data of your own, not for digits"):
        data.load("digits", image_size=8)


# ----------------------------------------------------------------------------- .npz and others


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    X, y = COLOUR.astype(np.float32) / 255, np.array(["a", "b", "c"])[LABELS]
    save(tmp_path / "a.npz", X=X, y=y)
    dataset = data.load(str(tmp_path / "a.npz"))
    assert dataset.name == "a"
    assert dataset.fingerprint() == data.from_arrays(X, y).fingerprint()
    save(tmp_path / "b.npz", x_train=COLOUR, y_train=LABELS, x_test=COLOUR[:9], y_test=LABELS[:9])
    dataset = data.load(str(tmp_path / "b.npz"), image_size=6)
    assert (len(dataset.train), len(dataset.test), dataset.input_shape) == (30, 9, (6, 6, 4))
    save(tmp_path / "c.npz", X=np.asfortranarray(COLOUR), y=LABELS)
    assert np.array_equal(
        np.sort(data.load(str(tmp_path / "c.npz")).train.images.sum((1, 2, 3)))[-1:],
        np.sort(data.from_arrays(COLOUR, LABELS).train.images.sum((1, 2, 3)))[-1:],
    )


def test_npz_that_are_damaged_or_hostile(tmp_path):
    path = tmp_path / "a.npz"

    def refused(word):
        with pytest.raises(DataError) as caught:
            data.load(str(path))
        assert word in str(caught.value)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 400 + len(str(path))

    path.write_bytes(b"")
    refused("is damaged")
    np.savez(path, X=COLOUR)
    refused("not X and y")
    np.savez(path, X=np.array([{}, 1], dtype=object), y=[0, 1])
    refused("holds Python objects, which are not loaded")
    np.savez(path, X=COLOUR, y=LABELS)
    whole = path.read_bytes()
    for cut in (10, 1000, len(whole) - 30):
        path.write_bytes(whole[:cut])
        refused("is damaged")
    path.write_bytes(whole.replace(b"(30, 8, 8, 3)", b"(90, 8, 8, 3)"))
    refused("")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("X.npy", "w", force_zip64=True) as file:
            for _ in range(20):
                file.write(bytes(1 << 24))
        archive.writestr("y.npy", b"")
    refused("unpacks to 336 MB, as no data do")


def test_files_in_the_form_of_mnist(tmp_path):
    folder = make("mnist", tmp_path, 40, 20) / "mnist"
    for path in folder.iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    dataset = data.load(str(folder))
    named = data.load("mnist", tmp_path)
    assert np.array_equal(dataset.train.images, named.train.images)
    assert np.array_equal(dataset.train.labels, named.train.labels)
    file = str(folder / "train-images-idx3-ubyte.gz")
    assert data.load(file).fingerprint() == dataset.fingerprint()
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="lacks t10k-labels-idx1-ubyte: give all four"):
        data.load(str(folder))


def test_fashion_mnist_by_its_path(tmp_path, monkeypatch):
    """As many images as MNIST has, and others: refused by the name, read by the path."""
    folder = make("mnist", tmp_path, 40, 20) / "mnist"
    monkeypatch.setitem(data.mnist.FILES, "t10k-images-idx3-ubyte", (20, "0" * 32))
    with pytest.raises(DataError, match="Fashion-MNIST"):
        data.load("mnist", tmp_path)
    assert len(data.load(str(folder)).test) == 20


def test_files_in_the_form_of_cifar(name, layout, tmp_path):
    folder = make_files(tmp_path, layout)
    dataset = data.load(str(folder))
    named = data.load(name, tmp_path)
    assert np.array_equal(dataset.train.images, named.train.images)
    assert [dataset.class_names[k] for k in dataset.test.labels] == [
        named.class_names[k] for k in named.test.labels
    ]
    (folder / layout.meta).unlink()
    assert set(data.load(str(folder)).class_names) == set(map(str, range(layout.num_classes)))
    (folder / layout.test).write_bytes(b"hello")
    with pytest.raises(DataError) as caught:
        data.load(str(folder))
    assert "is damaged" in str(caught.value)
    assert cifar.LAYOUTS[name].url not in str(caught.value)
