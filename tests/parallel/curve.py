"""Fifty steps of a ResNet-8 on real images, alone or under mpirun: losses and bits, as JSON.

python curve.py FILE [sync] [SIZE]   SIZE: of a batch
"""

import json
import sys
from contextlib import closing

from quatgrad import data, models
from quatgrad.backend import set_backend
from quatgrad.errors import DataError
from quatgrad.lth.experiment.several import help_training
from quatgrad.parallel import start
from quatgrad.parallel.mpi import launched
from quatgrad.tensor_file import digest
from quatgrad.train import Recipe, train_steps

STEPS = 50


def curve(dataset, size):
    """The loss of every step, what each epoch measured, and the digest of the end."""
    shape, classes = dataset.input_shape, dataset.num_classes
    net = models.create("resnet8", "quaternion", classes, shape[2], 8, image_size=shape[:2], seed=0)
    recipe = Recipe(epochs=4, batch_size=size, lr=0.02, weight_decay=1e-4)
    losses, before = [], 0.0
    args = net, dataset, recipe, recipe.make_optimizer(net), (1, 2)
    with closing(train_steps(*args)) as steps:
        for state in steps:
            if not state.batch:
                before = 0.0
                continue
            losses.append(float(state.sums[0]) - before)
            before = float(state.sums[0])
            if len(losses) == STEPS:
                break
    last = state.history[-1]
    told = [last.train_loss, last.test_loss, last.train_accuracy, last.test_accuracy]
    return {"losses": losses, "epoch": told, "end": digest(net.state_dict())}


def main(file, *words):
    set_backend("numpy")
    size = int(words[-1]) if words and words[-1].isdigit() else 64
    try:
        dataset = data.load("cifar100", subset=1000)
    except DataError:
        dataset = data.load("digits")

    def work():
        with open(file, "w") as f:
            json.dump(curve(dataset, size), f)

    if not launched():
        return work()
    group = start.group("mpi", "sync" in words)
    start.lead(group, {"size": size}, lambda: [dataset], help_training, work)


if __name__ == "__main__":
    main(*sys.argv[1:])
