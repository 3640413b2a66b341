"""Detection as a task: loss, mAP of all pictures, tickets through the command, mistakes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from quatgrad import Network, Tensor, boxes, data, lth, models, nn, sparse
from quatgrad.data import discs
from quatgrad.data.boxed import from_boxes
from quatgrad.data.pictures import read_picture
from quatgrad.errors import DivergedError, OptionError, ShapeError
from quatgrad.lth.command.cli import main
from quatgrad.lth.command.prediction import SURE
from quatgrad.models.detector import split
from quatgrad.task import BETA
from quatgrad.train import Recipe, evaluate, train

RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def dataset():
    return data.load("discs")


def network(algebra="quaternion", width=8, seed=0):
    return models.create("detector", algebra, 2, 4, width, image_size=(discs.H, discs.W), seed=seed)


def some(count, empty=()):
    """Noise, and boxes anywhere on it."""
    pictures, own = RNG.integers(0, 255, (count, 16, 24, 3)).astype(np.uint8), []
    for n in range(count):
        low = RNG.uniform(0, 8, (0 if n in empty else 2, 2))
        kind = RNG.integers(0, 2, (len(low), 1))
        own.append(np.concatenate([kind, low, low + RNG.uniform(4, 8, low.shape)], 1))
    return pictures, own


# --------------------------------------------------------------------------------- the task


def test_the_loss_is_of_pictures_and_does_not_depend_on_how_they_are_batched(dataset):
    net = network()
    whole, parts = (evaluate(net, dataset.test, dataset, size) for size in (80, 7))
    assert whole == pytest.approx(parts, rel=1e-5)
    some_alone = replace(dataset, test=dataset.test.take(np.arange(3)))
    assert evaluate(net, some_alone.test, some_alone, 1)[0] > 0


def test_the_loss_is_that_of_its_definition(dataset):
    task, y = dataset.task, dataset.test.labels[:5]
    output = Tensor(RNG.standard_normal((5, 6, 8, 8)), requires_grad=True)
    loss, _ = task.loss(output, y)
    scores, t = (a.astype(float) for a in split(output.numpy(), 2))
    heat, numbers, centres = boxes.targets(y, (6, 8), 2)
    p = 1 / (1 + np.exp(-scores))
    missed = (1 - p) ** 2 * np.log(p)
    wrong = (1 - heat.astype(float)) ** 4 * p**2 * np.log(1 - p)
    d = abs(t - numbers)
    off = np.where(d < BETA, d**2 / (2 * BETA), d - BETA / 2) * centres
    expected = (off.sum() - np.where(heat == 1, missed, wrong).sum()) / (5 * task.density)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert loss.dtype == np.float64
    loss.backward()
    assert (output.grad[..., 7] == 0).all()  # of no class
    assert np.isfinite(output.grad).all()


def test_the_score_is_the_map_of_all_pictures_and_not_a_mean_over_batches(dataset):
    net = network("real", seed=3)
    train(net, dataset.subset(60, 0), Recipe(4, 10, 0.01, optimizer="adam"), progress=False)
    _, score = evaluate(net, dataset.test, dataset, 10)
    x = dataset.encode(dataset.test.images)
    found = dataset.task.found(net.eval()(Tensor(x)))
    assert score == pytest.approx(boxes.mean_average_precision(found, dataset.test.labels, 2))
    assert 0 < score < 1


def test_boxes_are_learned(dataset):
    recipe = Recipe(14, 16, 0.02, optimizer="adamw", clip=10.0)
    history = train(network(), dataset.subset(200, 0), recipe, progress=False)
    assert history[-1].test_accuracy > 0.4
    assert history[0].test_accuracy < 0.2
    assert history[-1].train_loss < history[0].train_loss / 2


def test_a_network_of_ones_own_must_give_a_map(tmp_path):
    def flat(algebra, num_classes, input_shape, rng):
        return nn.Sequential(nn.Flatten(), nn.Linear(48 * 64 * 4, 2, rng=rng))

    with pytest.raises(ShapeError, match=r"maps pictures \(2, 48, 64, 4\) to \(2, 6, 8, 8\)"):
        lth.run(dataset="discs", model=flat, algebra="real", levels=0, epochs=2, out=str(tmp_path))


def test_networks_that_classify_are_refused_and_the_other_way_round(tmp_path):
    with pytest.raises(OptionError, match="`model` resnet8 is not for pictures with boxes; choose"):
        lth.run(dataset="discs", model="resnet8", levels=0, out=str(tmp_path))
    with pytest.raises(OptionError, match="`model` detector is not for images"):
        lth.run(dataset="digits", model="detector", levels=0, out=str(tmp_path))


# -------------------------------------------------------------------------- what may go wrong


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_pictures_without_boxes_and_batches_larger_than_the_set(size):
    few = from_boxes("few", ("a", "b"), some(5, empty=(0, 1, 2, 3)), some(4, empty=(0, 2)))
    net = models.create("detector", "quaternion", 2, 4, 8, image_size=(16, 24))
    last = train(net, few, Recipe(2, size, 0.01, optimizer="adam"), progress=False)[-1]
    assert np.isfinite(last.train_loss)
    assert 0 <= last.test_accuracy <= 1


def test_one_picture_with_boxes_of_one_class():
    pictures, own = some(1)
    own[0][:, 0] = 1
    one = from_boxes("one", ("a", "b"), (pictures, own), (pictures, own))
    net = models.create("detector", "real", 2, 4, 16, image_size=(16, 24))
    last = train(net, one, Recipe(60, 4, 0.02, optimizer="adam"), progress=False)[-1]
    assert last.train_loss < 0.5


def test_a_test_of_one_picture(tmp_path):
    one = from_boxes("single", ("a", "b"), some(4), some(1))
    how = {"preset": "bccd", "width": 8, "algebra": "quaternion", "levels": 1, "epochs": 2}
    assert len(lth.run(dataset=one, model="detector", out=str(tmp_path), **how).table()) == 2


def test_training_that_diverges_is_said(dataset):
    recipe = Recipe(3, 16, 1e6, optimizer="sgd")
    with pytest.raises(DivergedError, match="training diverged"):
        train(network(), dataset.subset(32, 0), recipe, progress=False)


def test_smoothing_is_of_classes(dataset):
    recipe = Recipe(1, 16, 0.01, label_smoothing=0.1)
    with pytest.raises(OptionError, match="label_smoothing"):
        train(network(), dataset.subset(32, 0), recipe, progress=False)


# ------------------------------------------------------------------------------------ tickets


def test_tickets_of_a_detector_and_the_real_network_of_equal_weights(tmp_path):
    lines = []
    result = lth.run(
        lines.append, dataset="discs", model="detector", preset="bccd", algebra="all",
        width=8, levels=2, epochs=2, subset=40, stop_accuracy=0.0, out=str(tmp_path),
        real_parts="stem", quiet=True,
    )  # fmt: skip
    rows = {(row["network"], row["level"]): row for row in result.table()}
    assert {network for network, _ in rows} == {"real", "quaternion", "equal"}
    stem, rest = 9 * 4 * 8, (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16) + (
        9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) + 2 * 9 * 32 * 32 + 32 * 8  # fmt: skip
    assert rows["real", 0]["weights_total"] == stem + rest
    assert rows["quaternion", 0]["weights_total"] == stem + rest // 4
    assert rows["equal", 0]["weights_total"] == pytest.approx(stem + rest // 4, rel=0.1)
    assert rows["quaternion", 2]["weights_left"] == pytest.approx(
        0.36 * (stem + rest // 4), rel=0.02
    )
    assert rows["real", 0]["multiply_adds"] > 1000
    assert any("40 training, 80 test pictures with boxes" in line for line in lines)
    assert sum("  test mAP at 0.5 " in line for line in lines) == len(rows)
    picture = result.run.picture(result.run.curves)
    assert picture.axes[0].get_ylabel() == "test mAP at 0.5"
    assert not any(name.endswith("bias") for name in result.ticket(network="real", level=1).masks)


def test_a_run_of_the_command_goes_on_and_every_verb_answers(tmp_path, capsys):
    how = ["--dataset", "discs", "--width", "8", "--epochs", "2", "--subset", "40",
           "--algebra", "quaternion", "--validation", "0.2", "--out", str(tmp_path)]  # fmt: skip
    assert main(["plan", *how, "--levels", "1"]) == 0
    assert main([*how, "--levels", "1"]) == 0
    assert main([*how, "--levels", "2"]) == 0
    (run,) = tmp_path.glob("discs-detector-*")
    for verb in ("verify", "analyse", "show", "plot"):
        assert main([verb, str(run)]) == 0, verb
    assert main(["list", "--out", str(tmp_path)]) == 0
    assert (run / "accuracy.png").stat().st_size > 10_000
    capsys.readouterr()
    assert main(["evaluate", str(run), "--dataset", "discs"]) == 2
    assert "no classes, so none is taken for another" in capsys.readouterr().err


def test_boxes_are_found_by_a_run_a_file_a_ticket_and_what_is_exported(tmp_path, capsys, dataset):
    how = {"width": 8, "epochs": 6, "levels": 1, "algebra": "quaternion", "out": tmp_path}
    result = lth.run(dataset="discs", preset="bccd", **how)
    run, net = str(result.run.path), result.network(level=1)
    pictures = [str(tmp_path / f"{k}.png") for k in range(3)]
    for path, image in zip(pictures, dataset.test.images, strict=False):
        Image.fromarray(image).save(path)
    found = net.find(dataset.test.images[:3])
    for row, path in zip(found, pictures, strict=True):
        boxes = json.loads(told(capsys, "predict", run, "--level", "1", path, "--json"))
        (image,) = boxes["images"]
        assert [box["score"] for box in image["boxes"]] == row[row[:, 1] >= SURE, 1].tolist()
        assert {box["class"] for box in image["boxes"]} <= {"disc", "square"}
    # Boxes of a picture that had to be resized are where they are in that picture.
    large = Image.fromarray(dataset.test.images[0].repeat(2, axis=0).repeat(3, axis=1))
    large.save(tmp_path / "large.png")
    boxes = json.loads(told(capsys, "predict", run, "--level", "1",
                            str(tmp_path / "large.png"), "--json"))  # fmt: skip
    seen = [box["box"] for box in boxes["images"][0]["boxes"]]
    (small,) = net.find(read_picture(tmp_path / "large.png", 3, (48, 64)).pixels[None])
    there = small[small[:, 1] >= SURE, 2:] * (3, 2, 3, 2)
    assert len(seen) == len(there) > 0
    np.testing.assert_allclose(seen, there, atol=0.06)
    lines = told(capsys, "predict", run, "--level", "1", pictures[0])
    assert f"{(found[0, :, 1] >= SURE).sum()} found" in lines

    ticket = ["--file", str(tmp_path / "d.ticket")]
    assert "80 test pictures with boxes: " in told(capsys, "export", run, *ticket)
    assert "mAP as trained" in told(capsys, "export", run, "--to", "c", "--weights", "int8",
                                    "--file", str(tmp_path / "d.c"))  # fmt: skip
    assert "a map of cells" in (tmp_path / "d.h").read_text()
    small = sparse.prepared(sparse.load(tmp_path / "d.ticket"))
    np.testing.assert_allclose(small.find(dataset.test.images[:3])[..., 1],
                               result.network().find(dataset.test.images[:3])[..., 1],
                               atol=1e-4)  # fmt: skip
    assert "unbeaten" in told(capsys, "deploy", run)
    with pytest.raises(OptionError, match="or of a detector network"):
        net.predict(dataset.test.images[:1])
    lenet = Network(models.create("lenet-300-100", image_size=(48, 64)), ("disc", "square"))
    with pytest.raises(ShapeError, match="a detector of 2 classes maps pictures"):
        lenet.find(np.zeros((1, 48, 64, 4), np.float32))


def told(capsys, *arguments):
    assert main([*arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_command_without_data_says_where_to_get_it(tmp_path, capsys):
    assert main(["--preset", "bccd", "--data-dir", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "get the folder BCCD of github.com/Shenggan/BCCD_Dataset" in capsys.readouterr().err
