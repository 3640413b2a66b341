"""e_a e_c = SIGNS[a][c] e_(a xor c)."""

from quatgrad.kernels.reference import HAMILTON

SIGNS = [[int(HAMILTON[a][c][a ^ c]) for c in range(4)] for a in range(4)]
