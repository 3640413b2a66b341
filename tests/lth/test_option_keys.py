"""No option moves the name of a run or of a stage: names as the first version gave them.

recorded/option_keys.json: arguments -> the run's name, what differs from its preset, and the stages
of levels 0 to 2 (of a control: 1 and 2). Only recorded by a version that is trusted.
"""

import json
from pathlib import Path

import pytest

from quatgrad.lth.command.arguments import parser
from quatgrad.lth.experiment.options import overrides, resolve
from quatgrad.lth.search.search import ControlOf, Search
from quatgrad.lth.store.files import content_key

RECORDED = json.loads((Path(__file__).parents[1] / "recorded/option_keys.json").read_text())
IMAGES = "0123456789abcdef"


class Named:
    """A dataset that is nothing but its name."""

    def fingerprint(self):
        return IMAGES


def names(options):
    """What is recorded, of these options."""

    def search(network, **others):
        run = options.run
        return Search(None, Named(), options.recipe, Path("runs/x") / network, options.protocol,
                      run.seed, what=options.what(network), stages=Path("runs/stages"),
                      seeds=run.own_seeds, **others)  # fmt: skip

    stages = {}
    for network in options.model.networks:
        ticket = search(network)
        stages[network] = [s.name for s in ticket.plan()[:3]]
        if ticket.masks_from:
            stages[f"{network} first pass"] = [s.name for s in ticket.masks_from.plan()[:3]]
        for kind in options.run.control:
            control = search(network, control=ControlOf(ticket, name=kind))
            stages[f"{network}-{kind}"] = [s.name for s in control.plan()[1:3]]
    first = {"preset": options.preset, "overrides": overrides(options)}
    key = content_key(options.config(IMAGES))[:8]
    return {"run": key, "first run as": json.loads(json.dumps(first)), "stages": stages}


@pytest.mark.parametrize("arguments", RECORDED)
def test_runs_and_stages_keep_their_names(arguments):
    assert names(resolve(vars(parser().parse_args(arguments.split())))) == RECORDED[arguments]
