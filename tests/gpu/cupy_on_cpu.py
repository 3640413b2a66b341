"""A stand-in for CuPy that computes with NumPy, as strict as CuPy is: for tests without a GPU.

What CuPy refuses, this refuses: NumPy arrays as operands, silent copies to the host, functions
that it lacks (only those in FUNCTIONS are there; test_cupy_on_cpu.py looks for them in CuPy where
it is installed). It counts copies between host and device, and runs raw kernels on the CPU.

A stream records: then nothing is computed that anyone could see, and a graph's launch does what was
recorded, on the arrays of then.
"""

from collections import Counter
from contextlib import contextmanager, nullcontext
from types import ModuleType, SimpleNamespace

import cuda_on_cpu
import numpy as np
import scipy.special

#: What the engine uses of CuPy. Before you add a name, look whether CuPy has it.
FUNCTIONS = """
    abs add arange arccos arcsin arctan2 argmax argsort array ascontiguousarray asarray bincount
    broadcast_arrays broadcast_to clip
    concatenate copysign cos cross cumprod diagonal einsum empty empty_like exp eye hypot isfinite
    isinf isnan log log1p
    logical_and maximum may_share_memory minimum moveaxis multiply ndim negative ones ones_like pad
    repeat searchsorted shape sign sin sinc split sqrt stack
    subtract sum take take_along_axis tanh tensordot where zeros zeros_like
"""
#: And of cupyx.scipy.special.
SPECIAL = "erf expit"
#: Methods of arrays.
METHODS = """
    all any argmax astype clip copy max mean min ravel reshape sum swapaxes transpose var view
"""
BY_CUBLAS = {"einsum", "tensordot", "__matmul__", "__rmatmul__"}
OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor"
COMPARISONS = "neg pos abs invert lt le eq ne gt ge"

#: "to_device" and "to_host": how often arrays moved; "kernel NAME": how often it was launched.
counts: Counter[str] = Counter()

#: What is being recorded: calls to be made when the graph is launched. None: nothing is.
tape = None


class ndarray:
    """An array that is on the device, as far as its user can see."""

    __module__ = "cupy"

    def __init__(self, on_cpu):
        self.on_cpu = np.asarray(on_cpu)

    shape = property(lambda a: a.on_cpu.shape)
    ndim = property(lambda a: a.on_cpu.ndim)
    size = property(lambda a: a.on_cpu.size)
    dtype = property(lambda a: a.on_cpu.dtype)
    nbytes = property(lambda a: a.on_cpu.nbytes)
    itemsize = property(lambda a: a.on_cpu.itemsize)
    T = property(lambda a: ndarray(a.on_cpu.T))
    flags = property(lambda a: SimpleNamespace(c_contiguous=a.on_cpu.flags.c_contiguous))
    data = property(lambda a: SimpleNamespace(ptr=a.on_cpu.ctypes.data))

    def get(self):
        if tape is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported")
        counts["to_host"] += 1
        return self.on_cpu.copy()

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __bool__(self):
        return bool(self.item())

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __len__(self):
        return len(self.on_cpu)

    def __iter__(self):
        return map(ndarray, self.on_cpu)

    def __repr__(self):
        return f"device {self.on_cpu!r}"

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        assert method == "__call__", f"{ufunc.__name__}.{method} of a CuPy array"
        return getattr(cupy, ufunc.__name__)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return getattr(cupy, function.__name__)(*args, **kwargs)

    def __getitem__(self, index):
        index = _index(index)
        return function(lambda a: a[index])(self)

    def __setitem__(self, index, value):
        index, value = _index(index), _host(value)
        _do(lambda: self.on_cpu.__setitem__(index, value))


def _index(index):
    """CuPy takes lists and NumPy arrays as indices too, and copies them to the device."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if isinstance(part, list | np.ndarray):
            _moves(len(part))
    parts = tuple(p.on_cpu if isinstance(p, ndarray) else p for p in parts)
    return parts if isinstance(index, tuple) else parts[0]


def _host(value):
    """The NumPy value of an argument. A NumPy array itself is refused, as CuPy does."""
    if isinstance(value, ndarray):
        return value.on_cpu
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return type(value)(map(_host, value)) if isinstance(value, list | tuple) else value


def _device(result):
    """Whatever NumPy made, as CuPy gives it: numbers are arrays without axes."""
    if isinstance(result, np.ndarray | np.generic):
        return ndarray(result)
    return type(result)(map(_device, result)) if isinstance(result, list | tuple) else result


def function(f):
    """f, from NumPy arrays to new ones, as a function of device arrays."""

    def call(*args, **kwargs):
        args, kwargs = tuple(map(_host, args)), {k: _host(v) for k, v in kwargs.items()}
        if tape is None:
            return _device(f(*args, **kwargs))
        if getattr(f, "__name__", "") in BY_CUBLAS:
            raise NotImplementedError("calling cuBLAS API during stream capture is unsupported")
        with np.errstate(all="ignore"):  # of numbers that no one sees
            result = _device(f(*args, **kwargs))
        parts = result if isinstance(result, list | tuple) else [result]
        outs = [np.asarray(p.on_cpu) for p in parts if isinstance(p, ndarray)]
        sources = [a for a in (getattr(f, "__self__", None), *args) if isinstance(a, np.ndarray)]
        if outs and not any(np.may_share_memory(o, a) for o in outs for a in sources):

            def again():
                new = f(*args, **kwargs)
                new = new if isinstance(new, list | tuple) else [new]
                for out, value in zip(outs, new, strict=True):
                    np.copyto(out, value)

            tape.append(again)
        return result

    return call


def _do(write):
    """Something that changes arrays: now, or when the graph is launched."""
    write() if tape is None else tape.append(write)


def _method(name):
    return lambda a, *args, **kwargs: function(getattr(a.on_cpu, name))(*args, **kwargs)


def _in_place(name):
    def call(self, other):
        other = _host(other)
        _do(lambda: getattr(self.on_cpu, name)(other))
        return self

    return call


for _name in METHODS.split() + [f"__{n}__" for n in COMPARISONS.split()]:
    setattr(ndarray, _name, _method(_name))
for _name in OPERATORS.split():
    setattr(ndarray, f"__{_name}__", _method(f"__{_name}__"))
    setattr(ndarray, f"__r{_name}__", _method(f"__r{_name}__"))
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))


# ------------------------------------------------------------------------------- the module


def _moves(nbytes):
    """A copy from the host, by way of pinned memory."""
    allocate_pinned(nbytes)
    counts["to_device"] += 1


def _to_device(a, dtype=None, copy=True, order="C"):
    if isinstance(a, ndarray):
        return function(np.array)(a, dtype=dtype, order=order)
    a = np.array(a, dtype=dtype, order=order)
    if a.ndim:  # a number is filled in
        _moves(a.nbytes)
    return ndarray(a)


def _asarray(a, dtype=None, order=None):
    there = isinstance(a, ndarray) and dtype in (None, a.dtype)
    if there and (order is None or a.flags.c_contiguous):
        return a
    return _to_device(a, dtype, order=order or "C")


def _empty(shape, dtype=float):
    """Memory that holds anything: a kernel that forgets an entry is found out."""
    return ndarray(np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 99, dtype))


def _add_at(a, index, values):
    index, values = _index(index), _host(values)
    _do(lambda: np.add.at(a.on_cpu, index, values))


class RawModule:
    """CUDA source whose kernels run on the CPU."""

    def __init__(self, *, code, options=()):
        self.code, self.options = code, options

    def get_function(self, name):
        def kernel(grid, block, args, *, shared_mem=0):
            def launch():
                counts[f"kernel {name}"] += 1
                cuda_on_cpu.launch(self.code, self.options, name, grid, block, args, _host)

            _do(launch)

        return kernel


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory.OutOfMemoryError."""


class CUDARuntimeError(RuntimeError):
    """As cupy.cuda.runtime.CUDARuntimeError."""


class Event:
    """A moment of a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.stream = None


class Stream:
    """A stream that records. What it is given is done at once."""

    ptr = 0

    def __init__(self, null=False, non_blocking=False, ptds=False):
        self.non_blocking = non_blocking

    def __enter__(self):
        streams.append(self)
        return self

    def __exit__(self, *exception):
        streams.pop()

    def record(self, event):
        event.stream = self
        return event

    def wait_event(self, event):
        assert event.stream is not None, "an event that no stream has recorded"
        waited.append((self, event.stream))

    def begin_capture(self):
        global tape
        tape = []

    def end_capture(self):
        global tape
        recorded, tape = tape, None
        return SimpleNamespace(launch=lambda stream: [call() for call in recorded])


#: The current stream is the last.
streams = [Stream()]
#: (a stream, the one for an event of which it waited)
waited = []


class MemoryPool:
    """As cupy.cuda.MemoryPool; the memory is Python's."""

    def malloc(self, nbytes):
        """Not called: arrays are NumPy's."""


def allocate_anywhere(nbytes):
    """The allocator of pinned memory that is there from the beginning."""


allocate_pinned = allocate_anywhere


def _set_pinned_memory_allocator(allocator):
    global allocate_pinned
    allocate_pinned = allocator


def _sliding_window_view(x, window_shape, axis=None):
    return ndarray(np.lib.stride_tricks.sliding_window_view(_host(x), window_shape, axis))


cupy = ModuleType("cupy")
for _name in FUNCTIONS.split():
    setattr(cupy, _name, function(getattr(np, _name)))
cupy.add.at = _add_at
vars(cupy).update(
    ndarray=ndarray, array=_to_device, asarray=_asarray, empty=_empty, RawModule=RawModule,
    empty_like=lambda a: _empty(a.shape, a.dtype),
    ascontiguousarray=lambda a: _asarray(a, order="C").reshape(a.shape or 1),  # of a number a row
    may_share_memory=lambda a, b: np.may_share_memory(a.on_cpu, b.on_cpu),
    linalg=SimpleNamespace(eigh=function(np.linalg.eigh)),
    get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
    get_default_pinned_memory_pool=lambda: SimpleNamespace(malloc=allocate_anywhere),
    lib=SimpleNamespace(stride_tricks=SimpleNamespace(sliding_window_view=_sliding_window_view)),
    cuda=SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1, CUDARuntimeError=CUDARuntimeError,
            driverGetVersion=lambda: 12090, runtimeGetVersion=lambda: 12090,
        ),
        get_current_stream=lambda: streams[-1], Event=Event,
        Stream=Stream, MemoryPool=MemoryPool, using_allocator=lambda allocator: nullcontext(),
        set_pinned_memory_allocator=_set_pinned_memory_allocator,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    ),
)  # fmt: skip


#: As cupyx.scipy.special.
special = ModuleType("cupyx.scipy.special")
for _name in SPECIAL.split():
    setattr(special, _name, function(getattr(scipy.special, _name)))


class _OGrid:
    def __getitem__(self, slices):
        return tuple(map(ndarray, np.ogrid[slices]))


cupy.ogrid = _OGrid()


@contextmanager
def counted():
    """How often what happened inside the block: a Counter, filled at its end."""
    before, inside = counts.copy(), Counter()
    yield inside
    inside.update(counts - before)
