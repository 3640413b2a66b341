"""Networks and datasets so small that a whole search takes a tenth of a second."""

import contextlib

import numpy as np
from blobs import blobs

from quatgrad import models
from quatgrad.lth import Ticket, full_masks
from quatgrad.lth.search.protocol import Protocol
from quatgrad.lth.search.search import Search
from quatgrad.option_fields import build
from quatgrad.train import Recipe

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05, weight_decay=1e-3)


def dataset():
    """Blobs with more noise: a curve that falls as the network shrinks."""
    return blobs(noise=60)


def network(algebra="quaternion", name="resnet8", width=8, seed=0):
    return models.create(name, algebra, 3, 4, width, image_size=(4, 4), seed=seed)


def lenet(algebra="quaternion", seed=0):
    return network(algebra, "lenet-300-100", 12, seed)


def dense_ticket(model):
    return Ticket(full_masks(dict(model.weight_parameters())), model.state_dict())


def random_masks(model, keep=0.5, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.random(w.shape) < keep for name, w in model.weight_parameters()}


def run(directory, levels=2, algebra="quaternion", seed=0, **options):
    """A search of LeNet on blobs: its records and the network that came out."""
    model = options.pop("model", None) or lenet(algebra, seed)
    recipe = options.pop("recipe", RECIPE)
    how = {"keep": 0.6, "stop_accuracy": 0.0} | options
    others = {"progress": False}
    names = ("label", "report", "progress", "control", "stages", "what")
    others |= {k: how.pop(k) for k in names if k in how}
    search = search_of(directory, levels, model, seed, how, recipe, **others)
    return search.run(), model


def search_of(directory, levels, model, seed=0, how=None, recipe=RECIPE, **others):
    choices = {"levels": levels, "keep": 0.6, "stop_accuracy": 0.0} | (how or {})
    protocol = build(Protocol, choices)
    others.setdefault("what", {"network": "tiny"})
    return Search(model, dataset(), recipe, directory, protocol, seed, **others)


def timeless(records):
    """Records, as they stand in files, without what may differ between two runs of the same."""
    plain = [{k: v for k, v in r.plain().items() if k != "seconds"} for r in records]
    for r in plain:
        r["epochs"] = [{k: v for k, v in e.items() if k != "seconds"} for e in r["epochs"]]
    return plain


def files_of(directory):
    """What a search left: its levels without times, and the digests of their arrays by name."""
    from quatgrad.lth.store import files
    from quatgrad.lth.store.stage import read_records

    records = read_records(directory)
    return {"records": timeless(records)} | {
        f"{level}/{p.name}": files.digest(files.read_arrays(p))
        for level in range(len(records))
        for p in sorted(files.level_path(directory, level).glob("*.npz"))
    }


def end_of(directory, level):
    """The file with what a level ended with."""
    from quatgrad.lth.store import files

    return files.level_path(directory, level) / "end.npz"


@contextlib.contextmanager
def unchanged(arrays):
    """The arrays (by name) hold the same bits after the block as before."""
    before = {k: np.asarray(a).tobytes() for k, a in arrays.items()}
    yield
    for k, a in arrays.items():
        assert np.asarray(a).tobytes() == before[k], f"{k} was changed"
