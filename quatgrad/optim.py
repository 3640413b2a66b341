"""Optimizers, and learning rates as functions of the step.

    optimizer = SGD(model.parameters(), momentum=0.9)
    rate = cosine(lr=0.1, steps=1000, warmup=100)
    for step in range(1000):
        ...
        optimizer.step(rate(step))

Parameters without a gradient are left alone. Writes go through `Parameter.update`, so constraints
hold: pruned entries stay exactly 0. Make a new optimizer after pruning: then the momentum of these
entries is 0 too.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from reprlib import repr as shown
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, asarray, to_numpy, writeable
from quatgrad.autograd import Parameter
from quatgrad.backend import get_backend
from quatgrad.errors import DTypeError, OptionError, ShapeError
from quatgrad.flat_parameters import FlatParameters, is_possible
from quatgrad.kernels.reference.optimizer import AdamRule
from quatgrad.kernels.registry import kernel
from quatgrad.scalars import integer, number


class Optimizer:
    """What optimizers share: the parameters, and clearing their gradients."""

    def __init__(self, parameters: Iterable[Parameter]):
        self.parameters = list(dict.fromkeys(parameters))  # one that is shared takes one step
        if not all(isinstance(p, Parameter) for p in self.parameters):
            raise OptionError("optimizer: got what is no Parameter; pass model.parameters()")
        if not self.parameters:
            raise OptionError("optimizer: no parameters given; pass model.parameters()")
        self.state: list[dict[str, Any]] = [{} for _ in self.parameters]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self, lr: float | Array) -> None:
        """One update of every parameter that has a gradient."""
        lr = self.check_step(lr)
        for p, g, state in self.moving():
            p.update(partial(self.rule, g=g, state=state, lr=lr))

    def moving(self) -> Iterator[tuple[Parameter, Array, dict[str, Any]]]:
        """The parameters that have a gradient, with it and with what is remembered of each."""
        for p, state in zip(self.parameters, self.state, strict=True):
            if p.grad is not None:
                if not state:
                    state.update(self.initial_state(p.data))
                yield p, p.grad, state

    def check_step(self, lr: float | Array) -> float | Array:
        """The learning rate as a number; raises unless every gradient and state fits.

        Compiled steps look at no shape: they would read and write beyond a shorter array.
        """
        for i, (p, state) in enumerate(zip(self.parameters, self.state, strict=True)):
            g = float(p.grad) if type(p.grad) is int else p.grad  # which is no count
            if g is not None and not _is_like(p, g, *state.values()):
                _check_like(p, f"{type(self).__name__}: parameter {i}", {"grad": g, **state})
        return number(lr, "the learning rate") if array_module(lr) is np else lr

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        vars(self).update(attributes, flat=None)  # its views are arrays of their own now
        for memory in self.state:
            memory.update({name: writeable(a) for name, a in memory.items()})

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the state on the host: `3/velocity` is the velocity of parameter 3."""
        return {
            f"{i}/{name}": np.array(to_numpy(a))
            for i, state in enumerate(self.state)
            for name, a in state.items()
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state_dict` gave; the constraints of the parameters apply to it.

        Numbers of parameters, names, shapes and dtypes must agree, or nothing is restored.
        """
        what = f"the state does not fit this {type(self).__name__}"
        given: dict[str, dict[str, Any]] = {str(i): {} for i in range(len(self.parameters))}
        for key, a in state.items():
            i, _, name = key.partition("/")
            if i not in given:
                raise ShapeError(f"{what}: {key!r} is of none of its {len(given)} parameters")
            given[i][name] = a
        for (i, memory), p in zip(given.items(), self.parameters, strict=True):
            start = self.initial_state(p.data) if memory else {}
            if memory.keys() != start.keys():
                raise ShapeError(
                    f"{what}: of parameter {i} it has {shown(list(memory))}, and this one "
                    f"remembers {list(start)}"
                )
            for name, a in memory.items():
                is_count = isinstance(start[name], int)
                memory[name] = integer(a, name) if is_count else asarray(to_numpy(a).copy())
            _check_like(p, f"{what}: parameter {i}", memory)
            for a in memory.values():
                if p.constraint and not isinstance(a, int):
                    p.constraint(a)
        self.state = list(given.values())

    def initial_state(self, w: Array) -> dict[str, Any]:
        """What is remembered of a parameter before its first step: arrays like w, and counts."""
        return {}

    def rule(self, w: Array, g: Array, state: dict[str, Any], lr: float | Array) -> None:
        """Change w in place; `state` holds what this parameter needs at the next step."""
        raise TypeError(f"{type(self).__name__} does not define rule(self, w, g, state, lr)")


class SideBySide(Optimizer):
    """Optimizers of one kind, each for some of the parameters, with learning rates of their own.

    `parts` are (optimizer, factor): it steps with factor times the learning rate.
    """

    def __init__(self, parameters: Iterable[Parameter], parts: Sequence[tuple[Optimizer, float]]):
        super().__init__(parameters)
        self.parts = list(parts)
        self._share_state()

    def _share_state(self) -> None:
        """The memory of a parameter is one dictionary, here and in its part."""
        memory = dict(zip(self.parameters, self.state, strict=True))
        for optimizer, _ in self.parts:
            optimizer.state = [memory[p] for p in optimizer.parameters]

    def step(self, lr: float | Array) -> None:
        """One update of every part."""
        for optimizer, factor in self.parts:
            optimizer.step(lr * factor)

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state_dict` gave, in the parts too."""
        super().load_state_dict(state)
        self._share_state()

    def initial_state(self, w: Array) -> dict[str, Any]:
        """That of the parts, which are of one kind."""
        return self.parts[0][0].initial_state(w)


class SGD(Optimizer):
    """d = g + decay w;  v <- momentum v + d;  w <- w - lr (d + momentum v if nesterov else v).

    v starts at 0, hence as the first d. PyTorch's form: v has the units of the gradient.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters)
        momentum, weight_decay = number(momentum, "momentum"), number(weight_decay, "weight_decay")
        if not 0 <= momentum < 1:
            raise OptionError(f"SGD: momentum is in [0, 1); got {momentum}")
        if nesterov and momentum == 0:
            raise OptionError("SGD: nesterov needs a momentum above 0")
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        self.flat: FlatParameters | None = None

    def step(self, lr: float | Array) -> None:
        """One update of all parameters at once; on a GPU, side by side in memory."""
        numbers = self.check_step(lr), self.momentum, self.nesterov, self.weight_decay
        if get_backend() == "cupy" and is_possible(self.parameters):
            if self.flat is None or not self.flat.is_valid(self.parameters, self.state):
                self.flat = FlatParameters(self.parameters, self.state)
            self.flat.step(self.parameters, *numbers)
            return
        moving, ws = list(self.moving()), list[Array]()
        for p, _, _ in moving:
            p.update(ws.append)
        gs, vs = [g for _, g, _ in moving], [state["velocity"] for _, _, state in moving]
        kernel("sgd_all")(ws, gs, vs, *numbers)
        for (p, _, _), w in zip(moving, ws, strict=True):
            if p.constraint:
                p.constraint(w)

    def initial_state(self, w: Array) -> dict[str, Any]:
        """v = 0."""
        return {"velocity": array_module(w).zeros(w.shape, w.dtype)}


class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- w - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^t), v^ = v / (1 - b2^t). Weight decay adds decay w to g; with `decoupled`
    (AdamW) it instead shrinks w by lr decay w. Kingma & Ba, arXiv:1412.6980; Loshchilov &
    Hutter, arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ):
        super().__init__(parameters)
        b1, b2 = (number(b, "a beta") for b in betas)
        if not (0 <= b1 < 1 and 0 <= b2 < 1):
            raise OptionError(f"Adam: both betas are in [0, 1); got {betas}")
        self.betas, self.eps = (b1, b2), number(eps, "eps")
        self.weight_decay, self.decoupled = number(weight_decay, "weight_decay"), decoupled

    def initial_state(self, w: Array) -> dict[str, Any]:
        """m = v = 0, at step 0."""
        zeros = partial(array_module(w).zeros, w.shape, w.dtype)
        return {"m": zeros(), "v": zeros(), "t": 0}

    def rule(self, w: Array, g: Array, state: dict[str, Any], lr: float | Array) -> None:
        """The formulas of the class, in one pass over memory."""
        state["t"] += 1
        # m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= lr m^ / (sqrt(v^) + eps)
        rule = AdamRule(self.betas, self.eps, self.weight_decay, self.decoupled)
        kernel("adam")(w, g, state["m"], state["v"], state["t"], lr, rule)


def _is_like(p: Parameter, *arrays: Any) -> bool:
    """Have all the parameter's shape and dtype? Counts have none."""
    like = p._array.shape, p._array.dtype
    kinds = [(getattr(a, "shape", 0), getattr(a, "dtype", 0)) for a in arrays if type(a) is not int]
    return kinds.count(like) == len(kinds)


def _check_like(p: Parameter, what: str, arrays: Mapping[str, Any]) -> None:
    """Raise unless all are like the parameter."""
    like = p.shape, p.dtype
    for name, a in arrays.items():
        if not _is_like(p, a):
            found = getattr(a, "shape", None), getattr(a, "dtype", None)
            raise (DTypeError if found[0] == like[0] else ShapeError)(
                f"{what} is {like[1]} of shape {like[0]}, its {name} {found[1]} of shape {found[0]}"
            )


def AdamW(  # noqa: N802
    parameters: Iterable[Parameter],
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> Adam:
    """Adam with decoupled weight decay."""
    return Adam(parameters, betas, eps, weight_decay, decoupled=True)


def clip_grad_norm(parameters: Iterable[Parameter], limit: float) -> Any:
    """g <- g min(1, limit / |g|), |g| the length of all gradients as one vector, which it returns.

    Call it between backward and step. On a GPU |g| stays there: nobody waits for it. Source:
    Pascanu et al., arXiv:1211.5063.
    """
    limit = number(limit, "clip_grad_norm: the limit")
    if not limit > 0:
        raise OptionError(f"clip_grad_norm: the limit is above 0; got {limit}")
    grads = [p.grad for p in dict.fromkeys(parameters) if p.grad is not None]
    xp = array_module(*grads)
    norm = xp.sqrt(sum(kernel("sum_over")(g * g, None).astype(np.float64) for g in grads))
    if xp is not np or norm > limit:
        factor = limit / xp.maximum(norm, limit)
        for g in grads:
            g *= factor.astype(g.dtype)
    return float(norm) if xp is np else norm


# ----------------------------------------------------------------------------- schedules

Schedule = Callable[[int], float]


def constant(lr: float, steps: int, warmup: int = 0) -> Schedule:
    """lr at every step, after a linear warm-up: lr (step + 1) / warmup for step < warmup."""
    return _warm(warmup, lr, lambda step: lr)


def cosine(lr: float, steps: int, warmup: int = 0) -> Schedule:
    """lr (1 + cos(pi s)) / 2, s from 0 after the warm-up to 1 at `steps`. arXiv:1608.03983."""

    def rate(step: int) -> float:
        s = min((step - warmup) / max(steps - warmup, 1), 1.0)
        return lr * (1 + math.cos(math.pi * s)) / 2

    return _warm(warmup, lr, rate)


def step(
    lr: float,
    steps: int,
    warmup: int = 0,
    milestones: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
) -> Schedule:
    """lr factor^k after k of the milestones, which are fractions of all steps."""
    starts = [round(m * steps) for m in milestones]
    return _warm(warmup, lr, lambda step: lr * factor ** sum(step >= s for s in starts))


def cosine_per_batch(lr: float, steps: int, warmup: int = 0) -> Schedule:
    """lr (s + 0.002) / 10 for s < 10, then lr (1 + cos(pi (s - 10) / 110)) / 2, at step s.

    What the published CIFAR-100 runs did: a warm-up of 10 epochs and a cosine over 110, but
    advanced at every batch and never ended, so the learning rate swings between lr and 0 with a
    period of 220 steps, and no run is annealed. It does not depend on `steps` or `warmup`.
    """

    def rate(step: int) -> float:
        if step < 10:
            return lr * (step + 0.002) / 10
        return 0.5 * (1 + math.cos(math.pi * (step - 10) / 110)) * lr

    return rate


def _warm(warmup: int, lr: float, after: Schedule) -> Schedule:
    return lambda step: lr * (step + 1) / warmup if step < warmup else after(step)


SCHEDULES: dict[str, Callable[[float, int, int], Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine-per-batch": cosine_per_batch,
    "step": step,
    # a tenth for the last 4, a hundredth for the last 2 of 15 epochs: the published ImageNet64 runs
    "step-11-13": partial(step, milestones=(11 / 15, 13 / 15)),
}
