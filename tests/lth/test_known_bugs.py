"""Mutation tests: the known bugs of the field, put back one by one into a search that is right.

Each is a monkeypatch of the smallest piece that can have the bug, named after where it was seen.
A search with it must end with an `InvariantError` before any number of it is written down, or, for
those that no look at one network can tell from a right one, a named test must see it.

bug, put back                                 seen in               what catches it
momentum of the level before revives          distiller PR 63,      check_pruned: a velocity, or a
  pruned weights                              FPGM 47               value, that is not 0
an optimizer that does not know of masks      most                  check_pruned: value, gradient
masks applied in the forward pass alone       open_lth              check_pruned: gradient, velocity
weight decay moves pruned weights             torch.prune's         check_pruned: value
  (towards the first weights)               weight_orig
masks that never reach the network            -                     check_start
one too many, one too few are pruned          open_lth              check_pruning: counts
the share is taken of all, not of the alive   -                     check_pruning: came back, counts
ranking |w| mask: pruned zeros compete        SynFlow (multishot)   check_pruning: came back, counts
a mask read the wrong way round               -                     check_pruning: came back, counts
masks that grow                               SynFlow (multishot)   check_pruning: came back
masks multiplied once more at each step       PyTorch PR 65293      check_pruned: mask of the ticket
the rewind state is aliased: training         Lightning 13643       check_unchanged
  writes to it
a reset that resets nothing                   Lightning, SynFlow    check_start
batch-norm statistics are not rewound         quatLT23, RV          check_start
biases are not rewound                        quatLT23              check_start
the initial network is ranked, not the        quatLT23 --resume     check_start in next_masks
  trained one
resuming without masks                        distiller PR 76,      Checkpoint.load: check_pruned
                                              SparseML 145
resuming without the optimizer's memory       lth_diet              test below: other bits
a control that changes nothing                SynFlow's shuffle()   test below: equal digests
all negative weights are frozen (no abs)      RV 5                  test below: none of them moves
batch-norm parameters are pruned              RV 5                  check_pruned: not prunable
"""

from dataclasses import replace

import numpy as np
import pytest
from tiny_runs import RECIPE, dataset, lenet, network, run

from quatgrad.autograd import Parameter, Tensor
from quatgrad.errors import InvariantError
from quatgrad.lth import Ticket, full_masks
from quatgrad.lth.prune import counts, rule
from quatgrad.lth.search import checkpoint, level_masks
from quatgrad.lth.store.stage import read_records
from quatgrad.lth.ticket import controls
from quatgrad.lth.ticket.mask_constraint import mask_of, set_mask
from quatgrad.nn import Module
from quatgrad.nn.module import Buffer
from quatgrad.optim import SGD, Optimizer
from quatgrad.train import train


def caught(match):
    return pytest.raises(InvariantError, match=match)


def search_ends(match, tmp_path, levels=2, **options):
    """The search raises, and the level with the bug is not on record."""
    options.setdefault("model", network("quaternion"))
    with caught(match):
        run(tmp_path, levels, **options)
    assert len(read_records(tmp_path)) <= levels


def test_the_search_is_clean_without_a_bug(tmp_path):
    records, _ = run(tmp_path, levels=2)
    assert [r.checks for r in records] == [
        ["start", "pruned", "pruned", "unchanged"],
        *[["pruning", "start", "pruned", "pruned", "unchanged"]] * 2,
    ]


# ------------------------------------------------------------------- weights that come back


def around_the_door(monkeypatch):
    """Writes and gradients that do not know of masks, as where pruning came later."""
    monkeypatch.setattr(Parameter, "update", Tensor.update)
    monkeypatch.setattr(Parameter, "accumulate_grad", Tensor.accumulate_grad)


def prune_and_zero(monkeypatch):
    """Masks that are applied once, by hand, when they are set."""

    def set_and_apply(p, mask):
        set_mask(p, mask)
        if mask is not None:
            p.constraint(p._array)

    monkeypatch.setattr("quatgrad.lth.ticket.rewind.set_mask", set_and_apply)


def test_momentum_of_the_level_before(tmp_path, monkeypatch):
    def load_all(self, memory):
        self.state = [{} for _ in self.parameters]
        for key, a in memory.items():
            i, _, name = key.partition("/")
            self.state[int(i)][name] = a.copy()

    monkeypatch.setattr(Optimizer, "load_state_dict", load_all)
    search_ends("a velocity that is not 0", tmp_path, optimizer_state="kept")


def test_momentum_that_moves_a_pruned_weight(tmp_path, monkeypatch):
    """One optimizer for all levels, whose update writes around the mask."""
    around_the_door(monkeypatch)
    prune_and_zero(monkeypatch)
    monkeypatch.setattr(Optimizer, "load_state_dict", lambda self, memory: None)
    search_ends("that is not 0", tmp_path, optimizer_state="kept")


def test_an_optimizer_that_does_not_know_of_masks(tmp_path, monkeypatch):
    around_the_door(monkeypatch)
    search_ends("does not start|that is not 0", tmp_path)


def test_masks_applied_in_the_forward_pass_alone(tmp_path, monkeypatch):
    """Evaluation at the end of the epoch hides it: the values are 0 when somebody looks."""
    around_the_door(monkeypatch)
    call = Module.__call__

    def masked_call(self, x):
        for p in vars(self).values():
            if isinstance(p, Parameter) and p.constraint:
                p.constraint(p._array)
        return call(self, x)

    monkeypatch.setattr(Module, "__call__", masked_call)
    prune_and_zero(monkeypatch)
    search_ends("a gradient that is not 0|a velocity that is not 0", tmp_path)


def test_weight_decay_towards_the_first_weights(tmp_path, monkeypatch):

    def rule(self, w, g, state, lr):
        first = state.setdefault("first", w.copy() + 1)
        w -= lr * g + 0.1 * (w - first)

    monkeypatch.setattr(SGD, "rule", rule)
    monkeypatch.setattr(SGD, "step", Optimizer.step)
    monkeypatch.setattr(Parameter, "update", Tensor.update)
    prune_and_zero(monkeypatch)
    search_ends("a value that is not 0", tmp_path)


def test_masks_that_never_reach_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr("quatgrad.lth.ticket.rewind.set_mask", lambda p, mask: None)
    search_ends("does not", tmp_path)


def test_masks_multiplied_once_more_at_each_step(tmp_path, monkeypatch):
    """A mask that is applied to itself, shifted by one: it collapses step by step."""
    honest = SGD.step

    def step(self, lr):
        honest(self, lr)
        for p in self.parameters:
            if (mask := mask_of(p)) is not None:
                set_mask(p, mask & np.roll(mask, 1))

    monkeypatch.setattr(SGD, "step", step)
    search_ends("does not carry the mask", tmp_path)


def test_batch_norm_parameters_are_pruned(tmp_path, monkeypatch):
    honest = Module.load_state_dict

    def load(self, state):
        honest(self, state)
        set_mask(self.bn.scale, np.arange(self.bn.scale.size) > 0)

    monkeypatch.setattr(Module, "load_state_dict", load)
    search_ends(r"bn\.scale", tmp_path)


# ------------------------------------------------------------------- masks that are wrong


@pytest.mark.parametrize("off", [1, -1])
@pytest.mark.parametrize("scope", ["layer", "global", "erk"])
def test_a_count_that_is_off_by_one(tmp_path, monkeypatch, off, scope):
    honest = counts.survivors
    monkeypatch.setattr(counts, "survivors", lambda n, keep: max(honest(n, keep) + off, 1))
    search_ends("the rule says", tmp_path, scope=scope)


def test_the_share_of_all_weights_pruned_ones_included(tmp_path, monkeypatch):
    honest = rule.Rule.targets

    def of_all(self, masks, *others):
        return honest(self, {n: np.ones_like(m) for n, m in masks.items()}, *others)

    monkeypatch.setattr(rule.Rule, "targets", of_all)
    search_ends("the rule says", tmp_path)


def test_a_mask_read_the_wrong_way_round(tmp_path, monkeypatch):
    honest = rule.prune
    monkeypatch.setattr(level_masks, "prune", lambda *a: {n: ~m for n, m in honest(*a).items()})
    search_ends("the rule says", tmp_path)


def test_pruned_zeros_compete_in_the_ranking(tmp_path, monkeypatch):
    """|w| mask is ranked over all entries: the zeros of the dead fill the share that goes."""
    monkeypatch.setattr(rule, "highest", _highest_of_all(counts.survivors))
    search_ends("the rule says", tmp_path)


def _highest_of_all(survivors):
    def highest(score, alive, kept):
        ranked = np.argsort(score * alive, kind="stable")
        mask = np.zeros_like(alive)
        mask[ranked[len(ranked) - survivors(len(ranked), 0.6) :]] = True
        return mask

    return highest


def test_pruned_zeros_win_against_zeros_that_are_alive(monkeypatch):
    """The count is right, but of equal zeros a dead one may be chosen."""
    weights = {"w": Parameter(np.zeros((6, 1), np.float32))}
    old = {"w": np.array([1, 1, 1, 1, 0, 0], bool)[:, None]}
    half = rule.Rule(0.5)

    def highest(score, alive, kept):
        mask = np.zeros_like(alive)
        mask[np.argsort(score * alive, kind="stable")[len(alive) - kept :]] = True
        return mask

    monkeypatch.setattr(rule, "highest", highest)
    new = rule.prune(weights, old, half)
    with caught("came back"):
        level_masks.check_pruning(old, new, {"w": 1}, half)


def test_masks_that_grow(tmp_path, monkeypatch):
    """One weight is swapped for a dead one: the count is right."""
    honest = rule.prune

    def swapped(weights, masks, *rule):
        new = honest(weights, masks, *rule)
        for name, m in new.items():
            dead, alive = np.flatnonzero(~masks[name]), np.flatnonzero(m)
            if len(dead) and len(alive):
                m.flat[dead[0]], m.flat[alive[0]] = True, False
        return new

    monkeypatch.setattr(level_masks, "prune", swapped)
    search_ends("came back", tmp_path)


def test_the_initial_network_is_ranked_instead_of_the_trained_one(tmp_path, monkeypatch):
    """Re-initialised before it is pruned: a mask of the initial magnitudes."""
    honest, first = level_masks.rewind, {}

    def rewind(model, ticket):
        first.setdefault("state", network("quaternion").state_dict())
        honest(model, Ticket(ticket.masks, first["state"]))

    monkeypatch.setattr(level_masks, "rewind", rewind)
    search_ends("does not start from mask x rewind state", tmp_path)


# ------------------------------------------------------------------- rewinding that is none


def test_the_rewind_state_is_aliased(tmp_path, monkeypatch):
    def alias(self, state):
        for name, t in self.named_state():
            t._array = state[name]

    monkeypatch.setattr(Module, "load_state_dict", alias)
    search_ends("aliased", tmp_path)


def test_a_reset_that_resets_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Module, "load_state_dict", lambda self, state: None)
    search_ends("does not start", tmp_path)


def not_rewound(monkeypatch, kept):
    """`load_state_dict` leaves out what `kept(name, tensor)` says."""

    def load(self, state):
        for name, t in self.named_state():
            if not kept(name, t):
                t.data = state[name]

    monkeypatch.setattr(Module, "load_state_dict", load)


def test_batch_norm_statistics_are_not_rewound(tmp_path, monkeypatch):
    not_rewound(monkeypatch, lambda name, t: isinstance(t, Buffer))
    search_ends("running_mean does not start", tmp_path)


def test_biases_are_not_rewound(tmp_path, monkeypatch):
    not_rewound(monkeypatch, lambda name, t: name.endswith("bias"))
    search_ends(r"head\.bias does not start", tmp_path)


def test_batch_norm_parameters_are_not_rewound(tmp_path, monkeypatch):
    not_rewound(monkeypatch, lambda name, t: name.endswith(("scale", "shift")))
    search_ends("scale does not start", tmp_path)


# ------------------------------------------------------------------- resuming


class Killed(BaseException):
    """The process ends here."""


def killed_in_level_1(directory, monkeypatch):
    """A search that is killed right after the first checkpoint of level 1."""
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    honest = checkpoint.Checkpoint.save

    def save(self, model, masks, *rest):
        honest(self, model, masks, *rest)
        if not all(m.all() for m in masks.values()):
            raise Killed

    with monkeypatch.context() as m:
        m.setattr(checkpoint.Checkpoint, "save", save)
        with pytest.raises(Killed):
            run(directory, 1)


def test_resuming_without_masks(tmp_path, monkeypatch):
    killed_in_level_1(tmp_path, monkeypatch)
    honest = checkpoint.rewind

    def without_masks(model, ticket):
        honest(model, Ticket({n: np.ones_like(m) for n, m in ticket.masks.items()}, ticket.state))

    monkeypatch.setattr(checkpoint, "rewind", without_masks)
    with caught("does not carry the mask"):
        run(tmp_path, 1)


def test_resuming_without_the_memory_of_the_optimizer(tmp_path, monkeypatch):
    """No invariant can tell an optimizer that is new: the bits of the run that was not killed."""
    whole, _ = run(tmp_path / "whole", 1)
    trained = {}
    for bug in (False, True):
        directory = tmp_path / str(bug)
        killed_in_level_1(directory, monkeypatch)
        if bug:
            monkeypatch.setattr(Optimizer, "load_state_dict", lambda self, memory: None)
        trained[bug] = run(directory, 1)[0][1].trained
    assert trained[False] == whole[1].trained != trained[True]


# ------------------------------------------------------------------- what needs a comparison


def changes(control):
    """Does a control give another ticket?"""
    model = lenet()
    weights = dict(model.weight_parameters())
    ticket = Ticket(rule.prune_by_magnitude(weights, full_masks(weights), 0.5), model.state_dict())
    components = {n: w.components for n, w in weights.items()}
    new = control(ticket, components, lenet(seed=1).state_dict(), np.random.default_rng(0))
    return new.digest() != ticket.digest()


def test_a_control_that_changes_nothing():
    """`shuffle` into a name of its own: the ticket comes back as it was."""

    def shuffled(ticket, components, fresh, rng):
        for mask in ticket.masks.values():
            mask = rng.permutation(mask.ravel()).reshape(mask.shape)
        return ticket

    assert not changes(shuffled)
    idle = {name for name, control in controls.CONTROLS.items() if not changes(control)}
    # These get a ticket with other masks; test_controls.py sees that they are other ones.
    assert idle == set(controls.FROM_ANOTHER_SEED)


def negative_weights_that_move():
    """The share of them that an epoch changes; the dead units of a ReLU alone stand still."""
    model = lenet("real")
    before = {n: w.numpy().copy() for n, w in model.weight_parameters()}
    train(model, dataset(), replace(RECIPE, weight_decay=0.0), progress=False)
    moved = [(w.numpy() != before[n])[before[n] < 0] for n, w in model.weight_parameters()]
    return np.concatenate(moved).mean()


def test_all_negative_weights_are_frozen(monkeypatch):
    """gradient = where(w < eps, 0, gradient), without abs: half of the network never learns."""
    assert negative_weights_that_move() > 0.9
    honest = Parameter.accumulate_grad

    def receive(self, g, owned):
        honest(self, g, owned)
        self.grad[self._array < 1e-6] = 0

    monkeypatch.setattr(Parameter, "accumulate_grad", receive)
    assert negative_weights_that_move() == 0
