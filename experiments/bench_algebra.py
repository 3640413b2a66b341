"""Measure the quaternion algebra on one core against numpy-quaternion, quaternionic and SciPy.

    python experiments/bench.py --suite algebra --quick     a look, in seconds
    python experiments/bench.py --suite algebra --record    to results/bench-algebra.json

In every round each library has one turn at each operation; printed are medians of the rounds in
milliseconds. The peers are optional: pip install numpy-quaternion quaternionic. SciPy has its
rotations made from the quaternions beforehand.
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # before the libraries start their threads
    for _pool in ("OPENBLAS", "OMP", "MKL", "NUMBA"):
        os.environ[f"{_pool}_NUM_THREADS"] = "1"

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from bench import QUICK_ROUNDS, about, parsed, parser_of

from quatgrad import generator, quaternion, use_backend

COUNT, ROUNDS = 10**6, 31
ENGINES = ("numba", "numba float32", "numpy", "numpy-quaternion", "quaternionic", "scipy")
SLOW = "numpy"  # the rung of formulas: a second for each product of a million

Call = Callable[[], Any]


def ours(dtype: Any, count: int) -> dict[str, Call]:
    """quatgrad's functions, on whatever backend is in force when they are called."""
    p, q, v, t = operands(dtype, count)
    R = quaternion.to_rotation_matrix(p)
    return {
        "multiply": lambda: quaternion.multiply(p, q),
        "multiply, one by all": lambda: quaternion.multiply(p[0], q),
        "divide": lambda: quaternion.divide(p, q),
        "inverse": lambda: quaternion.inverse(q),
        "normalize": lambda: quaternion.normalize(q),
        "norm": lambda: quaternion.norm(q),
        "exp": lambda: quaternion.exp(q),
        "log": lambda: quaternion.log(q),
        "sqrt": lambda: quaternion.sqrt(q),
        "power": lambda: quaternion.power(q, t),
        "polar": lambda: quaternion.polar(q),
        "slerp": lambda: quaternion.slerp(p, q, t),
        "rotate": lambda: quaternion.rotate(q, v),
        "to_matrix": lambda: quaternion.to_rotation_matrix(p),
        "from_matrix": lambda: quaternion.from_rotation_matrix(R),
        "to_euler": lambda: quaternion.to_euler(p, "ZYX"),
        "to_euler, ZYZ": lambda: quaternion.to_euler(p, "ZYZ"),
        "from_euler, ZYZ": lambda: quaternion.from_euler(v, "ZYZ"),
        "to_rotation_vector": lambda: quaternion.to_rotation_vector(p),
        "from_rotation_vector": lambda: quaternion.from_rotation_vector(v),
        "distance": lambda: quaternion.distance(p, q),
        "distance, chordal": lambda: quaternion.distance(p, q, "rotor", "chordal"),
    }


def numpy_quaternion(count: int) -> dict[str, Call]:
    """The same in numpy-quaternion; vectors are turned as pure quaternions, its fastest way."""
    import quaternion as peer

    p, q, v, t = operands(np.float64, count)
    P, Q, V = peer.from_float_array(p), peer.from_float_array(q), peer.from_vector_part(v)
    R = quaternion.to_rotation_matrix(p)
    return {
        "multiply": lambda: P * Q,
        "multiply, one by all": lambda: P[0] * Q,
        "divide": lambda: P / Q,
        "inverse": lambda: np.reciprocal(Q),
        "normalize": lambda: Q / np.abs(Q),
        "norm": lambda: np.abs(Q),
        "exp": lambda: np.exp(Q),
        "log": lambda: np.log(Q),
        "sqrt": lambda: np.sqrt(Q),
        "power": lambda: Q**t,
        "slerp": lambda: np.slerp_vectorized(P, Q, t),
        "rotate": lambda: peer.as_vector_part(Q * V * np.reciprocal(Q)),
        "to_matrix": lambda: peer.as_rotation_matrix(P),
        "from_matrix": lambda: peer.from_rotation_matrix(R, nonorthogonal=False),
        "to_euler, ZYZ": lambda: peer.as_euler_angles(P),
        "from_euler, ZYZ": lambda: peer.from_euler_angles(v),
        "to_rotation_vector": lambda: peer.as_rotation_vector(P),
        "from_rotation_vector": lambda: peer.from_rotation_vector(v),
        "distance": lambda: peer.rotation_intrinsic_distance(P, Q),
        "distance, chordal": lambda: peer.rotor_chordal_distance(P, Q),
    }


def quaternionic(count: int) -> dict[str, Call]:
    """The same in quaternionic."""
    import quaternionic as peer

    p, q, v, t = operands(np.float64, count)
    P, Q, V = peer.array(p), peer.array(q), peer.array.from_vector_part(v)
    R = quaternion.to_rotation_matrix(p)
    return {
        "multiply": lambda: P * Q,
        "multiply, one by all": lambda: P[0] * Q,
        "divide": lambda: P / Q,
        "inverse": lambda: np.reciprocal(Q),
        "normalize": lambda: Q.normalized,
        "norm": lambda: np.abs(Q),
        "exp": lambda: np.exp(Q),
        "log": lambda: np.log(Q),
        "sqrt": lambda: np.sqrt(Q),
        "power": lambda: Q**t,
        "slerp": lambda: peer.slerp(P, Q, t),
        "rotate": lambda: (Q * V * np.reciprocal(Q)).vector,
        "to_matrix": lambda: P.to_rotation_matrix,
        "from_matrix": lambda: peer.array.from_rotation_matrix(R, nonorthogonal=False),
        "to_euler, ZYZ": lambda: P.to_euler_angles,
        "from_euler, ZYZ": lambda: peer.array.from_euler_angles(v),
        "to_rotation_vector": lambda: P.to_rotation_vector,
        "from_rotation_vector": lambda: peer.array.from_rotation_vector(v),
        "distance": lambda: peer.distance.rotation.intrinsic(P, Q),
        "distance, chordal": lambda: peer.distance.rotor.chordal(P, Q),
    }


def scipy(count: int) -> dict[str, Call]:
    """What SciPy has of it, on its own rotations."""
    from scipy.spatial.transform import Rotation

    p, q, v, _ = operands(np.float64, count)
    P, Q = (Rotation.from_quat(a, scalar_first=True) for a in (p, q))
    R = P.as_matrix()
    return {
        "rotate": lambda: Q.apply(v),
        "to_matrix": lambda: P.as_matrix(),
        "from_matrix": lambda: Rotation.from_matrix(R, assume_valid=True),
        "to_euler": lambda: P.as_euler("ZYX"),
        "to_euler, ZYZ": lambda: P.as_euler("ZYZ"),
        "from_euler, ZYZ": lambda: Rotation.from_euler("ZYZ", v),
        "to_rotation_vector": lambda: P.as_rotvec(),
        "from_rotation_vector": lambda: Rotation.from_rotvec(v),
        "distance": lambda: (P * Q.inv()).magnitude(),
    }


def operands(dtype: Any, count: int) -> tuple[Any, Any, Any, float]:
    """Two arrays of unit quaternions, vectors, and an exponent."""
    rng = generator(0, "bench", "algebra")
    p, q = quaternion.normalize(rng.standard_normal((2, count, 4))).astype(dtype)
    return p, q, rng.standard_normal((count, 3)).astype(dtype), 0.7


def contestants(count: int) -> dict[str, dict[str, Call]]:
    """Engine -> operation -> call, of the engines that are installed."""
    double, single = ours(np.float64, count), ours(np.float32, count)
    calls = {
        "numba": on("numba", double),
        "numba float32": on("numba", single),
        "numpy": on("numpy", double),
    }
    if find_spec("quaternion"):
        calls["numpy-quaternion"] = numpy_quaternion(count)
    if find_spec("quaternionic"):
        calls["quaternionic"] = quaternionic(count)
    if find_spec("scipy"):
        calls["scipy"] = scipy(count)
    return calls


def on(backend: str, calls: dict[str, Call]) -> dict[str, Call]:
    """The calls, each made on a backend."""

    def wrap(call: Call) -> Call:
        def wrapped() -> Any:
            with use_backend(backend):
                return call()

        return wrapped

    return {name: wrap(call) for name, call in calls.items()}


def measure(name: str, calls: dict[str, dict[str, Call]], rounds: int) -> dict[str, list[float]]:
    """Seconds of an operation, for each engine one of each round; the first round compiles."""
    times: dict[str, list[float]] = {engine: [] for engine in calls if name in calls[engine]}
    for k in range(rounds + 1):
        for engine in list(times)[:: 1 if k % 2 else -1]:
            if engine == SLOW and k > QUICK_ROUNDS:
                continue
            start = time.perf_counter()
            calls[engine][name]()
            if k:
                times[engine].append(time.perf_counter() - start)
    return times


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    p = parser_of("algebra", __doc__, ROUNDS)
    p.add_argument("--count", type=int, default=COUNT, help=f"quaternions (default: {COUNT:,})")
    options = parsed(p, argv, "algebra")
    if options.count < 1:
        p.error(f"--count is at least 1; got {options.count}")
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    calls = contestants(options.count)
    print(f"{'ms':<22}" + "".join(f"{e:>18}" for e in ENGINES))
    results = []
    for name in calls["numba"]:
        times = measure(name, calls, rounds)
        medians = {e: float(np.median(t)) for e, t in times.items()}
        best = {e: min(t) for e, t in times.items()}
        cells = [f"{medians[e] * 1e3:.2f}" if e in medians else "-" for e in ENGINES]
        print(f"{name:<22}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
        results.append({"name": name, "seconds": medians, "fastest": best})
    print(f"\nMedians of {rounds} rounds, {options.count:,} quaternions, one thread, float64.")
    if options.out:
        about_run = about(rounds, 1) | {"count": options.count}
        options.out.write_text(json.dumps(about_run | {"results": results}, indent=1) + "\n")
        print(f"Written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
