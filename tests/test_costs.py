"""Costs, against counts done by hand and by brute force."""

import numpy as np
import pytest
from blank_nets import blank

from quatgrad import Network, Tensor, models, nn, no_grad
from quatgrad.costs import costs, summary
from quatgrad.errors import GraphError, OptionError
from quatgrad.lth import full_masks, prune_by_magnitude
from quatgrad.lth.ticket.mask_constraint import set_mask

ALGEBRAS = pytest.mark.parametrize("algebra", ["real", "quaternion"])
RNG = np.random.default_rng(0)


def numbers(net):
    return {n: t.numpy().copy() for n, t in net.named_state()}


def test_lenet_by_hand():
    c = costs(blank("lenet-300-100", "real", 10, 1, image_size=(28, 28)), (28, 28, 1))
    assert c.weights == 784 * 300 + 300 * 100 + 100 * 10
    assert c.parameters == c.weights + 300 + 100 + 10
    assert c.multiply_adds == c.weights
    assert c.activation_bytes == 4 * (784 + 300 + 100)  # what each matrix product saves
    assert c.bytes == 4 * c.parameters
    assert set(c.uses.values()) == {1}


def test_a_quaternion_lenet_multiplies_each_weight_four_times_but_those_of_the_real_head():
    real, quaternion = (
        costs(blank("lenet-300-100", a, 10, 1, image_size=(28, 28)), (28, 28, 1))
        for a in ("real", "quaternion")
    )
    assert quaternion.weights == 196 * 75 * 4 + 75 * 25 * 4 + 100 * 10
    assert list(quaternion.uses.values()) == [4, 4, 1]
    assert quaternion.multiply_adds == real.multiply_adds
    assert quaternion.activation_bytes == real.activation_bytes


@ALGEBRAS
def test_resnet18_by_hand(algebra):
    c = costs(blank("resnet18", algebra, 100), (32, 32, 4))
    pixels = [1024, 1024, 256, 64, 16]  # of the stem's output and of each stage's
    stages = [
        4 * 9 * 64 * 64,
        9 * 64 * 128 + 3 * 9 * 128 * 128 + 64 * 128,
        9 * 128 * 256 + 3 * 9 * 256 * 256 + 128 * 256,
        9 * 256 * 512 + 3 * 9 * 512 * 512 + 256 * 512,
    ]
    by_hand = sum(n * w for n, w in zip(pixels, [9 * 4 * 64, *stages], strict=True)) + 512 * 100
    assert c.multiply_adds == by_hand
    four = 4 if algebra == "quaternion" else 1
    assert c.uses["stem.weight"] == 1024 * four
    assert c.uses["stages.3.0.conv1.weight"] == 16 * four
    assert c.uses["head.weight"] == four


@ALGEBRAS
@pytest.mark.parametrize(("name", "gates"), [("gru", 3), ("lstm", 4), ("bilstm", 4)])
def test_a_recurrent_layer_multiplies_each_weight_at_each_step(name, gates, algebra):
    net = models.create(name, algebra, 2, 8, 12, image_size=(1, 7))
    c = costs(net, (1, 7, 8))
    once, H = (4 if algebra == "quaternion" else 1), 12
    both, second = (2, 2 * H) if name == "bilstm" else (1, H)
    by_hand = 7 * both * gates * ((8 * H + H * H) + (second * H + H * H)) + second * 2
    assert c.multiply_adds == by_hand
    assert {n: u for n, u in c.uses.items() if n != "head.weight"} == {
        n: 7 * once for n in c.uses if n != "head.weight"
    }


def test_a_convolution_over_time_is_counted_at_each_step():
    net = models.create("fcn", "quaternion", 2, 8, 8, image_size=(1, 9))
    c = costs(net, (1, 9, 8))
    assert c.multiply_adds == 9 * (8 * 8 * 8 + 5 * 8 * 16 + 3 * 16 * 8) + 8 * 2


def places(H, W, size, stride, padding):
    """Where the window can stand on the padded map, counted one by one."""
    rows = range(-padding, H + padding - size + 1, stride)
    columns = range(-padding, W + padding - size + 1, stride)
    return sum(1 for _ in rows for _ in columns)


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (2, 3, 1)]
)
@ALGEBRAS
def test_a_convolution_multiplies_each_weight_in_every_output_pixel(algebra, size, stride, padding):
    kind = nn.Conv2d if algebra == "real" else nn.QConv2d
    layer = kind(8, 12, size, stride, padding, rng=RNG)
    pixels = places(7, 9, size, stride, padding)
    c = costs(layer, (7, 9, 8))
    assert c.uses == {"weight": pixels * layer.weight.components}
    assert c.multiply_adds == pixels * 8 * 12 * size**2


def test_a_transposed_convolution_multiplies_each_weight_with_every_input_pixel():
    layer = nn.QConvTranspose2d(8, 12, 3, stride=2, rng=RNG)
    assert costs(layer, (4, 5, 8)).uses == {"weight": 4 * 4 * 5}


def test_a_frozen_layer_costs_what_it_does():
    net = models.create("resnet8", "quaternion", width=8, image_size=(8, 8))
    free = costs(net, (8, 8, 4))
    for p in net.parameters():
        p.requires_grad = False
    assert costs(net, (8, 8, 4)) == free
    assert not any(p.requires_grad for p in net.parameters())


def test_a_shared_layer_of_a_sham_or_of_time_is_counted_at_each_use():
    sham = models.create("lenet-12", "plus", width=16, image_size=(2, 2), num_classes=16)
    layer = sham.modules[1]
    assert layer.weight.shape == (4, 4, 4)
    twice = nn.Sequential(nn.Flatten(), layer, layer)
    assert costs(twice, (2, 2, 4)).multiply_adds == 2 * 4 * layer.weight.size
    gru = nn.QGRU(8, 8, rng=0)
    once, both = (costs(nn.Sequential(*[gru] * n), (5, 8)).multiply_adds for n in (1, 2))
    assert both == 2 * once > 0


def test_a_shared_layer_is_counted_wherever_it_stands_and_stored_once():
    layer = nn.Linear(5, 5, bias=False, rng=RNG)
    c = costs(nn.Sequential(layer, nn.ReLU(), layer), (5,))
    assert c.uses == {"0.weight": 2}
    assert c.multiply_adds == 50
    assert (c.weights, c.parameters, c.bytes) == (25, 25, 100)


@ALGEBRAS
def test_a_pruned_net_does_only_what_its_weights_alive_do(algebra):
    net = models.create("resnet8", algebra, 100, width=8, seed=1)
    weights = dict(net.weight_parameters())
    dense, masks = costs(net, (8, 8, 4)), full_masks(weights)
    assert costs(net, (8, 8, 4), masks) == dense
    for _ in range(3):
        masks = prune_by_magnitude(weights, masks, 0.5)
    for name, w in weights.items():
        set_mask(w, masks[name])
    c = costs(net, (8, 8, 4), masks)
    gone = sum((~m).sum() for m in masks.values())
    assert c.weights == dense.weights - gone
    assert c.parameters == dense.parameters - gone
    assert c.multiply_adds == sum(m.sum() * c.uses[n] for n, m in masks.items())
    assert c.multiply_adds < 0.2 * dense.multiply_adds
    assert c.activation_bytes == dense.activation_bytes


def test_stored_bytes_are_survivors_and_a_bit_each_or_dense_where_that_is_less():
    net = nn.Sequential(nn.Linear(10, 9, rng=RNG), nn.BatchNorm2d(9))
    other = 4 * (9 + 4 * 9)  # bias; scale, shift, running mean and variance
    mask = np.zeros((10, 9), bool)
    for alive, stored in ((90, 360), (88, 360), (87, 360), (86, 344 + 12), (1, 4 + 12), (0, 12)):
        mask[:] = (np.arange(90) < alive).reshape(mask.shape)
        assert costs(net, (10,), {"0.weight": mask}).bytes == other + stored


@ALGEBRAS
def test_activation_bytes_are_what_the_graph_of_training_holds(algebra):
    """Per image, the memory that a batch's graph holds; of a conv net, whose ops save no sums."""
    net = models.create("conv-2", algebra, 8, width=8, image_size=(6, 6))
    x = Tensor(np.zeros((5, 6, 6, 4), np.float32))
    y, own, held = net(x), {id(p._array) for p in net.parameters()}, {}
    todo = [y._node]
    while todo:
        node = todo.pop()
        held |= {id(root(a)): a.nbytes for a in node.saved}
        todo += [p for p in node.parents if p is not None and not isinstance(p, Tensor)]
    total = sum(size for key, size in held.items() if key not in own)
    assert total == 5 * costs(net, (6, 6, 4)).activation_bytes


def root(a):
    return a if a.base is None else root(a.base)


def test_resnet8_keeps_what_each_layer_says_it_needs():
    width, C = [16, 32, 64], 4
    maps = [16**2, 8**2, 4**2]
    kept = C * maps[0]  # the image
    kept += 2 * 16 * maps[0]  # stem: what batch norm gets, and what ReLU gives
    for n, w in zip(maps, width, strict=True):
        kept += 4 * w * n  # a block: two batch norms, two ReLUs
        kept += w * n if w > 16 else 0  # batch norm of the way around
    kept += 64  # what the head multiplies
    assert costs(blank("resnet8"), (16, 16, 4)).activation_bytes == 4 * kept


def test_the_model_is_as_before():
    net = models.create("resnet8", "quaternion", width=8)
    net.stages[0].eval()
    before, modes = numbers(net), [m.training for _, m in net.named_modules()]
    costs(net, (8, 8, 4))
    assert [m.training for _, m in net.named_modules()] == modes
    assert set(modes) == {True, False}
    for name, a in numbers(net).items():
        np.testing.assert_array_equal(a, before[name])
    assert all(p.grad is None for p in net.parameters())


def test_float64_takes_eight_bytes():
    layer = nn.Linear(3, 2, bias=False, rng=RNG)
    layer.weight._array = layer.weight._array.astype(np.float64)
    assert costs(layer, (3,)).bytes == 48


def test_weights_without_a_mask_count_whole():
    net = nn.Sequential(nn.Linear(4, 3, rng=RNG), nn.Linear(3, 2, rng=RNG))
    masks = {"0.weight": np.eye(4, 3, dtype=bool)}
    assert costs(net, (4,), {}) == costs(net, (4,))
    assert costs(net, (4,), masks).weights == 3 + 6
    with pytest.raises(OptionError, match=r"mask 0\.wieght of .*: did you mean '0\.weight'"):
        costs(net, (4,), {"0.wieght": masks["0.weight"]})
    assert " 3 " in summary(net, (4,), masks)


def test_a_layer_in_two_places_has_one_row():
    layer = nn.Linear(4, 4, rng=RNG)
    rows = summary(nn.Sequential(layer, nn.ReLU(), layer), (4,)).splitlines()
    assert len(rows) == 3
    assert rows[1].split()[-3:] == rows[2].split()[-3:] == ["16", "4", "32"]


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(OptionError, match="ReLU has no parameters: nothing to count"):
        costs(nn.ReLU(), (3,))
    with pytest.raises(OptionError, match=r"costs: \w+ goes into \w+, whose multiplications are"):
        costs(nn.RotationLinear(8, 8, rng=RNG), (8,))
    with no_grad(), pytest.raises(GraphError, match=r"outside no_grad\(\)"):
        costs(nn.Linear(3, 2, rng=RNG), (3,))
    pair = nn.Linear(3, 2, rng=RNG)
    pair.forward = lambda x: (x, x)
    with pytest.raises(OptionError, match="costs: forward of Linear gives a tuple"):
        costs(pair, (3,))


@pytest.mark.parametrize("f", [costs, summary])
def test_what_does_not_fit_is_refused(f):
    net = nn.Linear(3, 2, rng=RNG)
    for mask in np.ones(10**6, bool), np.ones((2, 3), bool), True:
        with pytest.raises(OptionError, match=r"the mask weight of shape .* fits no weight"):
            f(net, (3,), {"weight": mask})
    with pytest.raises(OptionError, match=r"costs: masks are a dict, .* got Network"):
        f(net, (3,), Network(net))
    with pytest.raises(OptionError, match=r"costs: a model is a Module, .* got Network"):
        f(Network(net), (3,))
    for shape in 3, (3.0,), (-1, 3), (True, 3), "3":
        with pytest.raises(OptionError, match=r"costs: an input shape is \(H, W, C\), from 1 on"):
            f(net, shape)


# ------------------------------------------------------------------------------------ summary


@ALGEBRAS
@pytest.mark.parametrize("name", ["lenet-12", "conv-2", "resnet8", "resnet50"])
def test_the_summary_adds_up_to_the_costs(name, algebra):
    net = blank(name, algebra, 10, 4, image_size=(8, 8))
    c = costs(net, (8, 8, 4))
    head, *rows, total = (line.split() for line in summary(net, (8, 8, 4)).splitlines())
    assert head[:3] == ["layer", "kind", "output"]
    columns = [[int(row[-i].replace(",", "")) for row in [*rows, total]] for i in (1, 2, 3)]
    assert all(sum(column[:-1]) == column[-1] for column in columns)
    assert [column[-1] for column in columns] == [
        c.multiply_adds, c.parameters - c.weights, c.weights
    ]  # fmt: skip
    assert len(rows) == len({n.rpartition(".")[0] for n, _ in net.named_parameters()})


def test_the_summary_of_a_pruned_network_counts_what_is_alive():
    net = models.create("resnet8", "quaternion", width=8)
    masks = {n: np.zeros(w.shape, bool) for n, w in net.weight_parameters()}
    masks["stem.weight"][0, 0, 0] = True
    c = costs(net, (32, 32, 4), masks)
    lines = summary(net, (32, 32, 4), masks).splitlines()
    stem = lines[1].split()
    assert stem[:7] == ["stem", "QConv2d", "32", "x", "32", "x", "8"]
    assert stem[7:] == ["2", "0", f"{2 * 4 * 32 * 32:,}"]
    assert lines[-1].split()[-1] == f"{c.multiply_adds:,}"
    assert len({len(line) for line in lines}) == 1
