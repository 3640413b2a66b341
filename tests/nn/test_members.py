"""What a module holds belongs to it, under a name of its own, or is refused."""

import collections
import types

import numpy as np
import pytest

from quatgrad import Parameter, Tensor, nn, ops
from quatgrad.errors import GraphError, OptionError
from quatgrad.nn import Buffer, Module


def layer():
    return nn.Linear(2, 2, rng=np.random.default_rng(0))


def holding(value):
    net = Module()
    net.held = value
    return net


CONTAINERS = {
    "set": lambda: {layer()},
    "frozenset": lambda: frozenset([layer()]),
    "deque": lambda: collections.deque([layer()]),
    "UserList": lambda: collections.UserList([layer()]),
    "UserDict": lambda: collections.UserDict(a=layer()),
    "ChainMap": lambda: collections.ChainMap({"a": layer()}),
    "mapping proxy": lambda: types.MappingProxyType({"a": layer()}),
    "values of a dict": lambda: {"a": layer()}.values(),
    "items of a dict": lambda: {"a": layer()}.items(),
    "keys of a dict": lambda: {layer(): 1}.keys(),
    "array of objects": lambda: np.array([[layer()]], dtype=object),
    "array of objects without axes": lambda: np.array(layer(), dtype=object),
    "generator": lambda: (layer() for _ in range(2)),
    "map": lambda: map(nn.Sequential, [layer()]),
    "deque of parameters": lambda: collections.deque([Parameter([1.0])]),
    "deque of buffers": lambda: collections.deque([Buffer([1.0])]),
    "deque of lists": lambda: collections.deque([[], [layer()]]),
    "deque in a dict in a list": lambda: [{"a": collections.deque([layer()])}],
}


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("use", [Module.parameters, Module.state_dict, Module.eval, repr])
def test_containers_that_are_not_looked_into_are_refused(make, use):
    with pytest.raises(OptionError, match=r"held.*: hold layers in a list, a tuple or a dict"):
        use(holding(make()))


@pytest.mark.parametrize(
    "value",
    [
        "text", b"bytes", bytearray(9), memoryview(b"x"), range(10**12), {"a", "b"}, frozenset([1]),
        collections.deque([1, "a"]), np.array([None, "a"], dtype=object), np.zeros(3), {}.values(),
        types.MappingProxyType({"a": 1}), len, None, 3, Tensor([1.0]), np.random.default_rng(0),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_containers_of_other_things_are_nobodys_business(value):
    assert holding(value).parameters() == []


class Pair(tuple):
    """As a named tuple: a tuple of its own."""


def test_lists_tuples_and_dicts_are_looked_into_however_deep():
    held = {1: [layer(), (layer(),)], "b": Pair([collections.OrderedDict(c=layer())])}
    names = [name for name, _ in holding(held).named_parameters()]
    assert [n for n in names if n.endswith("weight")] == [
        "held.1.0.weight", "held.1.1.0.weight", "held.b.0.c.weight",
    ]  # fmt: skip


COLLISIONS = {
    "1 and '1'": lambda: {1: layer(), "1": layer()},
    "a.b and a -> b": lambda: {"a.b": layer(), "a": {"b": layer()}},
    "0.0 and a list": lambda: {"0.0": layer(), 0: [layer()]},
    "None and 'None'": lambda: {None: Parameter([1.0]), "None": Parameter([2.0])},
    "True and 'True'": lambda: {True: Buffer([1.0]), "True": Parameter([2.0])},
    "0.weight": lambda: {"0.weight": Parameter([1.0]), 0: layer()},
}


@pytest.mark.parametrize("make", COLLISIONS.values(), ids=COLLISIONS)
@pytest.mark.parametrize("use", [Module.parameters, Module.state_dict])
def test_two_members_of_one_name_are_refused(make, use):
    with pytest.raises(OptionError, match="two members are called held"):
        use(holding(make()))


def test_one_member_in_two_places_has_one_name():
    one = layer()
    assert list(holding({"a": one, "b": [one]}).state_dict()) == ["held.a.weight", "held.a.bias"]


def test_modules_in_a_circle_are_refused():
    parent, child = layer(), nn.ReLU()
    parent.child, child.parent = child, parent
    for use in (Module.parameters, Module.state_dict, Module.eval):
        with pytest.raises(OptionError, match=r"in a circle: child\.parent"):
            use(parent)
    assert "..." in repr(parent)
    alone = nn.Sequential()
    alone.modules.append(alone)
    with pytest.raises(OptionError, match="in a circle"):
        alone.parameters()


# ---------------------------------------------------------------------------- attributes


@pytest.mark.parametrize(
    "value", [Tensor([[1.0]]), np.ones((2, 2)), 1.0, [Parameter([1.0])], nn.ReLU()]
)
@pytest.mark.parametrize("name", ["weight", "running_mean"])
def test_a_member_is_not_replaced_by_what_would_be_none(name, value):
    net = layer() if name == "weight" else nn.BatchNorm2d(2)
    before = list(net.state_dict())
    with pytest.raises(
        OptionError, match=rf"{name} is a (Parameter|Buffer), and a .* {name}\.data"
    ):
        setattr(net, name, value)
    assert list(net.state_dict()) == before


def test_a_member_is_replaced_by_a_member_or_by_nothing():
    net = layer()
    net.weight, net.bias = Parameter([[1.0, 2]]), None
    assert list(net.state_dict()) == ["weight"]
    net.bias = 3.0  # what was nothing may become anything
    net.weight = Buffer([1.0])
    assert net.parameters() == []


def test_updates_by_operators_leave_the_weights_registered():
    net = layer()
    with pytest.raises(GraphError):
        net.weight -= 0.1
    with pytest.raises(OptionError):
        net.weight = net.weight - 0.1 * np.ones((2, 2), np.float32)
    norm = nn.BatchNorm2d(2)
    with pytest.raises(GraphError):
        norm.running_mean *= 0.9
    net.weight.data = net.weight.data - 1
    assert len(net.parameters()) == 2


# ------------------------------------------------------------------------------- calling


class Attention(Module):
    def forward(self, q, k=None, *, scale=1.0):
        return q * scale if k is None else (q * k, k)


def test_a_module_takes_what_its_forward_takes():
    q, k = Tensor([1.0]), Tensor([2.0])
    assert Attention()(q).data == 1
    assert Attention()(q, scale=np.float64(3)).data == 3
    y, again = Attention()(q, k=k)
    assert y.data == 2
    assert again is k
    assert Attention()(q, k)[1] is k
    with pytest.raises(TypeError, match="forward"):
        Attention()()
    with pytest.raises(TypeError, match="does not define forward"):
        Module()(q, k)
    assert ops.relu(nn.Sequential(Attention(), nn.ReLU())(q)).data == 1
