"""Whether operations record a graph: they do, except under `no_grad`."""

from collections.abc import Callable, Generator
from contextvars import ContextVar, Token
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction
from types import GeneratorType
from typing import Any, TypeVar

from quatgrad.errors import GraphError

F = TypeVar("F", bound=Callable[..., Any])

recording: ContextVar[bool] = ContextVar("recording", default=True)


class no_grad:  # noqa: N801
    """Inside this block, or function decorated with `@no_grad()`, operations leave no graph behind.

    In a generator, too: it records nothing, and whoever takes its values goes on recording.
    """

    def __init__(self) -> None:
        self.tokens: list[Token[bool]] = []

    def __enter__(self) -> None:
        self.tokens.append(recording.set(False))

    def __exit__(self, *error: Any) -> None:
        recording.reset(self.tokens.pop())

    def __call__(self, f: F) -> F:
        """f, without a graph; `GraphError` for a coroutine, which runs after the call."""
        if iscoroutinefunction(f) or isasyncgenfunction(f):
            raise GraphError("@no_grad() decorates no coroutine; write `with no_grad():` inside it")

        @wraps(f)
        def without_graph(*args: Any, **options: Any) -> Any:
            with no_grad():
                y = f(*args, **options)
            return _steps(y) if isinstance(y, GeneratorType) else y

        return without_graph  # type: ignore[return-value]


def _steps(generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The generator, under `no_grad` from each value to the next."""
    step: Callable[[], Any] = partial(next, generator)
    while True:
        try:
            with no_grad():
                y = step()
        except StopIteration as end:
            return end.value
        try:
            step = partial(generator.send, (yield y))
        except BaseException as error:
            step = partial(generator.throw, error)
