"""The helper that compiles the kernels of backward while the training compiles those of forward."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from quatgrad import compile_ahead, lth, models, use_backend
from quatgrad.kernels.numba_cpu.machine import disk_cache


@pytest.fixture
def started(monkeypatch):
    """Commands of helpers that a training would start on a new machine with two cores."""
    commands = []
    monkeypatch.setattr(compile_ahead, "_helpers", [])
    monkeypatch.setattr(disk_cache, "keeps_fewer_than", lambda number: True)
    monkeypatch.setattr("numba.get_num_threads", lambda: 2)
    processes = SimpleNamespace(Popen=lambda command, **how: commands.append(command), DEVNULL=0)
    monkeypatch.setattr(compile_ahead, "subprocess", processes)
    return commands


def network(name="lenet-12", **options):
    return models.create(name, "quaternion", 10, image_size=(4, 4), **options)


def test_the_first_run_starts_one_helper_for_its_first_network(started, tmp_path):
    small = {"model": "lenet-12", "algebra": "both", "levels": 0, "epochs": 1, "width": 12}
    lth.run(dataset="digits", **small, out=str(tmp_path))
    (command,) = started
    architecture, shape = json.loads(command[-1])
    assert shape == [compile_ahead.MOST, 4, 4, 4]
    again = models.create_again(architecture)
    assert again.num_parameters() == models.create("lenet-12", image_size=(4, 4)).num_parameters()


def test_no_helper_where_it_has_no_work(started, monkeypatch):
    compile_ahead.start(lambda: models.create("lenet-12").modules[1], (4, 4, 4), 8)  # a layer
    with use_backend("numpy"):
        compile_ahead.start(network, (4, 4, 4), 8)
    monkeypatch.setattr("numba.get_num_threads", lambda: 1)
    compile_ahead.start(network, (4, 4, 4), 8)
    monkeypatch.setattr("numba.get_num_threads", lambda: 2)
    monkeypatch.setattr(disk_cache, "keeps_fewer_than", lambda number: False)
    compile_ahead.start(network, (4, 4, 4), 8)
    assert not started


@pytest.mark.parametrize("name", ["resnet8", "conv-2", "lenet-12"])
def test_backward_of_each_operation_runs_and_the_weights_stay(name):
    net = network(name)
    before = [p.numpy().copy() for p in net.parameters()]
    compile_ahead.compile_backward(net, (3, 4, 4, 4))
    for p, was in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), was)


def test_the_helper_leaves_kernels_of_backward_on_the_disk_and_none_of_forward(tmp_path):
    architecture = {**models.create("lenet-12", image_size=(4, 4)).architecture}
    code = "from quatgrad.compile_ahead import help_along; help_along()"
    work = json.dumps([architecture, [8, 4, 4, 4]])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, work], env=environment, check=True, timeout=120)
    kept = {path.name.rpartition("-")[0] for path in tmp_path.rglob("*-*") if path.is_file()}
    assert {"_masked_sums", "_sgd_all", "_one"} <= kept
    assert not {"_bias_relu", "_relu"} & kept
