"""Lottery tickets: which weights of a network suffice, found by training it again and again.

Begin with `find_tickets` in loop.py: the whole idea in 20 lines. `Search` does the same on disk,
survives a kill, and has more choices; `run` is a whole experiment, as on the command line. The
rooms, each built on those above it:

prune       which weights go
    rule  score x granularity x scope     scores  how much a weight matters
    counts  how many go, exactly          flow  sums over the paths of a network: SynFlow
ticket      masks + the state to rewind to
    ticket     the data                   rewind    puts a ticket into a network
    checks     the invariants of a run    controls  what a ticket is compared with
store       what is on disk
    files  whole or not at all            stage  one network, trained once
    records  what its files say           epoch_log  epochs for other programs
search      the loop on disk: train, prune, rewind, repeat
    protocol  its choices                 level_masks  the masks of a level
    level  a ticket in training           checkpoint   where it stands, in the middle of that
    selection  epochs that validation images choose    signals  SIGTERM and SIGINT save first
    identity   of which network a stage is
results     levels as tables (compare), numbers (curve) and pictures (plot); what to deploy (offers)
experiment  networks, trials and controls
    options  presets/, and what names a run            experiment  runs them
    result   from Python: tables, tickets, networks    trained     a network that was trained
    plan  what a run will do              runs      what there is on record
    verify  proof from the files          derived   tables and pictures made of them
    garbage  what no run needs any more   deploy   what a level takes: bytes, milliseconds
    sweep  many runs at once
analysis    a finished run: mask_stats, overlap of masks, connectivity between networks
tune        settings, searched for with the same budget for each network
command     the command line, its arguments
"""

from quatgrad.lth.experiment.result import Result, run
from quatgrad.lth.loop import Level, find_tickets
from quatgrad.lth.prune.rule import Rule, full_masks, prune_by_magnitude
from quatgrad.lth.search.protocol import Protocol
from quatgrad.lth.search.search import Search
from quatgrad.lth.store.files import load_ticket, save_ticket
from quatgrad.lth.ticket.checks import check_pruned, check_start
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket

__all__ = [
    "Level",
    "Protocol",
    "Result",
    "Rule",
    "Search",
    "Ticket",
    "check_pruned",
    "check_start",
    "find_tickets",
    "full_masks",
    "load_ticket",
    "prune_by_magnitude",
    "rewind",
    "run",
    "save_ticket",
]
