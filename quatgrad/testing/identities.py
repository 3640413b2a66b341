"""The identities of the algebra and of the layers: how exactly each one holds.

    python -m quatgrad.testing.identities           the worst errors, in eps, of 200 000 samples

The identities are in `algebra_identities` and `layer_identities`. To add one, decorate a function:
see `identity_table`.
"""

import argparse
from typing import Any

import numpy as np

from quatgrad.random import generator
from quatgrad.testing import algebra_identities, layer_identities  # noqa: F401  they fill the table
from quatgrad.testing.identity_table import IDENTITIES, Identity


def worst(one: Identity, dtype: Any, count: int, seed: int = 0) -> float:
    """The worst error of an identity over `count` samples, in eps times its scale."""
    rng = generator(seed, one.name)
    parts = [min(count - n, 20_000) for n in range(0, count, 20_000)]
    return max(e for part in parts for e in one.errors(rng, part, dtype))


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if an identity is out of its bound."""
    about = (__doc__ or "").partition("\n")[0]
    p = argparse.ArgumentParser(prog="python -m quatgrad.testing.identities", description=about)
    p.add_argument("--samples", type=int, default=200_000, metavar="N")
    p.add_argument("--seed", type=int, default=0)
    options = p.parse_args(argv)
    print(f"{'':4}{'worst error in eps':<66}{'float64':>9}{'float32':>9}{'bound':>8}")
    fine = True
    for one in sorted(IDENTITIES, key=lambda one: one.number):
        errors = [worst(one, t, options.samples, options.seed) for t in (np.float64, np.float32)]
        fine &= max(errors) <= one.eps
        mark = "" if max(errors) <= one.eps else "  <--"
        numbers = "".join(f"{e:9.2f}" for e in errors)
        print(f"{one.number:>2}  {one.formula:<66}{numbers}{one.eps:8.1f}{mark}")
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
