"""Lottery tickets: which weights of a network suffice, found by training it again and again.

prune     which weights go: score x granularity x scope
scores    how much a weight matters     counts    how many go, exactly
flow      sums over the paths of a network: SynFlow, and weights that no path reaches
choose    the masks of a level: which network is ranked, in how many rounds
ticket    masks + the state to rewind to
rewind    puts a ticket into a network; the invariants that every run asserts
protocol  how a search prunes and rewinds
search    the loop: train, prune, rewind, repeat
stage     one network, trained once, in a folder named by what was done
level     a ticket in training: invariants, checkpoints, and a record at its end
points    the epochs that are reported where validation images choose them
checkpoint  where it stands in the middle     signals   SIGTERM and SIGINT save it first
controls  what a ticket is compared with
store     files on disk, whole or not at all
experiment  networks, trials and controls     options   presets/, and which options name a run
compare   real against quaternion     plot   the picture of it
analysis  a finished run in numbers and pictures (analysis_plots), from
    anatomy       densities, components of a quaternion     overlap  two masks against chance
    curve         area, sparsest matching level             connectivity  the line between networks
report    what the command tells of an analysis
runs      what there is on record     plan   what there will be, and when
verify    proof from the files     collect   what no run needs any more
sweep     many runs at once     arguments   options as typed     command   the command line
"""

from quatgrad.lth.prune.rule import Rule, full_masks, prune_by_magnitude
from quatgrad.lth.search.protocol import Protocol
from quatgrad.lth.search.search import Search
from quatgrad.lth.ticket.rewind import check_pruned, check_start, rewind
from quatgrad.lth.ticket.ticket import Ticket

__all__ = [
    "Protocol",
    "Rule",
    "Search",
    "Ticket",
    "check_pruned",
    "check_start",
    "full_masks",
    "prune_by_magnitude",
    "rewind",
]
