"""What a level starts from: masks x rewind state, of what its parents have on record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quatgrad.errors import OptionError
from quatgrad.lth.prune.rule import Masks
from quatgrad.lth.search.protocol import Protocol
from quatgrad.lth.store import files
from quatgrad.lth.store.records import parse
from quatgrad.lth.store.stage import Stage, early_path, read_end, read_record, read_start
from quatgrad.lth.ticket.ticket import State, Ticket
from quatgrad.option_fields import from_disk, nested
from quatgrad.train import Epoch

#: Of the parameters of a level, those that are not of its protocol.
NO_PROTOCOL = ("level", "control", "seed_prune")


@dataclass(frozen=True)
class LevelStart:
    """What the parents of a level have on record.

    init_state   of the dense network, before all training
    rewound_to   the dense network and its optimizer after `protocol.rewind_epoch` epochs; no masks
    history      those epochs
    previous     what the level before ended with
    statistics   the names of running statistics
    """

    protocol: Protocol
    dense: Path
    init_state: State
    rewound_to: Ticket
    history: list[Epoch]
    previous: Ticket
    statistics: Collection[str]

    @staticmethod
    def load(stage: Stage, protocol: Protocol) -> LevelStart:
        """What a stage that is not dense starts from; `RunError` for a damaged file."""
        dense, epochs = stage.parent("dense"), protocol.rewind_epoch
        record, init_state = read_record(dense), read_start(dense)
        rewound_to = Ticket({}, init_state)
        if epochs:
            rewound_to = files.load_ticket(early_path(dense, epochs))
        previous, statistics = read_end(stage.parent("before")), record.statistics or ()
        known = init_state, rewound_to, record.epochs[:epochs], previous, statistics
        return LevelStart(protocol, dense, *known)

    def ranked(self, level: int) -> State:
        """The state of the network whose weights a level ranks: `Protocol.score_from`."""
        if self.protocol.score_from == "start":
            return self.rewound_to.state
        if self.protocol.score_from == "dense" and level > 1:
            return read_end(self.dense).state
        return self.previous.state  # at level 1 that of the dense network

    def ticket(self, masks: Masks) -> Ticket:
        """The ticket with these masks."""
        state = self.protocol.state(self.statistics, self.rewound_to.state, self.previous.state)
        kept, restored = self.previous.optimizer_state, self.rewound_to.optimizer_state
        memory = {"new": {}, "kept": kept, "restored": restored}[self.protocol.optimizer_state]
        return Ticket(masks, state, memory)


def start_of(stage: Stage, masks: Masks) -> Ticket:
    """The ticket with these masks that a stage, not of a control, was trained from."""
    if not stage.parents:
        return Ticket(masks, read_start(stage.path))
    return LevelStart.load(stage, protocol_of(stage)).ticket(masks)


def protocol_of(stage: Stage) -> Protocol:
    """The protocol that a level was made by."""
    path = stage.path / "stage.json"
    known = {k: v for k, v in stage.parameters.items() if k not in NO_PROTOCOL}
    try:
        values = {"levels": 0} | from_disk(Protocol, known)
    except OptionError as error:
        raise files.damaged(path, f"of another version of quatgrad: {error}") from error
    return parse(msgspec.json.encode(nested(Protocol, values)), path, Protocol)
