"""The engine, one test for each bug that a published engine has had."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import Function, Parameter, Tensor, models, nn, no_grad, ops, quaternion, use_backend
from quatgrad.errors import DTypeError, GraphError, QuatgradError, ShapeError
from quatgrad.lth.ticket.mask_constraint import mask_of, set_mask
from quatgrad.ops.conv_norm_act import ConvNormAct


def leaf(*values, dtype=np.float32):
    return Tensor(np.array(values, dtype), requires_grad=True)


class Twice(Function):
    """y = 2 x, counting the runs of backward; `wrong` replaces what backward gives."""

    def __init__(self, wrong=None):
        self.wrong, self.runs = wrong, 0

    def forward(self, x):
        return 2 * x

    def backward(self, g):
        self.runs += 1
        return 2 * g if self.wrong is None else self.wrong(g)


# ------------------------------------------------------------------------- what is summed


def test_x_times_x_counts_both_uses():
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad == [6]


def test_relu_of_x_twice_and_x_itself():
    x = leaf(2.0)
    (ops.relu(x) + ops.relu(x) + x).backward()
    assert x.grad == [3]


def test_a_plus_b_plus_a_does_not_add_in_place_to_a_shared_gradient():
    a, b = leaf(1.0), leaf(1.0)
    (a + b + a).backward()
    assert (a.grad, b.grad) == ([2], [1])


def test_b_equals_a_plus_a_then_b_plus_b():
    a = leaf(1.0)
    b = a + a
    (b + b).backward()
    assert a.grad == [4]


def test_gradients_of_two_leaves_never_share_memory():
    """Weight decay on one must not change the other: y = (a + b) c."""
    a, b, c = leaf(1.0, 2), leaf(3.0, 4), leaf(5.0, 6)
    g = np.ones(2, np.float32)
    y = (a + b) * c
    y.backward(g)
    a.grad += 100
    np.testing.assert_array_equal(b.grad, [5, 6])
    np.testing.assert_array_equal(c.grad, [4, 6])
    np.testing.assert_array_equal(g, [1, 1])


def test_the_gradient_given_to_backward_is_not_borrowed():
    x, g = leaf(1.0, 2), np.ones(2, np.float32)
    x.backward(g)
    x.grad += 1
    x.reshape(2, 1).reshape(2).backward(g)
    x.grad += 1
    np.testing.assert_array_equal(g, [1, 1])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_sum_of_large_gradients_overwrites_none_that_is_borrowed(backend):
    g = np.ones((300, 400), np.float32)
    with use_backend(backend):
        x = Tensor(g.copy(), requires_grad=True)
        y = x.relu()
        z = y + y.relu() + y  # shares of y: g itself twice, and one of its own
        z.backward(g, retain_graph=True)
        z.backward(g)
    assert (g == 1).all()
    assert (x.grad == 6).all()


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_what_backward_may_overwrite_is_read_by_nobody(algebra):
    """Gradients are the same bits where the graph stays, and nothing may; values stay as well."""
    with use_backend("numba"):
        model = models.create("resnet8", algebra, width=8, num_classes=5)
        x = Tensor(np.random.default_rng(0).standard_normal((3, 16, 16, 4)).astype(np.float32))
        y = model.stages[0](model.act(model.bn(model.stem(x))))
        loss = (model.head(model.pool(model.stages[2](model.stages[1](y)))) ** 2).mean()
        nodes, before = list(nodes_below(loss)), y.numpy().copy()
        loss.backward(retain_graph=True)
        assert not any(node.may_overwrite for node in nodes)
        kept = [p.grad.copy() for p in model.parameters()]
        model.zero_grad()
        loss.backward()
    assert sum(node.may_overwrite for node in nodes if isinstance(node, ConvNormAct)) > 6
    np.testing.assert_array_equal(y.numpy(), before)
    for p, g in zip(model.parameters(), kept, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def nodes_below(loss):
    """Every node of a graph."""
    found, todo = {}, [loss._node]
    while todo:
        node = todo.pop()
        if isinstance(node, Function) and id(node) not in found:
            found[id(node)] = node
            todo += node.parents
    return found.values()


def test_a_gradient_is_a_writable_array_also_without_axes_and_after_broadcasts():
    for make in (lambda x: x * x, lambda x: x + x + x, lambda x: x.sum(), lambda x: -x):
        x = Tensor(3.0, requires_grad=True)
        make(x).backward()
        assert isinstance(x.grad, np.ndarray)
        x.grad[...] = 0
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    (x.sum() + x.T.sum()).backward()
    assert x.grad.flags.c_contiguous
    x.grad += 1


def test_gradients_accumulate_over_graphs():
    x = leaf(3.0)
    (x * x).backward()
    (2 * x).backward()
    assert x.grad == [8]


def test_only_tensors_that_ask_for_a_gradient_get_one():
    x, k = leaf(3.0), Tensor([2.0])
    y = x * k
    y.backward()
    assert k.grad is None
    assert y.grad is None
    assert not (k * k).requires_grad


def test_weights_of_the_output_entries():
    x = leaf(1.0, 2)
    (x * x).backward([1, 10])
    np.testing.assert_array_equal(x.grad, [2, 40])


# Random graphs against forward mode. Each step is (op, i, j): a node made from nodes i and j.
STEPS = st.lists(st.tuples(st.sampled_from("+*-"), st.integers(0), st.integers(0)), max_size=12)


def run_graph(steps, nodes, add, mul, neg):
    for op, i, j in steps:
        a, b = nodes[i % len(nodes)], nodes[j % len(nodes)]
        nodes.append({"+": add, "*": mul}[op](a, b) if op != "-" else neg(a))
    return nodes[-1]


def slope(values, steps, k, signed=True):
    """dL/d(leaf k) by dual numbers (value, derivative); unsigned: the sum of |every path|."""
    duals = [(v if signed else abs(v), np.ones_like(v) * (i == k)) for i, v in enumerate(values)]
    return run_graph(
        steps,
        duals,
        lambda a, b: (0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])),
        lambda a, b: (a[0] * b[0], a[0] * b[1] + b[0] * a[1]),
        lambda a: (-a[0], -a[1]) if signed else a,
    )[1]


@given(STEPS, st.integers(0, 2**31), st.integers(0, 3))
def test_random_graphs_agree_with_forward_mode(steps, seed, fixed):
    """Shared nodes, repeated uses, broadcasts, and one leaf (`fixed`) that wants no gradient."""
    rng = np.random.default_rng(seed)
    values = [rng.uniform(-1, 1, shape) for shape in ((3,), (), (3,))]
    leaves = [Tensor(v, requires_grad=i != fixed) for i, v in enumerate(values)]
    mean = lambda a, b: (a + b) * 0.5  # noqa: E731
    y = run_graph(steps, list(leaves), mean, lambda a, b: a * b, lambda a: -a)
    if not y.requires_grad:
        return
    y.backward(np.ones(y.shape))
    for k, (t, v) in enumerate(zip(leaves, values, strict=True)):
        expected, size = (slope(values, steps, k, signed) for signed in (True, False))
        got = np.zeros(v.shape) if t.grad is None else t.grad
        if k == fixed:
            assert t.grad is None
            continue
        # y[n] depends on entry n of a leaf with axes, and on the only entry of one without
        expected, size = (d if v.ndim else np.sum(d) for d in (expected, size))
        np.testing.assert_array_less(
            np.abs(got - expected), 1e-12 * (1 + np.broadcast_to(size, v.shape))
        )


# ---------------------------------------------------------------------------- deep and wide


def test_a_chain_of_100_000_operations_runs_and_is_deleted_without_recursion():
    x = y = leaf(1.0)
    for _ in range(100_000):
        y = -y
    y.backward()
    assert x.grad == [1]
    y = x
    for _ in range(100_000):
        y = -y
    del y  # without backward: the graph itself comes apart


def test_a_diamond_of_60_levels_takes_60_steps():
    x = y = leaf(1.0)
    nodes = []
    for _ in range(60):
        op = Twice()
        y = op(y) * 0.5
        y = (y + y) * 0.5
        nodes.append(op)
    y.backward()
    assert x.grad == [1]
    assert [op.runs for op in nodes] == [1] * 60


def test_4_000_leaves_on_one_node_are_swept_in_linear_time():
    leaves = [leaf(1.0) for _ in range(4_000)]
    ops.concatenate(leaves).sum().backward()
    assert all(x.grad == [1] for x in leaves)


# ----------------------------------------------------------------------- the graph's life


def test_a_second_backward_says_retain_graph():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        y.backward()
    assert x.grad == [4]


def test_a_second_loss_over_a_freed_graph_says_so_and_changes_nothing():
    x, w = leaf(2.0), leaf(3.0)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        (shared * w).backward()
    assert x.grad == [4]
    assert w.grad is None


def test_retain_graph_keeps_the_graph_and_gradients_accumulate():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == [12]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: (g, g), "gave 2 gradients for 1 inputs"),
        (lambda g: (), "gave 0 gradients for 1 inputs"),
        (lambda g: None, "gave None for input 0"),
        (lambda g: g[:1], r"float32 of shape \(1,\) for input 0, which is float32 of shape \(2,\)"),
        (lambda g: g.astype(np.float64), r"gave float64 of shape \(2,\) for input 0"),
    ],
)
def test_an_op_that_breaks_its_promise_is_named(wrong, message):
    x = leaf(1.0, 2)
    with pytest.raises(GraphError, match=f"Twice.backward.*{message}"):
        Twice(wrong)(x).sum().backward()
    assert x.grad is None


def test_an_op_serves_one_call():
    """A second one would overwrite what the first has saved."""
    op, x = Twice(), leaf(1.0)
    op(x)
    with pytest.raises(GraphError, match="Twice was called before"):
        op(x)


def test_an_op_may_not_change_the_dtype():
    class Creep(Function):
        def forward(self, x):
            return x * np.float64(2)

    with pytest.raises(DTypeError, match="Creep turned float32 into float64"):
        Creep()(leaf(1.0))


def test_backward_needs_a_graph_and_one_entry():
    with pytest.raises(GraphError, match="requires_grad=True"):
        Tensor(1.0).backward()
    with pytest.raises(GraphError, match=r"shape \(2,\).*sum\(\)"):
        (2 * leaf(1.0, 2)).backward()
    with pytest.raises(ShapeError, match=r"dL/dself must be float32 of shape \(2,\)"):
        leaf(1.0, 2).backward(np.ones(3, np.float32))
    with pytest.raises(DTypeError, match="got float64"):
        leaf(1.0, 2).backward(np.ones(2))


# ------------------------------------------------------------------------------ overwriting


def test_overwriting_a_leaf_between_forward_and_backward_raises():
    for w in (leaf(2.0), Parameter([2.0])):
        y = w * w
        w.data = [5]
        with pytest.raises(GraphError, match=r"overwritten.*before optimizer.step"):
            y.backward()
        assert w.grad is None


def test_overwriting_an_input_that_wants_no_gradient_raises_too():
    x, w = Tensor([2.0]), leaf(3.0)
    y = w * x
    x.data = [7]
    with pytest.raises(GraphError, match="overwritten"):
        y.backward()


@pytest.mark.parametrize(
    "view", [lambda t: t.reshape(1, 2), lambda t: t.T, lambda t: t[:1], lambda t: t[::-1]]
)
def test_what_is_made_without_a_graph_shares_no_memory(view):
    """Else writing to the source would spoil a graph through the view, and pruning could leak."""
    x, w = Tensor([2.0, 3]), leaf(1.0)
    y = w * view(x)
    x.data = [7, 7]
    y.sum().backward()
    assert w.grad in (5, 2)
    p = Parameter([1.0, 2])
    set_mask(p, [False, True])
    with no_grad():
        flat = view(p)
    flat.data = np.full(flat.shape, 9, np.float32)
    np.testing.assert_array_equal(p.data, [0, 2])


def test_a_result_cannot_be_written():
    y = 2 * leaf(1.0)
    with pytest.raises(GraphError, match=r"result of Mul.*detach"):
        y.data = [3]
    z = y.detach()
    z.data = [3]
    assert (y.data, z.data) == ([2], [3])


def test_data_is_read_only():
    for t in (leaf(1.0, 2), Parameter([1.0, 2]), Tensor([1.0, 2])):
        for array in (t.data, t.numpy(), *([] if t.requires_grad else [np.asarray(t)])):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        np.array(t.detach())[...] = 0  # a copy, as always with np.array
        np.testing.assert_array_equal(t.data, [1, 2])


def test_a_tensor_has_its_own_copy_of_the_users_array():
    a = np.ones(2, np.float32)
    x = Tensor(a)
    a[...] = 7
    assert (x.data == 1).all()
    g = np.ones(2, np.float32)
    x.data = g
    g[...] = 7
    assert (x.data == 1).all()


def test_the_condition_of_where_is_copied():
    condition = np.array([True, False])
    a = leaf(1.0, 2)
    y = ops.where(condition, a, 0.0)
    condition[...] = False
    y.sum().backward()
    np.testing.assert_array_equal(a.grad, [1, 0])


def test_assignment_keeps_dtype_and_shape():
    x = leaf(1.0, 2)
    x.data = [3, 4]
    assert x.dtype == np.float32
    with pytest.raises(DTypeError, match="got float64"):
        x.data = np.ones(2)
    with pytest.raises(ShapeError, match=r"got float32 of shape \(3,\)"):
        x.data = np.ones(3, np.float32)
    np.testing.assert_array_equal(x.data, [3, 4])


# ----------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2), np.float32(2), np.int64(2)])
def test_numbers_take_the_dtype_of_the_tensor(number):
    for dtype in (np.float32, np.float64):
        x = leaf(1.0, 2, dtype=dtype)
        for y in (number * x, x * number, x + number, number - x, number / x, x**number):
            assert isinstance(y, Tensor)
            assert y.dtype == dtype


def test_a_numpy_array_on_the_left_leaves_the_work_to_the_tensor():
    x = leaf(1.0, 2)
    a = np.array([3, 4], np.float32)
    for y in (a * x, a + x, a - x, a / x, a**x, a @ x):
        assert isinstance(y, Tensor)
        assert y.requires_grad


def test_lists_become_float32_and_float_arrays_keep_their_dtype():
    for data in ([1, 2], [1.5], 3, 2.5, [[True]], []):
        assert Tensor(data).dtype == np.float32
    assert Tensor(np.ones(2)).dtype == np.float64
    assert Tensor(np.float64(1)).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.float16, complex, ">f4", object])
def test_arrays_of_other_dtypes_are_refused(dtype):
    with pytest.raises(DTypeError, match=r"astype\(np.float32\)"):
        Tensor(np.ones(2).astype(dtype))


@pytest.mark.parametrize("data", ["abc", 1j, None, [None]])
def test_what_is_no_number_is_refused(data):
    with pytest.raises(DTypeError, match="holds numbers"):
        Tensor(data)


def test_a_tensor_of_a_tensor_is_refused():
    with pytest.raises(DTypeError, match="detach"):
        Tensor(leaf(1.0))


def test_float32_and_float64_do_not_mix():
    with pytest.raises(DTypeError, match="float32 and float64 do not mix"):
        leaf(1.0) * Tensor(np.ones(1))
    with pytest.raises(DTypeError, match="do not mix"):
        leaf(1.0) * np.ones(1)


def test_shapes_that_do_not_fit_name_the_op_and_both():
    with pytest.raises(ShapeError, match=r"Add: cannot work on shapes \(2,\) and \(3,\)"):
        leaf(1.0, 2) + leaf(1.0, 2, 3)


# ---------------------------------------------------------------------------------- no_grad


def test_no_grad_as_a_block_and_as_a_decorator():
    x = leaf(2.0)

    @no_grad()
    def square():
        return x * x

    with no_grad():
        assert not (x * x).requires_grad
        with no_grad():
            pass
        assert not (x * x).requires_grad
    for _ in range(2):
        assert not square().requires_grad
    assert (x * x).requires_grad


def test_no_grad_ends_with_an_exception():
    x = leaf(2.0)

    @no_grad()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * x).requires_grad


# ----------------------------------------------------------------------------------- pruning


def test_pruned_entries_are_positive_zero_whatever_is_written():
    p = Parameter([1.0, -2, 3, 4])
    set_mask(p, np.array([True, False, False, True]))

    def scale(array):
        array *= -1

    for write in (
        lambda: setattr(p, "data", [np.inf, np.inf, -np.inf, 5]),
        lambda: setattr(p, "data", [np.nan, np.nan, -np.nan, 5]),
        lambda: setattr(p, "data", [-1, -1, -0.0, 5]),
        lambda: p.update(scale),
        lambda: p.update(lambda array: array.fill(-7)),
    ):
        write()
        assert (p.data[1:3] == 0).all()
        assert not np.signbit(p.data[1:3]).any()
    np.testing.assert_array_equal(p.data, [-7, 0, 0, -7])
    np.testing.assert_array_equal(mask_of(p), [True, False, False, True])


def test_pruned_entries_have_gradient_zero_also_where_it_is_infinite():
    p = Parameter([4.0, 1])
    (p * p).sum().backward(retain_graph=False)
    set_mask(p, [True, False])
    np.testing.assert_array_equal(p.grad, [8, 0])  # the gradient that was there already
    for _ in range(2):
        with np.errstate(divide="ignore"):
            ops.sqrt(p).sum().backward()  # dy/dx = 1 / 0 at the pruned entry
        assert p.grad[1] == 0
    p = Parameter(3.0)
    set_mask(p, np.array(False))
    (p * p + p).backward()
    assert p.grad == 0
    assert p.item() == 0


def test_pruning_checks_the_mask_copies_it_and_can_be_undone():
    p = Parameter([1.0, 2])
    for mask in (np.array([1, 0]), np.array([True]), [True, True, False]):
        with pytest.raises(ShapeError, match=r"bool array of that shape; got"):
            set_mask(p, mask)
    mask = np.array([True, False])
    set_mask(p, mask)
    mask[...] = True
    p.data = [3, 3]
    np.testing.assert_array_equal(p.data, [3, 0])
    set_mask(p, None)
    assert mask_of(p) is None
    p.data = [3, 3]
    np.testing.assert_array_equal(p.data, [3, 3])


def test_pruning_between_forward_and_backward_raises():
    p = Parameter([1.0, 2])
    y = (p * p).sum()
    set_mask(p, [True, False])
    with pytest.raises(GraphError, match="overwritten"):
        y.backward()


# --------------------------------------------------------------------- as a Python object


@pytest.mark.parametrize("through", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_deepcopy_and_pickle_keep_value_gradient_and_mask(through):
    p = Parameter(np.arange(8, dtype=np.float32).reshape(4, 2), components=4)
    set_mask(p, np.arange(8).reshape(4, 2) % 3 > 0)
    (p * p).sum().backward()
    q = through(p)
    assert type(q) is Parameter
    assert q.components == 4
    assert q.requires_grad
    for a, b in ((p.data, q.data), (p.grad, q.grad), (mask_of(p), mask_of(q))):
        np.testing.assert_array_equal(a, b)
    q.data = np.ones((4, 2), np.float32)
    assert (q.data[~mask_of(p)] == 0).all()
    assert p.data[3, 1] == 7
    (q * q).sum().backward()

    layer = nn.Sequential(nn.QLinear(4, 8, rng=np.random.default_rng(0)), nn.BatchNorm2d(8))
    twin = through(layer.eval())
    x = Tensor(np.ones((2, 4), np.float32))
    np.testing.assert_array_equal(layer(x).data, twin(x).data)
    twin.modules[0].weight.data = np.zeros((4, 1, 2), np.float32)
    assert (layer.modules[0].weight.data != 0).any()
    assert not twin.training


def test_repr_says_value_dtype_and_origin():
    x = leaf(1.0, 2.5)
    assert repr(x) == "Tensor([1. , 2.5], float32, requires_grad)"
    assert repr(x * 2) == "Tensor([2., 5.], float32, from Mul)"
    assert repr(Tensor(np.ones(1))) == "Tensor([1.], float64)"
    assert repr(Parameter([1.0])) == "Parameter([1.], float32, requires_grad)"
    assert len(repr(Tensor(np.zeros((200, 200), np.float32)))) < 1000


def test_comparisons_give_plain_arrays_of_bool():
    x = leaf(1.0, 2, 3)
    for got in (
        x > 2,
        x == [0, 0, 3],
        x > Tensor([2.0, 2, 2]),
        3 <= x,  # noqa: SIM300
        x != [1, 2, 1],
    ):
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, [False, False, True])
    np.testing.assert_array_equal((x >= 2) & (x <= 2), [False, True, False])


def test_a_tensor_is_its_own_key():
    x, y = leaf(1.0), leaf(1.0)
    assert {x: 1, y: 2}[x] == 1


def test_iteration_over_rows_ends_and_carries_gradients():
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    rows = list(x)
    assert len(rows) == len(x) == 3
    (rows[0].sum() + (rows[2] * rows[2]).sum()).backward()
    np.testing.assert_array_equal(x.grad, [[1, 1], [0, 0], [8, 10]])


def test_a_tensor_without_axes_has_no_length_and_no_rows():
    with pytest.raises(TypeError, match="without axes"):
        len(Tensor(1.0))
    with pytest.raises(TypeError):
        list(Tensor(1.0))


def test_one_entry_is_a_number():
    for x in (Tensor(2.5), Tensor([2.5]), Tensor([[2.5]])):
        assert float(x) == x.item() == 2.5
        assert type(x.item()) is float
        assert bool(x)
        assert not bool(0 * x)
    for convert in (float, bool, Tensor.item):
        with pytest.raises((ValueError, QuatgradError)):
            convert(Tensor([1.0, 2]))


def test_sizes():
    x = Tensor(np.zeros((2, 3)))
    assert (x.shape, x.ndim, x.size, x.T.shape) == ((2, 3), 2, 6, (3, 2))


def test_numpy_functions_take_tensors_by_value():
    x = Tensor([1.0, 2])
    assert np.asarray(x, np.float64).dtype == np.float64
    np.testing.assert_allclose(x, [1, 2])


def test_dropping_a_tensor_needs_no_garbage_collector():
    gc.disable()
    try:
        x = leaf(1.0)
        y = (x * x + ops.relu(x)).sum()
        alive = weakref.ref(y), weakref.ref(y._node)
        del y
        assert [r() for r in alive] == [None, None]
    finally:
        gc.enable()


def test_a_quaternion_is_not_taken_for_a_plain_array():
    """Its product would be entry by entry, without a word."""
    q = quaternion.Quaternion(1, 2, 3, 4)
    with pytest.raises(DTypeError, match="Quaternion"):
        Tensor(np.ones(4, np.float32)) * q


def test_a_gradient_is_told_as_soon_as_it_is_whole():
    a, b, c = (Tensor([x], requires_grad=True) for x in (2.0, 3.0, 5.0))
    seen = []

    def completed(leaf):
        seen.append((leaf, leaf.grad.tolist(), [t.grad is not None for t in (a, b, c)]))

    ((a * b) * a * c).sum().backward(completed=completed)  # a^2 b c
    assert seen[0][0] is c
    assert seen[0][2] == [False, False, True]
    assert {id(leaf): g for leaf, g, _ in seen} == {id(a): [60], id(b): [20], id(c): [12]}
