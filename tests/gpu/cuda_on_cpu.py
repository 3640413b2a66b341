"""Raw CUDA kernels on the CPU: g++ compiles the source with cuda_on_cpu.h, ctypes calls it."""

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
TYPES = {
    "float": np.float32, "double": np.float64, "int": np.int32, "unsigned": np.uint32,
    "long long": np.int64, "unsigned long long": np.uint64, "unsigned char": np.uint8,
    "unsigned short": np.uint16, "bool": np.bool_,
}  # fmt: skip


def parameters(code, options=()):
    """Of each kernel in the source: [(type in C, is it a pointer?)]."""
    names = dict(o[2:].split("=") for o in options if o.startswith("-D"))
    names |= {new: names.get(old, old) for old, new in re.findall(r"typedef (\w+) (\w+);", code)}
    kernels = {}
    for name, text in KERNEL.findall(code):
        found = []
        for parameter in text.replace("\n", " ").split(","):
            kind = re.sub(r"\b(const|__restrict__)\b", "", parameter.rsplit(None, 1)[0])
            pointer = "*" in parameter
            kind = " ".join(kind.replace("*", "").split())
            found.append((names.get(kind, kind), pointer))
        kernels[name] = found
    return kernels


@cache
def library(code, options=()):
    """The source as a shared library with `bool run_NAME(grid, block, arguments)`."""
    wrap = ['#include "cuda_on_cpu.h"', code]
    for name, found in parameters(code, options).items():
        args = ", ".join(f"*({t}{'*' * p}*)p[{k}]" for k, (t, p) in enumerate(found))
        wrap.append(
            f'extern "C" bool run_{name}(const unsigned* grid, const unsigned* block, void** p) '
            f"{{ return fibers::launch(grid, block, [=] {{ {name}({args}); }}); }}"
        )
    text = "\n".join(wrap)
    header = (HERE / "cuda_on_cpu.h").read_text()
    key = hashlib.sha256("\0".join((text, header, *options)).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"quatgrad-kernels-{os.getuid()}" / f"{key}.so"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        defines = [o for o in options if o.startswith("-D")]
        subprocess.run(
            ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wno-unused", *defines,
             f"-I{HERE}", "-x", "c++", "-", "-o", str(new)],
            input=text, text=True, check=True,
        )  # fmt: skip
        new.replace(path)  # another process may have made it meanwhile
    return ctypes.CDLL(str(path))


def launch(code, options, name, grid, block, args, host):
    """Run a kernel; `host(a)` is the NumPy array of an argument. Checks what CUDA does not."""
    wanted = parameters(code, options)[name]
    assert len(args) == len(wanted), f"{name} takes {len(wanted)} arguments; got {len(args)}"
    grid, block = (tuple(map(int, (*size, 1, 1)[:3])) for size in (grid, block))
    assert 1 <= np.prod(block) <= 1024, f"{name}: a block of {block}"
    assert min(grid) >= 1, f"{name}: a grid of {grid}"
    assert max(grid[1:]) <= 65535, f"{name}: a grid of {grid}"
    kept = []
    for position, (a, (kind, pointer)) in enumerate(zip(args, wanted, strict=True)):
        where, dtype = f"argument {position} of {name}", TYPES[kind]
        if pointer:
            a = host(a)
            assert a.dtype == dtype, f"{where} is {a.dtype}, not {kind}*"
            assert a.flags.c_contiguous, f"{where} is not contiguous"
            kept.append(ctypes.c_void_p(a.ctypes.data))
        else:
            assert type(a) is dtype, f"{where} is {a!r}, not a NumPy {kind}"
            kept.append(ctypes.c_buffer(a.tobytes()))
    pointers = (ctypes.c_void_p * len(kept))(*map(ctypes.addressof, kept))
    run = getattr(library(code, options), f"run_{name}")
    run.restype = ctypes.c_bool
    sizes = ((ctypes.c_uint * 3)(*size) for size in (grid, block))
    assert run(*sizes, pointers), f"{name}: threads wait for each other at different places"
