"""How the threads of OpenMP wait for work: awake for a while, then asleep.

By default a thread spins for milliseconds, and nothing else can run on its core: two trainings side
by side take seven times as long. To wake a thread up takes longer than a small layer: a step of
LeNet-300-100 is a quarter faster if its threads stay awake between the layers. So they do for a
seventh of a millisecond where nothing else runs as the package is loaded, else for a shorter time.
"""

from pathlib import Path

#: Turns of the loop in which a thread waits, of some 13 nanoseconds each.
ALONE, AMONG_OTHERS = "10000", "3000"


def turns(loads: Path = Path("/proc/loadavg")) -> str:
    """How many. Is this the only thread that runs? Linux says it: "0.1 0.1 0.1 1/200 4711"."""
    try:
        running = loads.read_text(encoding="ascii").split()[3].split("/")[0]
    except (OSError, IndexError):
        return AMONG_OTHERS
    return ALONE if running == "1" else AMONG_OTHERS
