"""What a kernel is told: a row of the table of a `Program`, which is a record of int64."""

import numpy as np
from numba import from_dtype, types

from quatgrad.kernels.numba_cpu.machine.cache import LANES

COLUMNS = {
    "function": "the address of the kernel that reads this row",
    "x": "where the map that is read begins in the arena",
    "input_step": "from one of its channels, or components of quaternions, to the next",
    "y": "where the map that is written begins",
    "y_step": "from one of its channels to the next",
    "has_residual": "0 or 1",
    "residual": "where a map begins that is added, or the other factor",
    "residual_step": "from one of its channels to the next",
    "relu": "1: what is stored is at least 0",
    "outputs": "channels of the output, or quaternions",
    "components": "1, or 4 of quaternions",
    "vectors": "of a channel of the output",
    "taps": "of a dense layer; or how many pixels, or copies",
    "extra": "where four sums of the components of the input have room in the arena",
    "values": "where its weights or constants begin in `floats`",
    "scales": "where its scales, one for each channel, begin in `floats`",
    "shifts": "where its shifts begin in `floats`",
    "distances": "where its taps begin in `ints`",
    "rows": "where its rows begin in `ints`: the first tap of each, and the end",
    "places": "where its vectors begin in `ints`: where each goes",
    "holds": "where its masks begin in `ints`: a bit for each lane with a pixel",
    "pixels": "where its pixels, or what it copies, begin in `ints`",
    "width": "which function, or pixels of a window",
}
ROW = np.dtype([(name, np.int64) for name in COLUMNS])

FLOATS = types.CPointer(types.float32)
INTS = types.CPointer(types.int32)
#: What every kernel gets: the maps, its row, weights, tables, and room for sums.
KERNEL = types.void(FLOATS, from_dtype(ROW), FLOATS, INTS, FLOATS)

#: Vectors of a tile, for which there are kernels: registers hold its sums, and of whole quaternions
#: its inputs too: with 4 vectors they do not, and it takes 1.3 times as long.
TILES = {
    "real": (1, 2, 4, 6),
    "quaternion": (1, 2, 3, 6) if LANES == 16 else (1, 2, 3),
    "whole": (1, 2, 3) if LANES == 16 else (1,),
    "largest": (1, 4),
}
#: T -> output channels, or quaternions, of a dense block beside T vectors of x.
BLOCK = {1: 16, 2: 10, 3: 8, 4: 6} if LANES == 16 else {1: 8, 2: 5, 3: 3, 4: 2}
#: Numbers that the sums of a tile, or of eight products of a block, may take.
MOST_SUMS = LANES * max(8 * max(T * R for T, R in BLOCK.items()), 24)
