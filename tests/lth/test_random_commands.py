"""Random command lines: exit code 0 or 2, one line where it is 2, and no traceback.

Here is a sample; QUATGRAD_COMMANDS=300 python -m pytest tests/lth/test_random_commands.py for more.
"""

import os
import random
import time

from quatgrad.backend import use_backend
from quatgrad.lth.command import cli
from quatgrad.lth.command.cli import COMMANDS, main

COUNT = int(os.environ.get("QUATGRAD_COMMANDS", "30"))
HUGE = ("9" * 25, "9" * 400, "-1", "0", "-" + "9" * 30, "1e400", "nan", "inf", "1.5", "", "two")
NAMES = (
    "a" * 300,
    "~nobody-of-this-name/x",
    "/proc/nowhere",
    "é四",
    "x\ny",
    "a,b=c",
    "none",
    "%s",
    "cifar10",
    "mnist",
)
SMALL = {"preset": "smoke", "subset": 40, "epochs": 1, "width": 24, "levels": 1}
RUN = ["--quiet", "--backend=numpy", *(f"--{name}={value}" for name, value in SMALL.items())]
#: Values that can be computed with, for options that do not list theirs.
RIGHT = {
    "dataset": ["digits"], "model": ["lenet-300-100", "lenet-12"], "width": ["24", "36"],
    "levels": ["0", "1", "2"], "epochs": ["1", "2"], "trials": ["1", "2"], "subset": ["40", "60"],
    "batch_size": ["20", "50"], "keep": ["0.5", "0.9"], "lr": ["0.05"], "momentum": ["0", "0.5"],
    "seed": ["0", "7"], "validation": ["0.2"], "warmup": ["0", "0.5"], "weight_decay": ["0.01"],
}  # fmt: skip
VERBS = [name for name in COMMANDS if name not in ("sweep", "tune")]


def draw(rng):
    """A command with some of the options of `run`: all right, or right, hostile and misspelt."""
    verb = rng.choice(["run", "plan", *VERBS])
    actions = [a for a in cli.parser()._actions if a.option_strings[0] not in ("-h", "--version")]
    line = [verb, *(RUN if verb in ("run", "plan") else rng.sample(NAMES, rng.randint(0, 2)))]
    valid = rng.random() < 0.5  # half of the lines can run
    for action in rng.sample(actions, rng.randint(1, 3)):
        flag, known = action.option_strings[-1], [*(action.choices or RIGHT.get(action.dest, []))]
        if valid and action.nargs != 0 and not known:
            continue
        if not valid and rng.random() < 0.15:
            flag = flag[:4] + flag[5:]
        line.append(flag)
        if action.nargs != 0:
            line.append(rng.choice(known if valid else [*known, *HUGE, *NAMES]))
    if not valid and rng.random() < 0.2:
        line[0] = verb[:-1] + "x"
    return line


def test_random_command_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    rng, seen = random.Random(0), []
    for number in range(COUNT):
        line, began = draw(rng), time.monotonic()
        with use_backend("numpy"):
            try:
                code = main(line)
            except SystemExit as ended:  # of argparse
                code = ended.code
        err, seen = capsys.readouterr().err, [*seen, code]
        assert code in (0, 1, 2), (number, line)
        assert code != 2 or err.count("\n") <= 1, (number, line, err)
        assert len(err) < 700, (number, line, err)
        assert time.monotonic() - began < 30, (number, line)
    assert {0, 2} <= set(seen)
    print({code: seen.count(code) for code in set(seen)})
