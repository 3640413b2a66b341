"""Measure networks of sequences beside PyTorch: a GRU, an LSTM, a training step of a small GPT.

    python experiments/bench.py --suite sequences --quick      a look
    python experiments/bench.py --suite sequences --record     to results/bench-sequences.json

A layer has 128 features, over 100 steps of 32 sequences, forward and backward; a step of the GPT
(4 layers, 128 features, 12 texts of 64 characters) is that of every training, with clipping, AdamW
and the sums of losses and of right answers. The rival is PyTorch's own `nn.GRU`, or a GPT with its
fused attention; of quaternions the same with the weights expanded at every call, as published.
Rounds and processes as in bench.py.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bench
import numpy as np
from bench import OURS, QUICK_ROUNDS, ROUNDS, Call, Case, about, normal, start_worker

from quatgrad import Tensor, generator, models, nn
from quatgrad.task import Text
from quatgrad.train import Recipe, TrainStep

SCRIPT = Path(__file__).resolve()
TOKENS, STEPS, TEXTS = 65, 64, 12
#: name -> its case, for either algebra.
CASES: dict[str, Case] = {
    "gru": {"what": "gru", "sizes": [32, 100, 128]},
    "lstm": {"what": "lstm", "sizes": [32, 100, 128]},
    "gpt step": {"what": "gpt", "sizes": [TEXTS, STEPS, 128]},
}
BETAS, DECAY, CLIP = (0.9, 0.99), 0.1, 1.0


def sequence_call(engine: str, what: str, algebra: str, sizes: Sequence[int]) -> Call:
    """What is timed: returns the states of a layer, or the loss of a step."""
    N, T, C = sizes
    if what == "gpt":
        net = models.create("gpt", algebra, TOKENS, 1, C, image_size=(1, T))
        tokens = generator(0, "tokens").integers(0, TOKENS, (N, T + 1))
        return (torch_step if engine == "torch" else step)(net, tokens)
    kinds = {"gru": (nn.GRU, nn.QGRU), "lstm": (nn.LSTM, nn.QLSTM)}
    layer = kinds[what][algebra == "quaternion"](C, C, rng=0)
    return (torch_layer if engine == "torch" else layer_call)(layer, normal(N, T, C))


def layer_call(layer: Any, x: np.ndarray) -> Call:
    """Forward and backward of ours, with g = 1."""
    x, g = Tensor(x, requires_grad=True), np.ones((*x.shape[:2], x.shape[2]), np.float32)

    def call() -> Any:
        for t in (x, *layer.parameters()):
            t.grad = None
        y = layer(x)
        y.backward(g)
        return y

    return call


def step(net: Any, tokens: np.ndarray) -> Call:
    """A step of ours."""
    b1, b2 = BETAS
    how = {"optimizer": "adamw", "beta1": b1, "beta2": b2, "weight_decay": DECAY, "clip": CLIP}
    recipe, labels = Recipe(1, TEXTS, bench.LR, **how), np.zeros(len(tokens), np.int64)
    step = TrainStep(net, recipe.make_optimizer(net), recipe, Text(STEPS))

    def call() -> Any:
        step.sums[:] = 0
        step(tokens, labels, bench.LR)
        return step.sums[0] / tokens[:, 1:].size

    return call


# ------------------------------------------------------------------- the same in PyTorch


def leaf_maker(leaves: list[Any]) -> Any:
    """f(parameter) -> a function that gives its value, (Q, P) if it is a weight, expanded."""
    import torch

    def make(p: Any) -> Any:
        parts = p.numpy() if p.components == 4 else p.numpy()[None]
        turned = [torch.tensor(a.T.copy() if a.ndim == 2 else a, requires_grad=True) for a in parts]
        leaves.extend(turned)
        if len(turned) == 1:
            return lambda: turned[0]
        r, i, j, k = turned

        def expanded(gates: int = 1) -> Any:
            rows = (r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r)
            W = torch.cat([torch.cat(row, dim=1) for row in rows])  # (4 gates Q, 4P)
            return W.unflatten(0, (4, gates, -1)).transpose(0, 1).flatten(0, 2)

        return expanded

    return make


def torch_layer(layer: Any, x: np.ndarray) -> Call:
    """Forward and backward of PyTorch's layer, with our weights and one bias more."""
    import torch

    leaves: list[Any] = []
    make, H = leaf_maker(leaves), layer.bias.size // layer.gates
    W, U, b = make(layer.weight_x), make(layer.weight_h), make(layer.bias)
    second = torch.zeros(layer.gates * H, requires_grad=True)
    leaves.append(second)
    kind = torch.nn.GRU if layer.gates == 3 else torch.nn.LSTM
    twin, t = kind(x.shape[2], H, batch_first=True), torch.tensor(x, requires_grad=True)
    gates = (layer.gates,) if layer.components == 4 else ()

    def call() -> Any:
        for leaf in (t, *leaves):
            leaf.grad = None
        names = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"
        weights = dict(zip(names, (W(*gates), U(*gates), b(), second), strict=True))
        y, _ = torch.func.functional_call(twin, weights, (t,))
        y.backward(torch.ones_like(y))
        return y

    return call


def torch_step(net: Any, tokens: np.ndarray) -> Call:
    """A step of the same GPT in PyTorch."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    leaves: list[Any] = []
    make = leaf_maker(leaves)
    tables = [torch.tensor(e.weight.numpy(), requires_grad=True) for e in (net.tokens, net.places)]
    leaves += tables
    x, target = torch.tensor(tokens[:, :-1]), torch.tensor(tokens[:, 1:]).flatten()
    sums = torch.zeros(2, dtype=torch.float64)
    N, T, C = *x.shape, tables[0].shape[1]

    def linear(layer: Any) -> Any:
        W, b = make(layer.weight), make(layer.bias)
        return lambda h: F.linear(h, W(), b())

    def norm(layer: Any) -> Any:
        scale, shift = make(layer.scale), make(layer.shift)
        return lambda h: F.layer_norm(h, (C,), scale(), shift(), layer.eps)

    blocks = []
    for b in net.blocks:
        a = b.attention
        layers = [linear(m) for m in (a.query, a.key, a.value, a.out, b.up, b.down)]
        blocks.append((norm(b.norm1), norm(b.norm2), *layers))
    last, four = norm(net.norm), 4 if net.blocks[0].attention.components == 4 else 1
    heads = net.blocks[0].attention.heads
    optimizer = torch.optim.AdamW(leaves, bench.LR, BETAS, weight_decay=DECAY, fused=True)

    def split(h: Any) -> Any:  # (N, T, C) -> (N, heads, T, D), whole quaternions
        return h.view(N, T, four, heads, -1).permute(0, 3, 1, 2, 4).flatten(3)

    def call() -> Any:
        h = tables[0][x] + tables[1][:T]
        for norm1, norm2, query, key, value, out, up, down in blocks:
            z = norm1(h)
            q, k, v = (split(f(z)) for f in (query, key, value))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            y = y.unflatten(3, (four, -1)).permute(0, 2, 3, 1, 4).reshape(N, T, C)
            h = h + out(y)
            h = h + down(F.gelu(up(norm2(h))))
        logits = F.linear(last(h), tables[0]).flatten(0, 1)
        loss = F.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(leaves, CLIP)
        optimizer.step()
        with torch.no_grad():
            sums[0] += loss * len(target)
            sums[1] += (logits.argmax(1) == target).sum()
        return loss

    return call


# ---------------------------------------------------------------------------- the command

bench.CALLS["sequences"], bench.ENGINES["sequences"] = sequence_call, [OURS, "torch"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = bench.parsed(bench.parser_of("sequences", __doc__, ROUNDS), argv, "sequences")
    if options.serve:
        return bench.serve()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    rows = []
    with ExitStack() as stack:
        engines = [e for e in bench.ENGINES["sequences"] if e == OURS or find_spec(e)]
        workers = {e: stack.enter_context(start_worker(None, SCRIPT)) for e in engines}
        print(bench.table_line("sequences"))
        for name, case in CASES.items():
            group = {f"{a} {name}": {"algebra": a, **case} for a in ("real", "quaternion")}
            for row in bench.measure("sequences", group, workers, rounds):
                print(bench.table_line("sequences", row), flush=True)
                rows.append(row)
    if options.out:
        record = about(rounds, None) | {"results": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n")
        print(f"Written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
