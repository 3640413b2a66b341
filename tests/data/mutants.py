"""Mutants of the files of every dataset, and hostile pickles in their place: data, or one line?

    python tests/data/mutants.py cifar10 --count 2000        2,000 mutants of its files
    python tests/data/mutants.py hostile --count 500         500 hostile pickles

Prints a line of JSON: how many were refused and read, the longest message, the slowest case and the
peak memory of the process, which tried all of them. A mutant is wrong if it is neither refused with
`DataError` nor read as the data it was made of; half of them are tried in a folder that was never
read, where no sum is remembered: these may be read as other data of the right form.
"""

import argparse
import json
import logging
import random
import re
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import hostile_pickles
import numpy as np
from PIL import Image

from quatgrad import data
from quatgrad.data import identity
from quatgrad.data.synthetic import make
from quatgrad.errors import DataError

#: format -> dataset, and the folder of the files that are changed
FORMATS = {
    "mnist": ("mnist", "mnist"),
    "mnist-gz": ("mnist", "mnist"),
    "cifar10": ("cifar10", "cifar-10-batches-py"),
    "cifar100": ("cifar100", "cifar-100-python"),
    "imagenet64": ("imagenet64", "imagenet64"),
    "converted": ("imagenet64", "imagenet64/imagenet64-converted"),
    "npz": ("own.npz", "."),
    "npz-packed": ("own.npz", "."),
    "png": ("pics/", "pics"),
    "jpg": ("pics/", "pics"),
    "tiff": ("pics/", "pics"),
    "gif": ("pics/", "pics"),
}
EXTREMES = [b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00" * 8]


def mutate(raw: bytes, rng: random.Random) -> bytes:
    """One to four changes: of bits, bytes, pieces, lengths; near the beginning or anywhere."""
    raw = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        size = max(1, len(raw) if rng.random() < 0.5 else min(len(raw), 400))
        place, length = rng.randrange(size), rng.choice([1, 1, 2, 4, 16, 300])
        if rng.random() < 0.2:
            place = max(0, len(raw) - place)
        piece = bytes(raw[place : place + length])
        other = rng.randrange(size)
        match rng.randrange(8):
            case 0 if piece:
                raw[place] ^= 1 << rng.randrange(8)
            case 1:
                raw[place : place + length] = rng.randbytes(len(piece))
            case 2:
                del raw[place : place + length]
            case 3:
                raw[place:place] = piece * rng.choice([1, 2, 1000])
            case 4:
                raw[place : place + 4] = rng.choice(EXTREMES)
            case 5:
                del raw[place:]
            case 6:
                raw[other : other + length] = piece
            case _:
                raw[place:place] = rng.randbytes(length)
    return bytes(raw)


def everything(name, root):
    """A sum over all that a network would see of the dataset."""
    dataset = data.load(name, root) if name in data.DATASETS else data.load(root / name)
    pixels = [split.images[:].tobytes() + split.labels.tobytes() for split in dataset.splits]
    return hash((dataset.class_names, *pixels))


class Trial:
    """Numbers of a series of files that are tried."""

    def __init__(self):
        self.numbers = {"refused": 0, "read": 0, "wrong": [], "message": 0, "seconds": 0.0}

    def run(self, case, name, root, right):
        """Load the dataset; `right` is the sum of what must come, or None for any."""
        start = time.process_time()
        try:
            came = everything(name, root)
            outcome, length = "read", 0
            if right not in (None, came):
                self.numbers["wrong"].append(f"{case}: read as other data")
        except DataError as error:
            outcome, length = "refused", len(str(error).replace(str(root), ""))
            if "\n" in str(error):
                self.numbers["wrong"].append(f"{case}: several lines")
        except Exception as error:
            outcome, length = "refused", 0
            self.numbers["wrong"].append(f"{case}: {type(error).__name__} {str(error)[:200]}")
        self.numbers[outcome] += 1
        self.numbers["message"] = max(self.numbers["message"], length)
        self.numbers["seconds"] = max(self.numbers["seconds"], time.process_time() - start)


def make_own(format, path):
    """Data of one's own in a format: its files."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    if path.suffix == ".npz":
        save = np.savez_compressed if format == "npz-packed" else np.savez
        save(path, X=images, y=np.array(["a", "b"])[np.arange(40) % 2])
        return [path]
    files = []
    for k, image in enumerate(images):
        file = path / f"class {k % 2}" / f"{k}.{format}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        files.append(file)
    return files


def prepare(format, root):
    """A small dataset of a format: its files to change, and the sum of what it holds."""
    name, folder = FORMATS[format]
    if name not in data.DATASETS:
        return name, make_own(format, root / name), None
    make(name, root, 40, 10)
    if format == "mnist-gz":
        import gzip

        for path in (root / folder).iterdir():
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()
    if format in ("converted", "mnist", "mnist-gz", "cifar10", "cifar100"):
        right = everything(name, root)
    else:
        right = None
    files = [p for p in sorted((root / folder).iterdir()) if p.is_file()]
    return name, [p for p in files if p.name != identity.RECORD], right


def try_mutants(format, count, seed, root, trial):
    """`count` mutants of the files of a format."""
    name, files, right = prepare(format, root)
    record = files[0].parent / identity.RECORD
    remembered = record.read_bytes() if record.exists() else None
    for k in range(count):
        rng = random.Random(f"{format} {seed} {k}")
        path = rng.choice(files)
        whole = path.read_bytes()
        path.write_bytes(mutate(whole, rng))
        if k % 2 and remembered:
            record.unlink()
        trial.run(f"{format} {seed} {k} {path.name}", name, root, None if k % 2 else right)
        path.write_bytes(whole)
        if remembered:
            record.write_bytes(remembered)
        if format == "imagenet64":
            for converted in (path.parent / "imagenet64-converted").glob("*"):
                converted.unlink()
            if (path.parent / "imagenet64-converted").exists():
                (path.parent / "imagenet64-converted").rmdir()


def try_hostile(count, seed, root, trial):
    """`count` hostile pickles in the place of files of CIFAR and ImageNet64."""
    places = []
    for format, row, key in (("cifar10", 3072, b"labels"), ("imagenet64", 12288, b"labels")):
        name, files, _ = prepare(format, root)
        places += [(name, path, row, key) for path in files]
    for k in range(count):
        rng = random.Random(f"hostile {seed} {k}")
        name, path, row, key = rng.choice(places)
        fixed = list(hostile_pickles.cases(row, key).values())
        raw = fixed[k] if k < len(fixed) else hostile_pickles.hostile(f"{seed} {k}", row, key)
        whole = path.read_bytes()
        path.write_bytes(raw)
        trial.run(f"hostile {seed} {k} {path.name}", name, root, None)
        path.write_bytes(whole)
        for leftover in (
            path.parent / identity.RECORD,
            *(path.parent / "imagenet64-converted").glob("*"),
        ):
            leftover.unlink(missing_ok=True)
        if (path.parent / "imagenet64-converted").exists():
            (path.parent / "imagenet64-converted").rmdir()


def peak_mb():
    """Peak memory of this process in MB; a child's `ru_maxrss` begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=[*FORMATS, "hostile"])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    logging.getLogger("quatgrad").setLevel(logging.ERROR)
    warnings.simplefilter("error")
    trial = Trial()
    with tempfile.TemporaryDirectory() as root:
        if options.format == "hostile":
            try_hostile(options.count, options.seed, Path(root), trial)
        else:
            try_mutants(options.format, options.count, options.seed, Path(root), trial)
    print(json.dumps(trial.numbers | {"peak_mb": peak_mb()}))
    return bool(trial.numbers["wrong"])


if __name__ == "__main__":
    np.seterr(all="raise")
    sys.exit(main())
