"""NAME.ticket: what is written is read, nothing else, and a file that is damaged says so."""

import json
import math

import numpy as np
import pytest
from networks import created, logits, trained

import quatgrad
from quatgrad import data, lth, models, nn, sparse
from quatgrad.errors import DataError, OptionError, RunError
from quatgrad.network import Network
from quatgrad.sparse import load, prepared, save
from quatgrad.sparse.ticket_file import WEIGHTS, pack, places_of, positions, unpack
from quatgrad.tensor_file import read_tensors, write_tensors


def network(name="resnet8", algebra="quaternion", density=0.1, **options):
    net, masks = trained(created(name, algebra), (16, 16, 4), density=density, **options)
    return Network(net, masks=masks or {})


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 5), (3, 3, 2, 4), (4, 3, 3, 2, 5), (4, 1, 1)])
@pytest.mark.parametrize("alive", ["none", "one", "few", "half", "whole", "all"])
def test_a_weight_is_what_it_was(shape, alive, weights):
    rng = np.random.default_rng(0)
    draws = rng.random(shape)
    mask = {"none": draws < 0, "few": draws < 0.1, "half": draws < 0.5, "all": draws < 2}.get(alive)
    if alive == "one":
        mask = np.arange(draws.size).reshape(shape) == draws.size - 1
    if alive == "whole":
        mask = np.broadcast_to(draws[:1] < 0.3, shape)
    w = np.where(mask, rng.standard_normal(shape), 0).astype(np.float32)
    parts = pack(w, mask, weights)
    found, found_mask = unpack(parts, shape)
    assert np.array_equal(found_mask, mask)
    assert not found[~mask].any()
    largest = abs(w).reshape(-1, shape[-1]).max(axis=0)
    bound = {"float32": 0, "float16": 2**-11 * abs(w), "int8": largest / 254 * 1.001}[weights]
    assert (abs(found - w) <= bound).all()
    assert set(parts) <= {"values", "scale", "places"}
    if weights == "int8":  # once more gives the same numbers
        assert np.array_equal(pack(found, mask, weights)["values"], parts["values"])


def test_a_weight_that_no_ticket_can_hold_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sparse.ticket_file, "MOST", 1000)
    with pytest.raises(OptionError, match="at most 1,000 entries; "):
        save(tmp_path / "net.ticket", network())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"classes": [1]}, {"encoding": {"encoder": 3}}])
def test_a_file_that_says_something_else_of_its_network_is_one_line(tmp_path, change):
    path = tmp_path / "net.ticket"
    save(path, network())
    arrays, about = read_tensors(path)
    write_tensors(path, arrays, about | change)
    with pytest.raises(DataError, match="is no whole ticket"):
        load(path)


@pytest.mark.parametrize("density", [0, 0.001, 0.02, 0.05, 0.2, 0.6, 0.99])
def test_places_take_little_more_than_their_entropy(density):
    mask = np.random.default_rng(1).random(20000) < density
    code = positions(mask)
    assert np.array_equal(places_of(code, int(mask.sum()), mask.size), mask)
    p = mask.mean()
    entropy = -sum(q * np.log2(q) for q in (p, 1 - p) if q) * mask.size
    assert code[0] > 0 or density > 0.2 or density == 0
    assert 8 * len(code) <= 1.05 * entropy + 32 or (density > 0.5 and len(code) <= 2502)


@pytest.mark.parametrize("left_out", [0, 254, 1000, 60000])
def test_gaps_of_any_length(left_out):
    mask = np.zeros(70000, bool)
    mask[[left_out, left_out + 1, 69999]] = True
    assert np.array_equal(places_of(positions(mask), 3, 70000), mask)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("whole", [False, True])
def test_a_file_has_all_of_the_network(tmp_path, weights, whole):
    net = network(whole=whole)
    save(tmp_path / "a.ticket", net, weights)
    again = load(tmp_path / "a.ticket")
    assert again.model.architecture == net.model.architecture
    assert all(np.array_equal(again.masks[n], m) for n, m in net.masks.items())
    x = np.random.default_rng(3).standard_normal((4, 16, 16, 4)).astype(np.float32)
    a, b = logits(net.model, x), logits(again.model, x)
    for name, w in net.model.weight_parameters() if weights == "float32" else ():
        assert np.array_equal(w.data, dict(again.model.named_parameters())[name].data)
    bound = {"float32": 1e-5, "float16": 2e-3, "int8": 5e-2}[weights]
    assert abs(a - b).max() < bound * abs(a).max()
    assert np.allclose(sparse.prepare(again.model, (16, 16, 4), again)(x), b, atol=1e-5)


def test_the_file_alone_predicts(tmp_path):
    digits = data.load("digits")
    images = digits.test.images[:50]
    shape = digits.encode(images).shape[1:]
    net = models.create("lenet-12", "quaternion", 10, shape[2], image_size=shape[:2])
    masks = {n: np.random.default_rng(0).random(w.shape) < 0.3 for n, w in net.weight_parameters()}
    for n, w in net.weight_parameters():
        w.data = w.data * masks[n]
    made = Network.of(net, digits, masks)
    save(tmp_path / "digits.ticket", made)
    again = prepared(load(tmp_path / "digits.ticket"))
    assert again.classes == made.classes
    assert np.allclose(again.predict(images), made.predict(images), atol=1e-6)


def test_the_size_of_a_resnet18(tmp_path):
    """0.75 MB in float32, 0.30 MB in int8, where real and dense it takes 44.6 MB."""
    shapes = created("resnet18", "quaternion", width=64, num_classes=100)
    for weights, most in ("float32", 0.75e6), ("int8", 0.30e6):
        net, masks = trained(shapes, (32, 32, 4), density=0.05)
        save(tmp_path / "a.ticket", Network(net, masks=masks), weights)
        assert (tmp_path / "a.ticket").stat().st_size <= most
    count = sum(math.prod(w.shape) for _, w in net.weight_parameters())
    assert 4 * count > 11e6


# -------------------------------------------------------------------------------------- errors


def test_unknown_weights_and_numbers_too_large(tmp_path):
    net = network("lenet-12")
    with pytest.raises(OptionError, match="unknown weights 'int4'"):
        save(tmp_path / "a.ticket", net, "int4")
    w = net.model.parameters()[0]
    w.data = w.data * np.float32(1e9)
    with pytest.raises(OptionError, match="too large for float16"):
        save(tmp_path / "a.ticket", net, "float16")
    assert not (tmp_path / "a.ticket").exists()


def test_files_that_are_no_tickets(tmp_path):
    path = tmp_path / "a.ticket"
    with pytest.raises(DataError, match="there is no file"):
        load(path)
    path.write_bytes(b"not a ticket")
    with pytest.raises(DataError, match="no whole"):
        load(path)
    network("lenet-12").save(path)
    with pytest.raises(DataError, match="no ticket"):
        load(path)
    save(path, network("lenet-12"))
    with pytest.raises(DataError, match=r"quatgrad\.sparse\.load reads it"):
        quatgrad.load(path)
    with pytest.raises(RunError, match=r"quatgrad\.sparse\.load reads it"):
        lth.load_ticket(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="checksum"):
        load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="no whole"):
        load(path)


HOSTILE = {
    "places past the end": lambda a, t: a["places/1.weight"].__setitem__(0, 12),
    "places that stop": lambda a, t: a.update({"places/1.weight": a["places/1.weight"][:-3]}),
    "no places": lambda a, t: a.update({"places/1.weight": np.zeros(0, np.uint8)}),
    "k of another code": lambda a, t: a["places/1.weight"].__setitem__(0, 200),
    "places in floats": lambda a, t: a.update({"places/1.weight": np.ones(9, np.float32)}),
    "a value less": lambda a, t: a.update({"values/1.weight": a["values/1.weight"][:-1]}),
    "no values": lambda a, t: a.pop("values/1.weight"),
    "values of text": lambda a, t: a.update({"values/1.weight": a["values/1.weight"][None, None]}),
    "a scale of another size": lambda a, t: a.update({"scale/1.weight": np.ones(7, np.float32)}),
    "a scale of NaN": lambda a, t: a.update({"scale/1.weight": np.full(192, np.nan, np.float32)}),
    "an infinite shape": lambda a, t: t["of"].update({"1.weight": [float("inf")]}),
    "infinite places": lambda a, t: a.update({"places/1.weight": np.full(9, np.inf, np.float32)}),
    "no bias": lambda a, t: a.pop("state/1.bias"),
    "another shape": lambda a, t: t["of"].update({"1.weight": [4, 2, 2]}),
    "a shape of text": lambda a, t: t["of"].update({"1.weight": "abc"}),
    "a huge shape": lambda a, t: t["of"].update({"1.weight": [4, 1 << 20, 1 << 30]}),
    "a negative shape": lambda a, t: t["of"].update({"1.weight": [4, -1, 3]}),
    "shapes of nothing": lambda a, t: t.update({"of": None}),
    "no shapes": lambda a, t: t.clear(),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_lies_is_refused(tmp_path, what):
    path = tmp_path / "a.ticket"
    save(path, network("lenet-12", density=0.05))
    arrays, about = read_tensors(path)
    arrays = {name: a.copy() for name, a in arrays.items()}
    HOSTILE[what](arrays, about["ticket"])
    write_tensors(path, arrays, json.loads(json.dumps(about)))
    with pytest.raises((DataError, ValueError)) as raised:
        load(path)
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 400


def test_a_network_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "a.ticket"
    save(path, network("lenet-12"))
    for where, value in (("image_size", [10**6, 10**6]), ("num_classes", 10**13)):
        arrays, about = read_tensors(path)
        about["architecture"][where] = value
        write_tensors(tmp_path / "b.ticket", arrays, about)
        with pytest.raises(DataError, match="no network that can be made"):
            load(tmp_path / "b.ticket")


def test_masks_that_fit_no_weight_are_not_written(tmp_path):
    net = network("lenet-12").model
    for masks in ({"nobody": np.ones(3, bool)}, {"1.weight": np.ones((2, 2), bool)}):
        with pytest.raises(OptionError, match="fits no weight"):
            save(tmp_path / "a.ticket", Network(net, masks=masks))
    assert not (tmp_path / "a.ticket").exists()


def test_what_is_no_network_is_not_written(tmp_path):
    net = network("lenet-12")
    for swapped in (tmp_path / "a.ticket", net.model), (net, tmp_path / "a.ticket"):
        with pytest.raises(OptionError, match=r"writes a Network, .* got a (Sequential|PosixPath)"):
            save(*swapped)


def test_int8_of_no_number_and_of_the_smallest(tmp_path):
    w = np.ones((3, 2), np.float32)
    w[0] = np.nan, 1
    with pytest.raises(OptionError, match="no number"):
        pack(w, np.ones((3, 2), bool), "int8")
    w[:] = 1e-44, 3e38  # a 127th of the first one is 0
    found, _ = unpack(pack(w, np.ones((3, 2), bool), "int8"), (3, 2))
    assert np.allclose(found, w, rtol=1e-6, atol=1e-43)


def test_weights_that_a_mask_prunes_and_that_are_not_0_are_refused(tmp_path):
    net = nn.Sequential(nn.Conv2d(4, 4, 1, rng=np.random.default_rng(0)))
    masks = {"0.weight": np.zeros((1, 1, 4, 4), bool)}
    with pytest.raises(OptionError, match=r"that the mask 0\.weight prunes are not 0"):
        sparse.save(tmp_path / "x.ticket", Network(net, masks=masks))
    assert not list(tmp_path.iterdir())


def test_float64_is_refused_when_it_is_written(tmp_path):
    net = nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)))
    weight = net.modules[0].weight
    weight._array = weight._array.astype(np.float64)
    with pytest.raises(OptionError, match=r"of float32; 0\.weight is float64"):
        sparse.save(tmp_path / "x.ticket", Network(net))


def test_norms_that_share_their_scale_keep_their_statistics(tmp_path):
    rng = np.random.default_rng(0)
    a, b = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    b.scale, b.shift = a.scale, a.shift
    a.running_mean.data = rng.normal(size=4).astype(np.float32)
    b.running_var.data = 1 + rng.random(4).astype(np.float32)
    net = nn.Sequential(nn.Conv2d(4, 4, 1, rng=rng), a, nn.ReLU(), b, nn.Flatten())
    x = rng.normal(size=(2, 1, 1, 4)).astype(np.float32)
    before = Network(net.eval()).predict(x)
    sparse.save(tmp_path / "x.ticket", Network(net))
    again = sparse.load(tmp_path / "x.ticket", net)
    np.testing.assert_allclose(again.predict(x), before, atol=1e-6)


def test_a_norm_that_stands_in_two_places(tmp_path):
    rng = np.random.default_rng(0)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.data = rng.normal(size=4).astype(np.float32)
    parts = (nn.Conv2d(4, 4, 1, rng=rng) for _ in range(2))
    net = nn.Sequential(next(parts), norm, next(parts), norm, nn.Flatten())
    sparse.save(tmp_path / "x.ticket", Network(net.eval()))
    x = rng.normal(size=(2, 1, 1, 4)).astype(np.float32)
    again = sparse.load(tmp_path / "x.ticket", net)
    before = Network(net.eval()).predict(x)
    np.testing.assert_allclose(again.predict(x), before, atol=1e-6)
