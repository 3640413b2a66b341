"""How the threads of OpenMP wait for work: awake for a while, then asleep.

By default a thread spins for long, and nothing else can run on its core: with 100,000 turns two
trainings of a ResNet-8 side by side take seven times as long as with 3,000. To wake a thread up
takes time too: alone, a step of LeNet-300-100 is a tenth faster with 10,000 turns than with 3,000.
So threads wait longer where nothing else runs as the package is loaded. (Two cores, AMD EPYC.)
"""

from pathlib import Path

#: Turns of the loop in which a thread waits.
ALONE, AMONG_OTHERS = "10000", "3000"


def turns(loads: Path = Path("/proc/loadavg")) -> str:
    """How many. Is this the only thread that runs? Linux says it: "0.1 0.1 0.1 1/200 4711"."""
    try:
        running = loads.read_text(encoding="ascii").split()[3].split("/")[0]
    except (OSError, IndexError):
        return AMONG_OTHERS
    return ALONE if running == "1" else AMONG_OTHERS
