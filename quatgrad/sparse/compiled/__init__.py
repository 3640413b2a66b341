"""The fast reader of a plan: one compiled call for a network.

table         what a kernel is told, and which tiles there are
kernels       one for each kind of row; rows, dense: their loops, as instructions for vectors
runner        a program in memory, and the threads that share a batch
"""
