"""Networks of sequences and graphs on a GPU: the numbers of the CPU, forwards and back."""

import cupy_on_cpu
import numpy as np
import pytest

from quatgrad import Tensor, models, use_backend
from quatgrad.arrays import asarray, to_numpy
from quatgrad.kernels.registry import kernel
from quatgrad.task import Padded, Sentences, Text

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 11, (3, 7))
TOKENS[0, 4:] = TOKENS[2, 1:] = 0
SERIES = RNG.standard_normal((3, 6, 1, 4)).astype(np.float32)
SERIES[1, 2:] = 0


def made(name, algebra):
    """The network, its task, a batch of it and what is true."""
    if name == "gpt":
        net = models.create("gpt", algebra, num_classes=11, image_size=(6, 1), width=16)
        return net, Text(6), TOKENS, TOKENS[:, :1]
    if name == "transformer":
        how = {"num_classes": 3, "in_channels": 11, "image_size": (7, 1), "width": 16}
        return models.create(name, algebra, **how), Sentences(11), TOKENS, np.arange(3)
    how = {"num_classes": 3, "in_channels": 4, "image_size": (6, 1), "width": 8}
    return models.create(name, algebra, **how), Padded(), SERIES, np.arange(3)


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["gpt", "transformer", "gru", "lstm", "bilstm"])
def test_a_step_is_that_of_the_cpu(solved, name, algebra):
    found = {}
    for backend in ("cupy", "numpy"):
        with use_backend(backend):
            net, task, x, y = made(name, algebra)
            net.eval()  # no dropout
            sums = asarray(np.zeros(2))
            task.step(net, asarray(x), asarray(y), sums).backward()
            found[backend] = (
                to_numpy(sums),
                {n: to_numpy(p.grad) for n, p in net.named_parameters()},
            )
    (sums, grads), (true, expected) = found["cupy"], found["numpy"]
    np.testing.assert_allclose(sums, true, rtol=1e-5)
    for parameter, grad in expected.items():
        scale = max(abs(grad).max(), 1e-3)
        np.testing.assert_allclose(grads[parameter], grad, rtol=0, atol=2e-5 * scale)


def test_a_gpt_writes_what_it_writes_on_the_cpu(stand_in):
    texts = []
    for backend in ("cupy", "numpy"):
        with use_backend(backend):
            net = made("gpt", "quaternion")[0].eval()
            texts.append(net.generate(asarray([1, 2, 3]), 9, np.random.default_rng(4)).tolist())
    assert texts[0] == texts[1]
    assert len(texts[0]) == 12


def test_entries_that_are_taken_often_get_a_sum_in_a_fixed_order(stand_in, monkeypatch):
    monkeypatch.delattr(cupy_on_cpu.cupy.add, "at")
    index = np.array([[0, 2, 2], [1, 2, 0]])
    g = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    x = Tensor(np.ones((3, 4), np.float32), requires_grad=True)
    (x[asarray(index)] * Tensor(g)).sum().backward()
    expected = np.zeros((3, 4))
    np.add.at(expected, index, g)
    np.testing.assert_allclose(to_numpy(x.grad), expected, rtol=1e-5)


def test_a_product_with_a_sparse_matrix(stand_in):
    values = np.array([1.0, 2, 3, 4], np.float32)
    columns, starts = np.array([1, 0, 2, 1]), np.array([0, 1, 1, 4])  # the second row is empty
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    with cupy_on_cpu.counted() as counts:
        y = kernel("csr_matmul")(*map(asarray, (values, columns, starts, x)))
    true = np.array([[0, 1, 0], [0, 0, 0], [2, 4, 3]], np.float32) @ x
    np.testing.assert_array_equal(to_numpy(y), true)
    assert counts["to_host"] <= 1  # how often the most frequent row is there


def test_few_plans_serve_rows_of_any_number(solved):
    rng = np.random.default_rng(2)
    w, g = (rng.standard_normal(s).astype(np.float32) for s in ((12, 8), (900, 8)))
    for rows in (513, 530, 570, 512, 3):
        x = rng.standard_normal((rows, 12)).astype(np.float32)
        y = kernel("matmul")(asarray(x), asarray(w))
        np.testing.assert_allclose(to_numpy(y), x @ w, rtol=1e-4, atol=1e-4)
        dw = kernel("matmul")(asarray(x).T, asarray(g[:rows]))
        np.testing.assert_allclose(to_numpy(dw), x.T @ g[:rows], rtol=1e-4, atol=1e-3)
    assert {p.x[0] for p in solved if p.w[3] == 12} == {576, 512, 3}
    assert {p.x[3] for p in solved if p.x[0] == 12} == {576, 512, 3}
    assert y.shape == (3, 8)


def test_sums_of_gradients_stay_bits_of_bfloat16(solved):
    from quatgrad.arrays import BFLOAT16_BITS
    from quatgrad.backend import use_precision

    with use_precision("bf16"):
        a, b = (kernel("cast_input")(asarray(np.full((2, 4), v, np.float32))) for v in (1.5, 2))
        total = kernel("add_to")(a, b)
    assert total.dtype == BFLOAT16_BITS
    assert to_numpy(kernel("upcast")(total)).tolist() == [[3.5] * 4] * 2
