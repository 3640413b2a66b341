"""Networks prepared for inference: what is pruned is neither stored nor multiplied.

    plan = sparse.prepare(model, (32, 32, 4))
    logits = plan(images)           # float32 (N, H, W, C) -> (N, K), those of model.eval()

steps, trace, builder, rules   from a network to a plan, which is data
compact, dead                  channels that nobody reads, and constant ones, are left out
reference                      reads a plan with NumPy
rounding                       a plan with weights of 16 or 8 bits
layout, program, compiled      read it fast: tables, and one compiled call
batch, engine                  batches: images side by side, or the engine's own kernels
choice, measure                which layers are computed as dense ones, and how that is found
plan                           prepare, Plan
ticket_file, predict           a ticket on disk, and predictions from it
export_c, export_onnx          a plan as one file in C99, or for other runtimes
"""

from quatgrad.sparse.choice import KINDS
from quatgrad.sparse.dead import without_dead
from quatgrad.sparse.export_c import export_c
from quatgrad.sparse.export_onnx import export_onnx
from quatgrad.sparse.plan import Plan, prepare
from quatgrad.sparse.predict import faster, prepared
from quatgrad.sparse.rounding import rounded
from quatgrad.sparse.ticket_file import load, save
