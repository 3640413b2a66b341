"""CIFAR files in their official layout, a handful of random images, for the tests to damage."""

import pickle

import numpy as np


def content(layout, n, seed):
    """What one official file holds: Python 2 strings are bytes in Python 3."""
    rng = np.random.default_rng(seed)
    return {
        b"data": rng.integers(0, 256, (n, 3072), dtype=np.uint8),
        layout.labels_key.encode(): [i % layout.num_classes for i in range(n)],
        b"filenames": [b"image_%d.png" % i for i in range(n)],
        b"batch_label": b"a batch",
    }


def write(path, what, protocol=2):
    path.write_bytes(pickle.dumps(what, protocol=protocol))


def make_files(root, layout):
    """Write a tiny dataset, two images of each class in a file, and return its folder."""
    folder = root / layout.folder
    folder.mkdir(parents=True)
    for seed, file in enumerate((*layout.train, layout.test)):
        write(folder / file, content(layout, 2 * layout.num_classes, seed))
    names = [b"class_%d" % i for i in range(layout.num_classes)]
    write(folder / layout.meta, {layout.names_key.encode(): names})
    return folder
