"""Says that kernels are being compiled, where somebody waits for them at a terminal."""

from __future__ import annotations

import sys
from typing import Any

from numba.core import event

from quatgrad.backend import notice


class _Listener(event.Listener):
    """Hears of everything that Numba compiles; speaks once, and of our kernels alone."""

    def on_start(self, event: Any) -> None:
        """Numba found no compiled kernel in its cache on the disk."""
        ours = event.data["dispatcher"].py_func.__module__.startswith(__package__)
        if ours and sys.stderr.isatty():
            notice("compiling kernels for this processor: a minute at most, and kept on the disk")

    def on_end(self, event: Any) -> None:
        """Nothing more to say."""


def listen() -> None:
    """Say so from now on."""
    event.register("numba:compile", _Listener())
