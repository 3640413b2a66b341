"""Tasks: what is learned of texts, sentences, series, graphs, and by a loss of one's own."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blobs import blobs

from quatgrad import Tensor, data, lth, models, nn, no_grad, ops
from quatgrad.data import Dataset, Split, graph, text
from quatgrad.data.dataset import as_it_is
from quatgrad.errors import DataError, OptionError
from quatgrad.models.gcn import propagation
from quatgrad.network import Network, about, load
from quatgrad.optim import AdamW, clip_grad_norm
from quatgrad.task import CLASSES, Padded, Sentences, Task
from quatgrad.train import Recipe, evaluate, train

RNG = np.random.default_rng(5)


# ---------------------------------------------------------------------------------- texts


def cycle(count=2000, steps=8):
    """A text in which each character follows from the one before."""
    return text.as_dataset(text.Text("cycle", "abcdefgh" * (count // 8)), steps)


def test_windows_are_of_the_text_and_each_place_is_as_likely():
    T, whole = 8, text.Text("numbers", "".join(chr(200 + k) for k in range(1000)))
    dataset = text.as_dataset(whole, T)
    pieces, rng = dataset.train.images, np.random.default_rng(0)
    counts = np.zeros(1000, int)
    for _ in range(400):
        w = dataset.encode(dataset.augment(pieces, rng))
        assert w.shape == (len(pieces), T + 1)
        np.testing.assert_array_equal(np.diff(w, axis=1), 1)
        np.add.at(counts, w[:, 1:], 1)
    inside = counts[T : 4 * T * len(pieces)]
    assert inside.min() > 0.6 * inside.mean()
    assert not counts[900:].any()  # the last tenth is for testing
    tested = dataset.encode(dataset.test.images)
    assert sorted(tested[:, :-1].ravel()) == list(range(900, 900 + tested[:, :-1].size))


def test_a_piece_held_out_is_measured_where_no_other_piece_is():
    dataset = text.as_dataset(text.load(), 64).split_validation(0.2, 0)
    windows = dataset.encode(dataset.validation.images)
    trained = {tuple(row[k : k + 65]) for row in dataset.train.images for k in range(256)}
    assert windows.shape[1] == 65
    assert not trained & {tuple(w) for w in windows}
    assert len(dataset.subset(3, 0).train) == 3  # fewer than there are characters


def test_the_next_character_is_learned_and_the_loss_is_of_characters():
    dataset = cycle()
    net = models.create("gpt", "quaternion", 8, 1, 16, image_size=(8, 1), init="polar-glorot")
    before, _ = evaluate(net, dataset.test, dataset)
    assert before == pytest.approx(np.log(8), abs=0.1)
    how = {"optimizer": "adamw", "beta2": 0.99, "clip": 1.0}
    history = train(net, dataset, Recipe(12, 16, 0.02, **how), progress=False)
    assert history[-1].test_accuracy > 0.9
    assert history[-1].train_loss < 0.5
    with no_grad():
        w = dataset.test.images
        logits = net(w[:, :-1]).numpy().reshape(-1, 8)
    right = (logits.argmax(axis=1) == w[:, 1:].ravel()).mean()
    assert history[-1].test_accuracy == pytest.approx(right, abs=1e-9)


def test_a_text_that_is_too_short():
    with pytest.raises(DataError, match="500 characters is too short for windows of 64"):
        text.as_dataset(text.Text("short", "ab" * 250))


# ------------------------------------------------------- sentences and series of any length


def test_words_after_the_end_change_nothing():
    net = models.create("transformer", "quaternion", 2, 30, 16, image_size=(9, 1)).eval()
    words = RNG.integers(1, 30, (4, 9))
    words[0, 5:] = words[1, 2:] = 0
    task = Sentences(30)
    with no_grad():
        logits = task.output(net, words).numpy()
        alone = [task.output(net, row[row > 0][None]).numpy()[0] for row in words]
    np.testing.assert_allclose(logits, alone, atol=1e-5)


def test_steps_after_the_end_change_nothing():
    net = models.create("gru", "real", 3, 4, 8, image_size=(7, 1)).eval()
    x = RNG.standard_normal((3, 7, 1, 4)).astype(np.float32)
    x[0, 4:], x[1, :2], x[2, 6:] = 0, 0, 0  # zeros at the start are steps
    task = Padded()
    with no_grad():
        logits = task.output(net, x).numpy()
        for row, L in enumerate((4, 7, 6)):
            alone = net(Tensor(x[row : row + 1, :L])).numpy()[0]
            np.testing.assert_allclose(logits[row], alone, atol=1e-5)


def test_a_series_of_nothing_but_zeros_is_one_step_however_it_is_padded():
    net = models.create("lstm", "real", 3, 4, 8, image_size=(7, 1)).eval()
    with no_grad():
        some = [Padded().output(net, np.zeros((2, T, 1, 4), np.float32)).numpy() for T in (1, 7)]
    np.testing.assert_array_equal(*some)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_saved_network_of_series_predicts_what_was_measured(channels, tmp_path):
    x = RNG.standard_normal((60, 12, channels)).astype(np.float32)
    x = np.concatenate([x, -x])
    x[::3, -4:] = 0  # are steps: all series have one length
    x, y = (x[..., 0] if channels == 1 else x), np.arange(120) % 2
    whole = data.from_arrays(x, y, x, y, kind="series", name="waves")
    net = models.create("gru", "real", 2, whole.input_shape[2], 8, image_size=(12, 1)).eval()
    Network.of(net, whole).save(tmp_path / "net.safetensors")
    there = load(tmp_path / "net.safetensors")
    with no_grad():
        z = whole.task.output(net, whole.encode(whole.test.images)).numpy().astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(there.predict(whole.test.images), p, rtol=1e-5)


def test_a_network_of_padded_series_of_ones_own_is_told_their_lengths():
    class Last(nn.Module):
        def forward(self, x, lengths):
            last = np.take_along_axis(x.numpy()[:, :, 0], lengths[:, None, None] - 1, 1)
            return Tensor(last[:, 0])

    x = RNG.standard_normal((4, 5, 1, 4)).astype(np.float32)
    x[0, 3:] = x[1, 1:] = 0
    parts = Split(x, np.arange(4) % 4), Split(x, np.arange(4) % 4)
    whole = Dataset("own", *parts, tuple("abcd"), as_it_is, task=Padded())
    padded = about(Last(), whole).padded
    assert padded is True
    z = np.stack([x[0, 2, 0], x[1, 0, 0], x[2, 4, 0], x[3, 4, 0]]).astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Network(Last(), padded=padded).predict(x), p, rtol=1e-6)


# --------------------------------------------------------------------------------- graphs


def ring(count=60):
    """Two rings of nodes, a class each, whose features say little: neighbours say more."""
    half = count // 2
    labels = np.repeat([0, 1], half)
    ends = np.concatenate([np.roll(np.arange(half), -1), half + np.roll(np.arange(half), -1)])
    features = RNG.standard_normal((count, 8)).astype(np.float32)
    features[:, 0] += 2 * labels - 1
    order = RNG.permutation(count)
    parts = np.sort(order[:20]), np.sort(order[20:30]), np.sort(order[30:])
    edges = np.stack([np.arange(count), ends], 1)
    return graph.Graph("rings", features, labels, edges, *parts)


def test_nodes_are_learned_from_their_neighbours():
    dataset = graph.as_dataset(ring())
    assert dataset.input_shape == (1, 1, 8)
    net = models.create("gcn", "quaternion", 2, 8, 16)
    recipe = Recipe(60, 100, 0.02, optimizer="adam")
    last = train(net, dataset, recipe, progress=False)[-1]
    assert last.validation_accuracy >= 0.8
    assert last.test_accuracy is None
    whole, parts = (evaluate(net, dataset.test, dataset, size) for size in (100, 7))
    assert whole == pytest.approx(parts)


def test_a_graph_is_known_by_its_edges():
    one = ring()
    other = replace(one, edges=one.edges[1:])
    assert graph.as_dataset(one).fingerprint() == graph.as_dataset(replace(one)).fingerprint()
    assert graph.as_dataset(one).fingerprint() != graph.as_dataset(other).fingerprint()


# ---------------------------------------------------------------------------- one's own


def test_an_edge_counts_once_and_one_to_itself_not_at_all():
    once = propagation(np.array([(0, 1), (1, 2)]), 4)
    again = propagation(np.array([(2, 1), (0, 1), (1, 1), (1, 0), (3, 3), (1, 2)]), 4)
    for a, b in ((once, again), (once, propagation(np.array([(1, 2), (0, 1)]), 4))):
        x = np.eye(4, dtype=np.float32)
        dense = [ops.csr_matmul(m, Tensor(x)).numpy() for m in (a, b)]
        np.testing.assert_array_equal(*dense)
    assert dense[0][0, 0] == pytest.approx(1 / 2)
    assert dense[0][0, 1] == pytest.approx(1 / np.sqrt(6))


class Angle(Task):
    """Numbers to tell: the mean squared error, and how many are nearer than 0.2."""

    def loss(self, output, y):
        near = (abs(output.data - y) < 0.2).mean()
        return ops.mse_loss(output, Tensor(y)), near


def numbers(count=120, task=None):
    x = RNG.standard_normal((count, 1, 1, 4)).astype(np.float32)
    y = np.stack([x[:, 0, 0, 0] * 0.5, x[:, 0, 0, 1] - x[:, 0, 0, 2]], 1).astype(np.float32)
    parts = (Split(a, b) for a, b in ((x[:-40], y[:-40]), (x[-40:], y[-40:])))
    return Dataset("numbers", *parts, ("a", "b"), np.ascontiguousarray, task=task or Angle())


def linear(algebra, num_classes, input_shape, rng):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8, rng=rng), nn.Linear(8, 2, rng=rng))


def test_an_experiment_with_a_loss_of_ones_own(tmp_path):
    how = {"epochs": 40, "batch_size": 16, "lr": 0.03, "optimizer": "adam", "levels": 8}
    result = lth.run(dataset=numbers(), model=linear, algebra="real", keep=0.5, validation=0.2,
                     stop_accuracy=0.9, out=str(tmp_path), **how)  # fmt: skip
    scores = [row["validation_accuracy"] for row in result.table()]
    assert scores[0] > 0.8
    assert scores[-1] < scores[0]
    assert len(scores) < 9  # below 0.9 of the dense score
    assert result.table()[0]["multiply_adds"] == 48


def test_another_score_is_another_task_and_one_above_1_is_said(tmp_path):
    class Near(Angle):
        def loss(self, output, y):
            return ops.mse_loss(output, Tensor(y)), (abs(output.data - y) < 0.01).mean()

    class Far(Angle):
        def loss(self, output, y):
            return ops.mse_loss(output, Tensor(y)), -abs(output.data - y).mean()

    class Within(Near):
        def __init__(self, limit, weights=None):
            self.limit, self.weights = limit, weights

    near = numbers(task=Near())
    some = [Within(0.1), Within(0.2), Within(0.2, np.zeros(2)), Within(0.2, np.ones(2))]
    prints = [replace(near, task=task).fingerprint() for task in [*some, Near()]]
    assert len(set(prints)) == 5
    assert prints[3] == replace(near, task=Within(0.2, np.ones(2))).fingerprint()
    far = replace(near, task=Far())
    assert near.fingerprint() == replace(near, task=Near()).fingerprint() != far.fingerprint()
    with pytest.raises(OptionError, match=r"accuracy of numbers is -.* see Far\.loss"):
        lth.run(dataset=far, model=linear, algebra="real", epochs=1, levels=0,
                batch_size=16, lr=0.03, out=tmp_path)  # fmt: skip


def test_labels_of_ones_own_need_a_task_and_no_smoothing():
    with pytest.raises(DataError, match="training labels are float32"):
        numbers(task=CLASSES)
    dataset = numbers()
    assert len(dataset.subset(7, 0).train) == 7
    with pytest.raises(OptionError, match="label_smoothing"):
        train(linear("real", 2, (1, 1, 4), RNG), dataset, Recipe(1, 16, 0.1, label_smoothing=0.1))
    with pytest.raises(TypeError, match="Task does not define loss"):
        evaluate(linear("real", 2, (1, 1, 4), RNG), dataset.test, numbers(task=Task()))


@pytest.mark.parametrize(
    ("dataset", "model", "message"),
    [
        (cycle(), "fcn", "`model` fcn is not for windows; choose one of gpt"),
        (blobs(), "gpt", "`model` gpt is not for images; choose one of lenet"),
        (graph.as_dataset(ring()), "lenet-12", "choose one of gcn"),
    ],
)
def test_a_network_that_does_something_else(dataset, model, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        lth.run(dataset=dataset, model=model, levels=0, out=str(tmp_path))


def test_the_task_in_the_readme_runs_and_is_learned(tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    section = readme.partition("## Beyond images")[2].partition("\n## ")[0]
    (code,) = re.findall("```python\n(.*?)```", section, re.S)
    assert len(code.splitlines()) <= 40
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    score = {(network, level): float(accuracy) for network, level, _, accuracy in rows}
    assert score["real", "0"] > 0.6
    assert score["quaternion", "0"] > 0.4


# --------------------------------------------------------------------- tickets of all that


def test_tickets_of_a_text_and_the_real_network_of_equal_weights(tmp_path):
    lines = []
    how = {"epochs": 2, "batch_size": 16, "lr": 0.01, "optimizer": "adamw", "clip": 1.0}
    result = lth.run(
        lines.append, dataset=cycle(), model="gpt", algebra="all", width=16, levels=2,
        keep=0.6, stop_accuracy=0.0, out=str(tmp_path), real_parts="out", **how,
    )  # fmt: skip
    rows = {(row["network"], row["level"]): row for row in result.table()}
    dense = {name: rows[name, 0]["weights_total"] for name in ("real", "quaternion", "equal")}
    block = 3 * 64 + 256 + 2 * 256  # Q, K, V; out, which is real; up and down
    assert dense == {"real": 12_288, "quaternion": 4 * block, "equal": 48 * 8**2}
    assert any("wide with" in line for line in lines)
    assert rows["quaternion", 2]["weights_left"] == pytest.approx(0.36 * 4 * block, rel=0.02)
    assert rows["real", 0]["multiply_adds"] == 8 * 12_288
    assert rows["quaternion", 0]["multiply_adds"] == 8 * 4 * (4 * 3 * 64 + 256 + 4 * 2 * 256)
    ticket = result.ticket(network="equal", level=1)
    assert not {"tokens.weight", "places.weight"} & ticket.masks.keys()


def test_a_ticket_of_a_text_goes_on_with_the_same_bits_and_is_analysed(tmp_path):
    from quatgrad.lth.command.cli import main

    how = ["--dataset", "citizens", "--width", "16", "--epochs", "1", "--rewind-epoch", "0",
           "--algebra", "quaternion", "--subset", "40", "--out", str(tmp_path)]  # fmt: skip
    assert main([*how, "--levels", "1"]) == 0
    (run,) = tmp_path.glob("citizens-gpt-*")
    for verb in ("verify", "analyse", "show"):
        assert main([verb, str(run)]) == 0
    assert main(["export", str(run)]) == 2


# ------------------------------------------------------------------- the recipe's new options


def test_betas_and_the_greatest_length_of_the_gradients_are_those_of_the_recipe():
    dataset = blobs()
    recipe = Recipe(
        1, 48, 0.05, optimizer="adamw", weight_decay=0.1, clip=0.5, beta1=0.8, beta2=0.9
    )
    net, twin = (models.create("lenet-12", "real", 3, 4, image_size=(4, 4)) for _ in range(2))
    train(net, dataset, recipe, progress=False)
    optimizer = AdamW(twin.parameters(), (0.8, 0.9), weight_decay=0.1)
    ((x, y),) = data.batches(dataset, 48, 0, 0)
    ops.cross_entropy(twin(Tensor(x)), y).backward()
    assert clip_grad_norm(twin.parameters(), 0.5) > 0.5
    optimizer.step(0.05)
    for (name, a), (_, b) in zip(net.named_state(), twin.named_state(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)


@pytest.mark.parametrize("wrong", [{"beta1": 1.0}, {"beta2": -0.1}, {"clip": -1.0}])
def test_a_recipe_refuses_impossible_ones(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Recipe(1, 1, 0.1, **wrong)
