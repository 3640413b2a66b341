"""Records of levels that nobody trained."""

import itertools

from quatgrad.lth.store.records import CostsRecord, Record
from quatgrad.train import Epoch

DIGEST, NUMBERS = "0" * 64, itertools.count()


def record(level, left, total, accuracy, **more):
    """The record of a level that ended with that accuracy."""
    costs = CostsRecord(
        weights=left,
        parameters=left + 100,
        multiply_adds=7 * left,
        activation_bytes=0,
        bytes=4 * left + 50,
    )
    known = {
        "level": level,
        "weights_left": left,
        "weights_total": total,
        "accuracy": accuracy,
        "costs": costs,
        "epochs": [Epoch(1.0, 0.5, 1.0, accuracy, 0.0)],
        "components": {} if level == 0 else None,
        "statistics": [] if level == 0 else None,
    }
    trained = f"{next(NUMBERS):064x}"  # no two are one network
    digests = {"ticket": DIGEST, "trained": trained, "end": DIGEST}
    others = {"loss": 1.0, "train_loss": 1.0, "train_accuracy": 0.5, "seconds": 0.0}
    where = {"backend": "numpy", "precision": "float32", "version": "0"}
    return Record(**(digests | others | where | {"made_from": {}, "checks": []} | known | more))


def records(total, *levels):
    """Of (weights left, accuracy)."""
    return [record(i, left, total, accuracy) for i, (left, accuracy) in enumerate(levels)]
