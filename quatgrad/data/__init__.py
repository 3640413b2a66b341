"""Images, from a file to the batch a network trains on.

    dataset.py     Split and Dataset: what a dataset is; stratified subsets
    batches.py     the order of an epoch, and its batches
    on_device.py   the same on a GPU, with all images in its memory
    augment.py     pad, crop and flip
    encode.py      normalisation, and pixels -> quaternions
    digits.py      scikit-learn's 8x8 digits: no download
    turned.py      patterns of colours, turned by unknown rotations: made, no download
    spun.py        patterns of quaternions times an unknown one: made, no download
    mnist.py       MNIST, official IDX files
    cifar.py       CIFAR-10 and CIFAR-100, official Python files
    imagenet64.py  ImageNet at 64x64, official files ...
    convert.py     ... converted once to plain ones
    natops.py      gestures as series of points in space, official files
    text.py        texts, character by character
    sentences.py   sentences to classify, word by word
    speech.py      spoken digits as series of spectra
    broad.py       a sensor in motion, and its attitude; the official files ...
    mat.py         ... of MATLAB
    graph.py       citation graphs; the official files ...
    planetoid.py   ... by pickles.py
    bccd.py        blood cells with boxes: pictures and annotations in the form of ...
    voc.py         ... Pascal VOC
    discs.py       discs and squares with boxes: made, no download
    boxed.py       datasets of pictures with boxes, of your own too
    packed.py      ... whose official files are small, and packed perhaps
    pictures.py    one picture from a file: PNG, JPEG, ...
    own.py         datasets of one's own, from arrays ...
    own_files.py   ... and from a folder of pictures, an .npz file, ...
    identity.py    are the files what they are taken for?
    disk.py        images that stay on the disk
    pickles.py     reads pickles without running them
    fetch.py       the folder of the datasets, and downloads
    synthetic.py   small synthetic datasets in the official formats

From a name to batches of (x, y), x float32 (B, H, W, C) and y int64 (B,):

    dataset = load("digits")
    for x, y in batches(dataset, size=128, seed=21, epoch=0): ...
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from quatgrad.data import (
    bccd,
    broad,
    cifar,
    digits,
    discs,
    graph,
    imagenet64,
    mnist,
    natops,
    sentences,
    speech,
    spun,
    text,
    turned,
)
from quatgrad.data.batches import batch_sizes, batches, num_batches, test_batches
from quatgrad.data.boxed import from_boxes as from_boxes
from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import ENCODERS, STATISTICS
from quatgrad.data.own import from_arrays
from quatgrad.data.own_files import Size, from_folder
from quatgrad.errors import OptionError, brief, unknown
from quatgrad.random import generator

Directory = str | os.PathLike[str] | None

# name -> (its loader, its default encoder)
_GREY: dict[str, tuple[Callable[..., Dataset], str]] = {
    "digits": (lambda data_dir, encoder: digits.load(encoder), "blocks"),
    "mnist": (mnist.load, "consecutive"),
}
_COLOUR: dict[str, tuple[Callable[..., Dataset], str]] = {
    "cifar10": (partial(cifar.load, "cifar10"), "rgb_gray"),
    "cifar100": (partial(cifar.load, "cifar100"), "rgb_gray"),
    "imagenet64": (imagenet64.load, "rgb_gray"),
}
_MADE: dict[str, tuple[Callable[..., Dataset], str]] = {
    "turned": (lambda data_dir, encoder: turned.load(encoder), "zero_real"),
    # trained with turns of up to 45 degrees, tested with larger ones
    "turned-far": (lambda data_dir, encoder: turned.load(encoder, 45.0, 180.0), "zero_real"),
    "spun": (lambda data_dir, encoder: spun.load(encoder), "channels"),
    "spun-far": (lambda data_dir, encoder: spun.load(encoder, 45.0, 180.0), "channels"),
}
_SERIES: dict[str, tuple[Callable[..., Dataset], str]] = {"natops": (natops.load, "vectors")}
_BOXED: dict[str, tuple[Callable[..., Dataset], str]] = {
    "bccd": (bccd.load, "rgb_gray"),
    "discs": (lambda data_dir, encoder: discs.load(encoder), "rgb_gray"),
}


def _graph(data_dir: Directory, name: str, share: float | None = None) -> Dataset:
    found = graph.load(name, data_dir)
    if share:  # of the nodes in training; half of the rest each for validation and test
        found = graph.random_split(found, share, (1 - share) / 2, generator(0, "nodes"))
        found = replace(found, name=f"{name}-{share * 100:.0f}")
    return graph.as_dataset(found)


#: What is no image: it has no encoder.
_OTHERS: dict[str, Callable[[Directory], Dataset]] = {
    "citizens": lambda data_dir: text.as_dataset(text.load("citizens")),
    "shakespeare": lambda data_dir: text.as_dataset(text.load("tinyshakespeare", data_dir)),
    "sst2": lambda data_dir: sentences.load("sst2", data_dir),
    "trec": lambda data_dir: sentences.load("trec", data_dir),
    "fsdd": speech.load,
    "broad": broad.load,
    "fsdd-speakers": partial(speech.load, by_speaker=True),
    "cora": partial(_graph, name="cora"),
    "cora-80": partial(_graph, name="cora", share=0.8),
    "citeseer": partial(_graph, name="citeseer"),
}
_LOADERS = _GREY | _COLOUR | _MADE | _SERIES | _BOXED
DATASETS = (*_LOADERS, *_OTHERS)

#: name -> a dataset of `register`
_OWN: dict[str, Dataset] = {}


def register(dataset: Dataset) -> None:
    """Let `load` know a dataset of one's own by its name, with the encoding that it has.

    Raises `OptionError` for a name that the package has.
    """
    if dataset.name in DATASETS or not dataset.name.strip():
        raise OptionError(f"a dataset of one's own has a name of its own; got {dataset.name!r}")
    _OWN[dataset.name] = dataset


def is_like_path(name: str | os.PathLike[str]) -> bool:
    """Is it a path, and no name of a dataset: with / . ~ in it, or of something that is there?"""
    if not isinstance(name, str):
        return isinstance(name, os.PathLike)
    is_name = name in DATASETS or name in _OWN
    return not is_name and (any(c in name for c in f"/.~{os.sep}") or os.path.exists(name))


def load(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    encoder: str | None = None,
    subset: int | None = None,
    seed: int = 0,
    statistics: str | None = None,
    image_size: Size = None,
    test_share: float | None = None,
) -> Dataset:
    """The dataset `name`, whole or with `subset` training images.

    name        one of `DATASETS`, one of `register`, or a path of `from_folder`
    data_dir    the folder that holds mnist, cifar-100-python ...; None: see `fetch.data_root`.
                The digits and what is made need none.
    encoder     one of `ENCODERS`; None: blocks for the digits, consecutive for MNIST, rgb_gray for
                colour images, vectors for NATOPS
    subset      train on so many images, evenly over the classes, drawn by `seed`
    statistics  normalise colours by these, one of `STATISTICS`; None: by the dataset's own
    image_size, test_share  of a path, see `from_folder`

    Raises `OptionError` for an unknown name, an encoder or statistics that do not fit or an
    impossible subset; `DataError` for files that are missing or damaged.
    """
    is_path = is_like_path(name)
    if not is_path and (image_size is not None or test_share is not None):
        raise OptionError(f"`image_size` and `test_share` are for data of your own, not for {name}")
    if is_path:
        dataset = from_folder(name, image_size, test_share, encoder, statistics)
        return dataset if subset is None else dataset.subset(subset, seed)
    name = str(name)
    if name in _OWN:
        if encoder is not None or statistics is not None:
            raise OptionError(f"{name} is a dataset of your own, with an encoding of its own")
        return _OWN[name] if subset is None else _OWN[name].subset(subset, seed)
    if name not in DATASETS:
        known = unknown("dataset", name, [*DATASETS, *_OWN])
        raise OptionError(f"{known}; or a path, as ./{brief(name)}")
    dataset = _load(name, data_dir, encoder, statistics)
    return dataset if subset is None else dataset.subset(subset, seed)


def _load(name: str, data_dir: Directory, encoder: str | None, statistics: str | None) -> Dataset:
    """One of `DATASETS`, whole."""
    if name in _OTHERS:
        if encoder is not None or statistics is not None:
            raise OptionError(f"{name} is no image: leave out `encoder` and `statistics`")
        return _OTHERS[name](data_dir)
    loader, default = _LOADERS[name]
    options = {} if statistics is None else {"statistics": statistics}
    if options and name not in _COLOUR:
        raise OptionError(
            f"statistics {statistics!r} are for colour images, and {name} "
            f"{'is grey' if name in _GREY else 'has its own'}: leave them out, or choose one of "
            f"{', '.join(_COLOUR)}"
        )
    return loader(data_dir, default if encoder is None else encoder, **options)
