"""Module: what it registers, under which names, and its state."""

import subprocess
import sys

import numpy as np
import pytest

from quatgrad import Parameter, Tensor, generator, nn
from quatgrad.errors import DTypeError, ShapeError
from quatgrad.lth.ticket.mask_constraint import set_mask


def parameter(*shape):
    return Parameter(np.zeros(shape, np.float32))


def net():
    rng = generator(0, "test")
    return nn.Sequential(
        nn.QConv2d(4, 8, 3, padding=1, bias=False, rng=rng),
        nn.BatchNorm2d(8),
        nn.Sequential(nn.ReLU(), nn.Dropout(0.5, rng=rng)),
        nn.Flatten(),
        nn.Linear(32, 3, rng=rng),
    )


class Everything(nn.Module):
    def __init__(self):
        self.w = parameter(2, 3)
        self.layers = [nn.ReLU(), nn.Linear(2, 2, rng=generator(0))]
        self.pair = (parameter(1), [parameter(4)])
        self.table = {"a": nn.BatchNorm2d(2), "b": parameter(5)}
        self.none, self.number, self.text = None, 3, "x"
        self.constant = Tensor([1.0])  # neither learned nor state


def test_lists_tuples_and_dicts_register_what_they_hold_in_the_order_of_assignment():
    names = [name for name, _ in Everything().named_state()]
    modules = [name for name, _ in Everything().named_modules()]
    assert modules == ["", "layers.0", "layers.1", "table.a"]
    assert names == [
        "w", "pair.0", "pair.1.0", "table.b",
        "layers.1.weight", "layers.1.bias",
        "table.a.scale", "table.a.shift", "table.a.running_mean", "table.a.running_var",
    ]  # fmt: skip
    learned = [name for name, _ in Everything().named_parameters()]
    assert learned == [n for n in names if "running" not in n]
    assert [n for n, _ in Everything().weight_parameters()] == ["w", "layers.1.weight"]
    assert Everything().num_parameters() == 6 + 1 + 4 + 5 + 6 + 4


def test_a_subclass_of_sequential_may_hold_more():
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.ReLU(), nn.BatchNorm2d(2))
            self.head = nn.Linear(2, 2, rng=generator(0))
            self.temperature = parameter(1)

    assert [n for n, _ in Net().named_parameters()] == [
        "temperature", "1.scale", "1.shift", "head.weight", "head.bias",
    ]  # fmt: skip


def test_a_list_that_grows_after_construction_is_seen():
    model = Everything()
    model.layers.append(nn.BatchNorm2d(1))
    assert "layers.2.scale" in dict(model.named_parameters())


def test_an_unknown_attribute_raises():
    with pytest.raises(AttributeError, match="wieght"):
        _ = nn.Linear(1, 1, rng=generator(0)).wieght


def test_a_module_without_forward_says_so():
    with pytest.raises(TypeError, match="Everything does not define forward"):
        Everything()(Tensor([1.0]))


def test_the_order_of_parameters_does_not_depend_on_the_hash_seed():
    code = """if True:
        from quatgrad import generator, nn
        layers = {name: nn.Linear(1, 1, rng=generator(0)) for name in "qwertyuiop"}
        class M(nn.Module):
            def __init__(self): self.layers = layers
        print([n for n, _ in M().named_parameters()])"""
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(seen) == 1
    assert [n[7] for n in eval(seen.pop())] == [c for c in "qwertyuiop" for _ in "wb"]


def test_a_shared_parameter_appears_once_under_its_first_name():
    tied = nn.Linear(2, 2, rng=generator(0))
    model = nn.Sequential(tied, nn.ReLU(), tied)
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert len(model.parameters()) == 2
    assert model.num_parameters() == 6
    assert model.state_dict().keys() == {"0.weight", "0.bias"}


# ----------------------------------------------------------------------------------- state


def test_state_round_trip():
    a, b = net(), net()
    a(Tensor(np.random.default_rng(0).standard_normal((2, 2, 2, 4), np.float32)))
    for p in a.parameters():
        p.data = p.data + 1
    state = a.state_dict()
    assert list(state) == [
        "0.weight", "1.scale", "1.shift", "1.running_mean", "1.running_var",
        "2.1.draws", "4.weight", "4.bias",
    ]  # fmt: skip
    b.load_state_dict(state)
    for name, array in b.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
        array[...] = 99  # a copy: the model is not touched
    np.testing.assert_array_equal(b.state_dict()["4.bias"], state["4.bias"])
    assert (state["1.running_mean"] != 0).all()


def test_loading_keeps_pruned_entries_at_zero():
    a = net()
    mask = np.zeros(a.modules[0].weight.shape, bool)
    set_mask(a.modules[0].weight, mask)
    a.load_state_dict(net().state_dict())
    assert (a.modules[0].weight.data == 0).all()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda s: s.pop("1.scale"), ShapeError, "Sequential: missing 1.scale, unknown nothing"),
        (lambda s: s.update(extra=np.ones(1)), ShapeError, "missing nothing, unknown extra"),
        (lambda s: s.clear(), ShapeError, r"missing 0.weight, .*, \.\.\. \(8\)"),
        (lambda s: s.update({"4.bias": np.ones(4, np.float32)}), ShapeError,
         r"4.bias is float32 of shape \(4,\) there and float32 of shape \(3,\) here"),
        (lambda s: s.update({"4.bias": np.ones(3)}), DTypeError, "4.bias is float64"),
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_is_named_and_nothing_is_written(spoil, error, message):
    model = net()
    before, state = model.state_dict(), {k: v + 1 for k, v in net().state_dict().items()}
    spoil(state)
    with pytest.raises(error, match=message):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_train_and_eval_reach_every_module():
    model = Everything()
    model.inner = net()
    assert all(m.training for _, m in model.named_modules())
    assert model.eval() is model
    assert not any(m.training for _, m in model.named_modules())
    assert all(m.training for _, m in model.train().named_modules())


def test_repr_is_the_architecture():
    assert repr(net()) == (
        "Sequential(\n"
        "  0: QConv2d(4 -> 8, 3x3, padding 1, no bias)\n"
        "  1: BatchNorm2d(8)\n"
        "  2: Sequential(\n"
        "    0: ReLU()\n"
        "    1: Dropout(p=0.5)\n"
        "  )\n"
        "  3: Flatten()\n"
        "  4: Linear(32 -> 3)\n"
        ")"
    )
    rng = generator(0)
    assert repr(nn.Conv2d(3, 5, (1, 2), stride=2, rng=rng)) == "Conv2d(3 -> 5, 1x2, stride 2)"
    assert repr(nn.QLinear(8, 4, bias=False, rng=rng)) == "QLinear(8 -> 4, no bias)"
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(2)"
