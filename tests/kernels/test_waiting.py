"""How long a thread waits awake: longer where nothing else runs."""

import pytest

from quatgrad.kernels.numba_cpu.machine.waiting import ALONE, AMONG_OTHERS, turns


@pytest.mark.parametrize(("loads", "expected"), [
    ("0.00 0.10 0.20 1/77 4711\n", ALONE),
    ("0.00 0.10 0.20 2/77 4711\n", AMONG_OTHERS),
    ("not as Linux writes it", AMONG_OTHERS),
    (None, AMONG_OTHERS),
])  # fmt: skip
def test_threads_wait_longer_where_nothing_else_runs(tmp_path, loads, expected):
    file = tmp_path / "loadavg"
    if loads is not None:
        file.write_text(loads)
    assert turns(file) == expected
