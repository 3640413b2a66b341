"""Several processes train one network: each takes its share of every batch.

processes   what one process is, and several: shares, sums in a fixed order, one that leads
start       starts them, over MPI or on GPUs over NCCL; process 0 goes on, the others help
mpi, nccl   how they talk
buckets     sums that run on a GPU while the backward pass goes on
cost        what it costs on paper: bytes, bandwidth, latency
"""

from quatgrad.parallel.processes import ALONE, WHOLE, Processes, Share, processes, use_processes
