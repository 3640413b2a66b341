"""quatgrad-models: the table of networks, beside the published numbers of parameters."""

import json

import pytest

from quatgrad import models
from quatgrad.errors import OptionError
from quatgrad.paper import models_table
from quatgrad.paper.models_table import main, networks, published_networks


def test_every_network_is_there_in_both_algebras():
    table = networks()
    assert {(n.model, n.algebra) for n in table} == {
        (name, algebra) for name in models.MODELS for algebra in ("real", "quaternion")
    }
    assert len(published_networks()) == 20 + 14
    assert len({(n.dataset, n.model, n.algebra) for n in table}) == len(table)


def test_what_is_published_stands_beside_what_is_counted(capsys):
    assert main(["--model", "resnet18", "lenet-300-100", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["dataset"], r["algebra"], r["parameters"], r["published"]) for r in rows] == [
        ("cifar100", "real", 11_220_708, "11.22M"),
        ("cifar100", "quaternion", 2_812_452, "2.81M"),
        ("imagenet64", "real", 11_682_408, "11.68M"),
        ("imagenet64", "quaternion", 2_928_552, "2.93M"),
        ("mnist", "real", 266_610, "266.6K"),
        ("mnist", "quaternion", 67_710, "67.7K"),
    ]
    for real, quaternion in zip(rows[::2], rows[1::2], strict=True):
        assert real["multiply_adds"] == quaternion["multiply_adds"]
        assert real["activation_bytes"] == quaternion["activation_bytes"]
    assert rows[0]["multiply_adds"] == 556_058_624
    assert rows[0]["bytes"] == 4 * (11_220_708 + 9600)  # as many running statistics


def test_the_predecessors_table_is_for_ten_classes():
    published = {(n.model, n.dataset, n.algebra): n.published for n in published_networks()}
    assert published["conv-4", "cifar10", "quaternion"] == "609K"
    assert published["conv-4", "cifar100", "quaternion"] == ""


def test_other_classes_and_sizes(capsys):
    assert main(["--model", "resnet8", "lenet-12", "--classes", "20", "--image-size", "8"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "published" in head
    assert [line.split()[:4] for line in lines] == [
        ["lenet-12", "real", "8x8x4", "20"],
        ["lenet-12", "quaternion", "8x8x4", "20"],
        ["resnet8", "real", "8x8x4", "20"],
        ["resnet8", "quaternion", "8x8x4", "20"],
    ]
    assert lines[0].split()[4:6] == [str(256 * 12 + 12 * 20), str(256 * 12 + 12 * 20 + 32)]
    assert all(len(line) <= len(head) for line in lines)


def test_what_is_wrong_is_said_in_one_line(capsys):
    assert main(["--model", "resnet81"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("quatgrad-models: error: unknown model 'resnet81': did you mean 'resn")
    assert error.count("\n") == 1
    with pytest.raises(OptionError, match="`image_size` is at least 1 pixel; got 0"):
        networks(image_size=0)
    assert main(["--image-size", "0"]) == 2
    assert "--image-size is at least 1 pixel; got 0" in capsys.readouterr().err
    assert main(["--classes", "0"]) == 2
    assert "num_classes is at least 1" in capsys.readouterr().err


def test_lines_come_as_soon_as_their_network_is_measured():
    lines = models_table.text(
        {"published": "", **models_table.measure(n)} for n in networks(["lenet-12"])
    )
    assert next(lines).startswith("data")
    assert "lenet-12" in next(lines)
