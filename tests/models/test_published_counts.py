"""Every number of parameters that the two papers or their code give, for every network.

ResNets: "Large Neural Networks at a Fraction" (PMLR 233). LeNets and conv nets: its predecessor at
CODS-COMAD 2023 (doi:10.1145/3570991.3570997), which trained real conv nets on RGB and quaternion
ones on RGB with a fourth, grey channel, and kept the last layer real.
"""

import pytest
from blank_nets import blank

from quatgrad.paper.published import rows

RESNETS = {(r["model"], r["algebra"], int(r["num_classes"])): r for r in rows("param_counts")}
PREDECESSOR = {(r["model"], int(r["outputs"])): r for r in rows("predecessor_models")}
ALGEBRAS = pytest.mark.parametrize("algebra", ["real", "quaternion"])


def sizes(net):
    """Name -> number of entries."""
    return {name: p.size for name, p in net.named_parameters()}


def prunable(net):
    return sum(p.size for _, p in net.weight_parameters())


def test_there_are_twenty_resnets_and_seven_others():
    assert len(RESNETS) == 20
    assert len(PREDECESSOR) == 7


@pytest.mark.parametrize("key", RESNETS, ids=str)
def test_a_resnet_has_the_published_numbers_of_parameters(key):
    (model, algebra, classes), row = key, RESNETS[key]
    net = blank(model.lower(), algebra, classes, int(row["input_channels"]))
    weights, everything = dict(net.weight_parameters()), sizes(net)
    batch_norm = [n for n in everything if n.endswith(("scale", "shift"))]
    assert set(everything) == {*weights, *batch_norm, "head.bias"}
    counted = {
        "conv_weight": prunable(net) - weights["head.weight"].size,
        "bn_weight_and_bias": sum(everything[n] for n in batch_norm),
        "fc_weight": weights["head.weight"].size,
        "fc_bias": everything["head.bias"],
        "total_params": net.num_parameters(),
        "n_prunable_tensors": sum(w.components for w in weights.values()),
        "prunable_weights": prunable(net),
        "unprunable_params": net.num_parameters() - prunable(net),
    }
    assert counted == {name: int(row[name]) for name in counted}
    assert f"{net.num_parameters() / 1e6:.6f}" == row["total_millions"]
    assert f"{net.num_parameters() / 1e6:.2f}" == row["published_millions"]
    real = RESNETS[model, "real", classes]
    share = net.num_parameters() / int(real["total_params"])
    assert f"{share:.6f}" == row["quat_over_real_total"]
    assert prunable(net) / int(real["prunable_weights"]) == float(row["quat_over_real_prunable"])


def predecessor(key, algebra):
    """A network of the predecessor, on its images."""
    model, classes = key
    if model.startswith("lenet"):
        image = {"in_channels": 1, "image_size": (28, 28)}
    else:
        image = {"in_channels": 3 if algebra == "real" else 4}
    return blank(model.replace("_", "-"), algebra, classes, real_head=True, **image)


def convolutions(net):
    """How many weights and how many biases they have."""
    names = [n for n, w in net.weight_parameters() if w.ndim > 3]
    size = sizes(net)
    return sum(size[n] for n in names), sum(size[n.replace("weight", "bias")] for n in names)


@pytest.mark.parametrize("key", PREDECESSOR, ids=str)
@ALGEBRAS
def test_a_net_of_the_predecessor_has_its_numbers_of_parameters(key, algebra):
    net, row, short = predecessor(key, algebra), PREDECESSOR[key], algebra[:4]
    total = net.num_parameters()
    assert prunable(net) == int(row[f"{short}_weights"])
    assert total - prunable(net) == int(row[f"{short}_biases"])
    assert total == int(row[f"{short}_total"])
    if algebra == "quaternion":
        assert f"{total / int(row['real_total']):.5f}" == row["quat_over_real"]
    weights, biases = convolutions(net)
    assert weights == int(row[f"my_conv_{short}_weights"])
    assert weights + biases == int(row[f"my_conv_{short}_incl_bias"])


def within_the_digits_of(text, count):
    """Whether "2.42M" may stand for 2,425,930: rounded, or cut off as this one was."""
    unit = {"K": 1e3, "M": 1e6}[text[-1]]
    digits = len(text[:-1].partition(".")[2])
    return abs(count - float(text[:-1]) * unit) < unit / 10**digits


@pytest.mark.parametrize("key", [k for k in PREDECESSOR if k[1] == 10], ids=str)
@ALGEBRAS
def test_the_printed_table_of_the_predecessor_says_the_same(key, algebra):
    net, row = predecessor(key, algebra), PREDECESSOR[key]
    everything, in_convolutions = (row[f"paper_{c}_{algebra[:4]}"] for c in ("table1_all", "conv"))
    assert bool(everything) == (key[0] != "lenet_12")  # which is not in the table
    assert bool(in_convolutions) == key[0].startswith("conv")
    for printed, count in (
        (everything, net.num_parameters()),
        (in_convolutions, sum(convolutions(net))),
    ):
        assert not printed or within_the_digits_of(printed, count)
