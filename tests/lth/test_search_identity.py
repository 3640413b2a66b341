"""No search gives the results of another network: keys and stages know what they are of."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_runs import RECIPE, dataset, lenet, network, run, search_of, timeless

from quatgrad import nn
from quatgrad.autograd import Tensor
from quatgrad.backend import use_backend
from quatgrad.errors import RunError
from quatgrad.lth import Protocol, Rule
from quatgrad.lth.search.identity import identity
from quatgrad.lth.search.search import ControlOf, Search
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_record

SHAPE = (4, 4, 4)


def plain(*layers, seed=0):
    """Two linear layers and what lies between them."""
    rng = np.random.default_rng(seed)
    first, last = nn.Linear(64, 12, rng=rng), nn.Linear(12, 3, rng=rng)
    return nn.Sequential(nn.Flatten(), first, *layers, last)


def normed(**options):
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(4, 3, 3, rng=rng)
    return nn.Sequential(conv, nn.BatchNorm2d(3, **options), nn.ReLU(), nn.GlobalAvgPool2d())


def dropped(p, seed=0):
    return plain(nn.Dropout(p, rng=np.random.default_rng(seed)))


class Scaled(nn.Module):
    """A layer of somebody's own, with a constant in float32."""

    def __init__(self, factor):
        self.factor = Tensor(np.full(12, factor, np.float32))

    def forward(self, x):
        return x * self.factor


def seen(**changes):
    return replace(dataset(), **changes)


def flipped(images, rng):
    return images[:, ::-1]


def one():
    return plain(nn.ReLU()), dataset()


def black(images):
    return np.zeros((len(images), *SHAPE), np.float32)


def lighter(images):
    return dataset().encode(images) * np.float32(1.001)


#: Another network of the same shapes, or another view of the same images.
OTHERS = {
    "another seed": lambda: (plain(nn.ReLU(), seed=1), dataset()),
    "no rectifier": lambda: (plain(), dataset()),
    "turned over": lambda: (plain(Scaled(-1.0), nn.ReLU()), dataset()),
    "dropout": lambda: (dropped(0.5), dataset()),
    "a constant": lambda: (plain(nn.ReLU(), Scaled(1.01)), dataset()),
    "black": lambda: (plain(nn.ReLU()), seen(encode=black)),
    "lighter": lambda: (plain(nn.ReLU()), seen(encode=lighter)),
    "augmented": lambda: (plain(nn.ReLU()), seen(augment=flipped)),
}


def of(model, images):
    return identity(model, images, model.state_dict())


@pytest.mark.parametrize("other", OTHERS)
def test_two_networks_have_two_identities(other):
    assert of(*one()) != of(*OTHERS[other]())


@pytest.mark.parametrize(("one", "other"), [
    (dropped(0.5), dropped(0.4)), (dropped(0.5), dropped(0.5, seed=1)),
    (normed(momentum=0.9), normed(momentum=0.8)), (normed(eps=1e-5), normed(eps=1e-3)),
    (plain(Scaled(1.0)), plain(Scaled(1.001))),
])  # fmt: skip
def test_layers_that_differ_in_training_alone(one, other):
    assert files.digest(one.state_dict()) == files.digest(other.state_dict())
    assert of(one, dataset())["computes"] != of(other, dataset())["computes"]


@pytest.mark.parametrize("make", [
    lambda: plain(nn.ReLU()), lambda: dropped(0.5), normed, lambda: plain(Scaled(2.0)), network,
    lambda: lenet("real"), lambda: network("real", "resnet20", 16),
])  # fmt: skip
def test_an_identity_is_the_same_on_every_backend_and_leaves_the_network_alone(make):
    model, images = make(), dataset()
    before = files.digest(model.state_dict())
    found = []
    for backend in ("numpy", "numba"):
        with use_backend(backend):
            found.append(of(model, images))
    assert found[0] == found[1] == of(make(), images)
    assert files.digest(model.state_dict()) == before
    assert model.training


def test_rounding_is_no_other_network_and_a_percent_is():
    """As another machine has it: its first weights differ in the last bit."""
    model, images = lenet("real"), dataset()
    state = model.state_dict()
    near = {n: np.nextafter(a, 1, dtype=a.dtype) for n, a in state.items()}
    far = {n: a * np.float32(1.01) for n, a in state.items()}
    numbers = [identity(model, images, s)["computes"] for s in (state, far)]
    assert numbers[0] != numbers[1]
    assert identity(model, images, near)["start"] != of(model, images)["start"]


# ------------------------------------------------------------------------- without a description


def search(directory, model, images=None, **others):
    protocol = Protocol(Rule(0.5), 1, stop_accuracy=0.0)
    return Search(model, images or dataset(), RECIPE, directory, protocol, progress=False, **others)


@pytest.mark.parametrize("other", OTHERS)
def test_one_directory_two_networks_two_results(tmp_path, other):
    alone = [search(tmp_path / str(i), *f()).run() for i, f in enumerate((one, OTHERS[other]))]
    both = [search(tmp_path / "both", *f()).run() for f in (one, OTHERS[other])]
    assert [timeless(r) for r in both] == [timeless(r) for r in alone]
    assert both[0][0].trained != both[1][0].trained
    assert len(list((tmp_path / "both" / "stages").iterdir())) == 4


def test_the_same_network_again_is_on_record(tmp_path, monkeypatch):
    one = search(tmp_path, plain(nn.ReLU()))
    records = one.run()
    monkeypatch.setattr("quatgrad.lth.search.level.train_steps", None)
    with use_backend("numpy"):
        assert one.run() == search(tmp_path, plain(nn.ReLU())).run() == records


def test_a_search_with_a_first_pass_and_a_control_have_the_identity_of_their_start(tmp_path):
    source = search(tmp_path / "a", lenet("real"))
    source = replace(source, protocol=replace(source.protocol, mask_source="finetuned"))
    names = [s.name for s in source.plan()]
    records = source.run()
    assert [s.name for s in source.plan()] == names
    assert source.run() == records
    control = ControlOf(source, lambda ticket, level: ticket, "same")
    more = {"stages": source.directory / "stages", "what": {"network": "lenet"}}
    with pytest.raises(RunError, match="no finished level"):
        search(tmp_path / "b", lenet("real"), control=replace(
            control, source=search(tmp_path / "nowhere", lenet("real"))), **more).run()  # fmt: skip


# ----------------------------------------------------------------------------- with a description


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("finished", [True, False])
def test_under_one_name_another_network_is_refused(tmp_path, other, finished):
    what = {"network": "plain"}
    search(tmp_path, plain(nn.ReLU()), what=what).run()
    if not finished:
        for path in tmp_path.glob("stages/*/done"):
            path.unlink()
    with pytest.raises(RunError, match="this network does not fit") as error:
        search(tmp_path, *OTHERS[other](), what=what).run()
    assert len(str(error.value)) < 500
    assert search(tmp_path, plain(nn.ReLU()), what=what).run()


def test_a_stage_of_an_earlier_version_is_taken_up_and_its_first_weights_are_compared(tmp_path):
    records, _ = run(tmp_path, 1, "real")
    for dense in tmp_path.glob("stages/dense*"):
        assert json.loads((dense / "done").read_text()).keys() >= {"network.json", "start.npz"}
        (dense / "network.json").unlink()
        files.finalize(dense)
    assert run(tmp_path, 1, "real")[0] == records
    with pytest.raises(RunError, match="its first weights are others"):
        run(tmp_path, 1, "real", model=lenet("real", seed=3))


def test_first_weights_that_differ_by_rounding_are_those_of_another_machine(tmp_path):
    records, _ = run(tmp_path, 1, "real")
    model = lenet("real")
    model.load_state_dict({n: np.nextafter(a, 1, dtype=a.dtype) for n, a in
                           model.state_dict().items()})  # fmt: skip
    assert run(tmp_path, 1, "real", model=model)[0] == records


def test_two_controls_without_a_name_are_told_apart(tmp_path):
    run(tmp_path, 1)

    def control(change, name=""):
        source = search_of(tmp_path, 1, lenet())
        more = {"control": ControlOf(source, change, name), "stages": tmp_path / "stages"}
        return run(tmp_path / f"control{name}", 1, **more)[0]

    def halved(ticket, level):
        return replace(ticket, state={n: a / 2 for n, a in ticket.state.items()})

    same = control(lambda ticket, level: ticket)
    assert control(lambda ticket, level: ticket) == same
    with pytest.raises(RunError, match="trained from another control of the same masks: name it"):
        control(halved)
    named = control(halved, "halved")
    assert named[1].trained != same[1].trained
    assert read_record(tmp_path / "controlhalved" / "level_01") == named[1]


def test_a_network_that_a_search_has_trained_is_the_one_that_it_was(tmp_path, monkeypatch):
    """The same object again, as in a notebook: answers are on record, and more levels go on."""
    for what in ({}, {"network": "plain"}):
        model, directory = plain(nn.ReLU()), tmp_path / f"{len(what)}"
        records = search(directory, model, what=what).run()
        assert search(directory, model, what=what).run() == records
        more = replace(search(directory, model, what=what), protocol=Protocol(Rule(0.5), 2, 0.0))
        assert more.run()[:2] == records
        most = replace(more, protocol=Protocol(Rule(0.5), 3, 0.0))
        with monkeypatch.context() as m:
            m.setattr("quatgrad.lth.search.search.next_masks", _fails)
            with pytest.raises(RuntimeError):
                most.run()
        assert search(directory, model, what=what).run() == records
        assert len(list((directory / "stages").iterdir())) == 4


@pytest.mark.parametrize("what", [{}, {"model": "my / net"}])
def test_a_network_that_a_search_has_trained_starts_from_its_first_weights(tmp_path, what):
    model, other = plain(nn.ReLU()), replace(RECIPE, lr=RECIPE.lr / 2)
    stages = {"what": what, "stages": tmp_path / "stages"} if what else {}
    search(tmp_path / "a", model, **stages).run()
    records = replace(search(tmp_path / "b", model, **stages), recipe=other).run()
    alone = replace(search(tmp_path / "c", plain(nn.ReLU())), recipe=other).run()
    assert timeless(records) == timeless(alone)
    start = files.read_arrays(tmp_path / "b" / "level_00" / "start.npz")
    assert files.digest(start) == files.digest(plain(nn.ReLU()).state_dict())


def test_so_it_is_where_a_first_pass_finds_the_masks(tmp_path):
    model = plain(nn.ReLU())
    protocol = Protocol(Rule(0.5), 1, 0.0, mask_source="finetuned")
    once = replace(search(tmp_path / "x", model, what={"network": "plain"}), protocol=protocol)
    assert replace(once).run() == once.run()


def _fails(*args):
    raise RuntimeError
