"""The memory of recorded steps: nothing that is alive is given away, and what is gone is reused."""

import threading
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quatgrad.kernels.numba_cpu.machine.arena import Arena
from quatgrad.kernels.numba_cpu.machine.cache import LINE


def place(a):
    start = a.__array_interface__["data"][0]
    return start, start + a.nbytes


@given(st.lists(st.tuples(st.integers(0, 1 << 24), st.booleans()), max_size=40))
def test_arrays_that_are_alive_never_overlap(wanted):
    arena, alive = Arena(), []
    for k, (size, drop) in enumerate(wanted):
        alive.append(arena(size))
        assert len(alive[-1]) >= size
        if drop:
            del alive[k % len(alive)]
        places = sorted(map(place, alive))
        assert all(end <= start for (_, end), (start, _) in pairwise(places))
    del alive
    arena(1)  # collects
    pieces = [end - start for start, end in (*arena.free, *arena.given_back)]
    assert sum(pieces) == len(arena.memory)
    assert len(arena.free) == 1


def test_memory_that_is_given_back_is_given_out_again():
    arena = Arena()
    a, b = arena(1000), arena(1000)
    first = place(a)[0]
    view = a[:10].reshape(2, 5)
    del a
    assert place(arena(500))[0] != first  # the view still holds it
    del view
    assert place(arena(1000))[0] == first
    del b


def test_other_threads_and_a_full_arena_get_memory_of_their_own(monkeypatch):
    arena, got = Arena(), []
    thread = threading.Thread(target=lambda: got.append(arena(100)))
    thread.start()
    thread.join()
    assert len(got[0]) >= 100
    assert arena.place(place(got[0])[0]) is None
    monkeypatch.setattr("quatgrad.kernels.numba_cpu.machine.arena.LARGEST", 1000 * LINE)
    monkeypatch.setattr("quatgrad.kernels.numba_cpu.machine.arena.SMALLEST", LINE)
    arena = Arena()
    kept = arena(600 * LINE)
    assert not arena.is_full
    more = arena(600 * LINE)
    assert arena.is_full
    assert arena.place(place(more)[0]) is None
    assert arena.place(place(kept)[0]) == (arena.memory, 0)
    assert np.shares_memory(arena.memory, kept)


def test_a_system_that_gives_away_no_more_than_it_has_is_asked_for_less(monkeypatch):
    monkeypatch.setattr("quatgrad.kernels.numba_cpu.machine.arena.LARGEST", 1 << 62)
    arena = Arena()
    assert arena.memory.size < 1 << 62
    assert arena.place(place(arena(100))[0]) == (arena.memory, 0)
    monkeypatch.setattr("quatgrad.kernels.numba_cpu.machine.arena.SMALLEST", 1 << 60)
    arena = Arena()
    assert arena.is_full
    assert len(arena(100)) >= 100
