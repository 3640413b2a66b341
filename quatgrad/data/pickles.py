"""Read a pickle that came over the network as data, never as a program.

A pickle is a program for a small machine. One of its instructions calls any Python function by its
name, so `pickle.load` of a foreign file runs whatever its author wanted; others grow ten bytes to
gigabytes. The machine here knows only what a dictionary of numbers, strings, lists of these and
arrays of bytes is made of, for graphs also of SciPy's matrices, and stops at the first thing that
is none of it.

All costs are bounded: every instruction takes a byte of the file or more, makes one small object,
and looks into none that is nested; there are at most `STEPS` of them; a long string stays in the
file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeGuard

import numpy as np
from scipy.sparse import csr_matrix

from quatgrad.errors import DataError, brief

STEPS = (
    1 << 21
)  # instructions: a file of 128,116 images takes 129,000, of 50,000 with names 250,000
BEGUN = 100  # lists and dictionaries: a file has five ...
NODES = 1 << 16  # ... and that of a graph one for each node
LONG = 1 << 16  # bytes: a longer string stays in the file
TEXT = 1 << 28  # bytes: a longer string is not decoded


class InFile(NamedTuple):
    """An array of bytes in C order that was not read: it starts at `offset` of the file."""

    offset: int
    shape: tuple[int, ...]


def read_pickle(path: Path, advice: str, *keys: str, leave_long: bool = False) -> dict[str, Any]:
    """The values of `keys` in the dictionary in the pickle `path`.

    They are uint8 arrays (read-only), strings, numbers, None, or lists of these; Python 2 strings
    are read as bytes. With `leave_long`, an array of more than `LONG` bytes is not read; it is an
    `InFile`, so that the memory needed does not grow with the number of images.

    Raises `DataError`, which names the file and ends with `advice`, if the file cannot be read,
    is damaged, is not a dictionary with these keys, or names any other function or class. Such a
    function or class is neither imported nor run.
    """
    with _opened(path, advice) as file:
        content = _Machine(file).run()
        if not isinstance(content, dict):
            raise DataError(f"it holds a {type(content).__name__.strip('_')}, not a dictionary")
        for key in keys:
            if key not in content:
                raise DataError(f"it has no '{key}', only {brief(sorted(map(str, content))[:20])}")
        return {key: _plain(content[key], file, leave_long) for key in keys}


def read_of_graph(path: Path, advice: str) -> Any:
    """What a file of Planetoid holds: an array, a `csr_matrix`, or a dictionary of lists.

    Errors as of `read_pickle`; no class of NumPy or SciPy is called by the file.
    """
    with _opened(path, advice) as file:
        content = _Machine(file, _OF_GRAPHS, NODES).run()
        if isinstance(content, _Matrix):
            return content.matrix(file)
        return _numbers(content, file) if isinstance(content, _Array) else content


@contextmanager
def _opened(path: Path, advice: str) -> Iterator[BinaryIO]:
    """The file; whatever is wrong with it is one `DataError`."""
    try:
        with open(path, "rb") as file:
            yield file
    except DataError as error:
        raise DataError(f"{path} was refused: {error}; {advice}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; {advice}") from error
    except (EOFError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise DataError(f"{path} is damaged or truncated ({brief(error)}); {advice}") from error


# ------------------------------------------------------------------------------- what is known


class _Array:
    """An array that a file describes; `_plain` checks it, if it is wanted."""

    def __init__(self, *arguments: Any) -> None:
        if len(arguments) >= 4:  # bytes, dtype, shape, order: `_frombuffer`
            raw, dtype, shape, order = arguments[:4]
            self.build(0, shape, dtype, order != "C", raw)
        else:
            self.build(0, (), None, True, b"")

    def build(self, version: Any, shape: Any, dtype: Any, is_fortran: Any, raw: Any) -> None:
        """The state of an array, which `_reconstruct` gets afterwards."""
        self.shape, self.dtype, self.is_fortran, self.raw = shape, dtype, is_fortran, raw


class _DType:
    """A dtype: its code. The state is the byte order: a byte has none."""

    def __init__(self, code: Any, *flags: Any) -> None:
        self.code, self.order = code, "<"

    def build(self, *state: Any) -> None:
        """The byte order."""
        self.order = state[1]


class _Matrix:
    """A matrix of few entries, as SciPy's compressed rows have it."""

    state: dict[str, Any] | None = None

    def matrix(self, file: BinaryIO) -> csr_matrix:
        """The same of SciPy, which checks that its parts fit."""
        known = self.state or {}
        shape = known.get("_shape", known.get("shape"))
        data, at, ptr = (_numbers(known[key], file) for key in ("data", "indices", "indptr"))
        if not (_is_shape(shape) and len(shape) == 2 and prod(shape) <= TEXT):
            raise ValueError("a matrix whose shape is no pair of numbers")
        if (data.ndim, at.ndim, ptr.ndim) != (1, 1, 1) or {at.dtype.kind, ptr.dtype.kind} != {"i"}:
            raise ValueError("a matrix whose rows are no whole numbers")
        found = csr_matrix((data, at, ptr), shape=shape)
        found.check_format(full_check=True)
        return found


class _Left(NamedTuple):
    """In place of `size` bytes at `offset` of the file, which are UTF-8 if `is_text`."""

    offset: int
    size: int
    is_text: bool


class _Name(str):
    """The name of a function: one of `_KNOWN`."""


_ENCODE = "_codecs.encode"  # how Python 3 writes bytes for Python 2
_KNOWN: dict[str, Callable[..., Any] | None] = {
    "numpy.ndarray": None,  # an argument of `_reconstruct`
    "numpy.dtype": _DType,
    "numpy.core.multiarray._reconstruct": _Array,  # NumPy 1
    "numpy._core.multiarray._reconstruct": _Array,  # NumPy 2
    "numpy.core.numeric._frombuffer": _Array,  # the same in protocol 5
    "numpy._core.numeric._frombuffer": _Array,
    _ENCODE: None,
}


def _lists(factory: Any) -> dict[str, Any]:
    """A dictionary that makes a list for a new key: here it makes none."""
    if factory not in ("__builtin__.list", "builtins.list"):
        raise ValueError("a dictionary of what is no list")
    return {}


#: Of graphs also these.
_OF_GRAPHS = _KNOWN | {
    "scipy.sparse.csr.csr_matrix": _Matrix,
    "scipy.sparse._csr.csr_matrix": _Matrix,
    "collections.defaultdict": _lists,
    "__builtin__.list": None,
    "builtins.list": None,
}


def _find(module: Any, name: Any, known: dict[str, Any]) -> _Name:
    if type(module) is not str or type(name) is not str:
        raise ValueError("a name that is no text")
    if f"{module}.{name}" not in known or "." in name:
        raise DataError(
            f"it asks to load {brief(f'{module}.{name}')}, for which data has no use and which was "
            "not run"
        )
    return _Name(f"{module}.{name}")


def _plain(value: Any, file: BinaryIO, leave_long: bool) -> Any:
    """A value as `read_pickle` gives it."""
    if isinstance(value, _Left):
        return _read_left(value, file)
    if not isinstance(value, _Array):
        return value
    shape, dtype, raw = value.shape, value.dtype, value.raw
    if type(dtype) is not _DType or dtype.code not in ("u1", b"u1") or value.is_fortran:
        raise DataError("it holds an array that is not uint8 in C order")
    if not _is_shape(shape):
        raise ValueError("an array whose shape is no tuple of numbers")
    if type(raw) not in (bytes, _Left):
        raise ValueError("an array without bytes")
    if type(raw) is _Left and raw.is_text:
        raw = _encoded(raw, file)
    size = raw.size if isinstance(raw, _Left) else len(raw)
    if prod(shape) != size:
        raise DataError(f"it holds an array {brief(shape)} of {size} bytes")
    if not isinstance(raw, _Left):
        return np.frombuffer(raw, dtype=np.uint8).reshape(shape)
    if leave_long:
        return InFile(raw.offset, shape)
    file.seek(raw.offset)
    array = np.fromfile(file, dtype=np.uint8, count=size).reshape(shape)
    array.flags.writeable = False
    return array


def _is_shape(shape: Any) -> TypeGuard[tuple[int, ...]]:
    return type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)


#: The numbers of a graph: whole ones, and reals.
_CODES = ("i1", "i2", "i4", "i8", "u1", "u2", "f4", "f8")


def _numbers(value: Any, file: BinaryIO) -> np.ndarray:
    """An array of numbers."""
    if type(value) is not _Array or type(value.dtype) is not _DType or value.is_fortran:
        raise DataError("it holds something else than an array of numbers in C order")
    dtype, raw = value.dtype, value.raw
    code, order = (
        x.decode("latin-1") if type(x) is bytes else x for x in (dtype.code, dtype.order)
    )
    if code not in _CODES or order not in ("<", "|"):
        raise DataError(f"it holds an array of {brief(f'{order}{code}')}, not of numbers")
    if type(raw) is _Left:
        raw = _encoded(raw, file) if raw.is_text else _read_left(raw, file)
    if type(raw) is not bytes or not _is_shape(value.shape):
        raise ValueError("an array without bytes, or whose shape is no tuple of numbers")
    if prod(value.shape) * int(code[1]) != len(raw):
        raise DataError(f"it holds an array {brief(value.shape)} of {len(raw)} bytes")
    return np.frombuffer(raw, f"<{code}").reshape(value.shape)


def _encoded(left: _Left, file: BinaryIO) -> bytes:
    """The bytes that a long text stands for: see `_Machine.encode`."""
    return _read_left(left, file).decode("utf-8").encode("latin-1")


def _read_left(left: _Left, file: BinaryIO) -> bytes:
    if left.size > TEXT:
        raise ValueError(f"a string of {left.size} bytes")
    file.seek(left.offset)
    return file.read(left.size)


# --------------------------------------------------------------------------------- the machine

SCALARS = {int, float, bool, type(None), str, bytes}
TUPLE = 16  # entries of the longest tuple: the state of a dtype has 9


class _Machine:
    """The instructions of a pickle that data is made of, one method for each kind."""

    def __init__(self, file: BinaryIO, known: dict[str, Any] = _KNOWN, most: int = BEGUN) -> None:
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.known, self.most = known, most
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.begun = 0  # lists and dictionaries
        self.encoded = 0  # bytes

    def run(self) -> Any:
        """The value that the file describes."""
        read, stack, memo = self.file.read, self.stack, self.memo
        for _ in range(STEPS):
            code = read(1)
            if code in _NUMBERS:
                stack.append(
                    int.from_bytes(self.read(_NUMBERS[code]), "little", signed=code == b"J")
                )
            elif code in _STRINGS:
                stack.append(self.string(code))
            elif code in _PUTS:
                memo[int.from_bytes(self.read(_PUTS[code]), "little")] = stack[-1]
            elif code == b"\x94":
                memo[len(memo)] = stack[-1]
            elif code in _ACTIONS:
                _ACTIONS[code](self)
            elif code == b".":
                return stack.pop()
            else:
                raise ValueError(f"instruction {code!r}" if code else "it ends too early")
        raise ValueError(f"more than {STEPS} instructions")

    # reading

    def read(self, n: int) -> bytes:
        """The next `n` bytes, all of them."""
        raw = self.file.read(n)
        if len(raw) < n:
            raise EOFError("it ends too early")
        return raw

    def line(self) -> bytes:
        """The next line, which is an argument of an old instruction, without its end."""
        line = self.file.readline(LONG)
        if not line.endswith(b"\n"):
            raise ValueError("a line without an end")
        return line[:-1]

    def string(self, code: bytes) -> Any:
        """The string that follows this instruction, or a `_Left` in place of it."""
        n, is_text = int.from_bytes(self.read(_STRINGS[code]), "little"), code in _TEXTS
        if n > LONG:
            offset = self.file.tell()
            if offset + n > self.size:
                raise EOFError(f"{n} bytes are missing")
            self.file.seek(n, os.SEEK_CUR)
            return _Left(offset, n, is_text)
        raw = self.read(n)
        return raw.decode("utf-8") if is_text else raw

    # the stack

    def since_mark(self) -> list[Any]:
        """What was put on the stack after the last mark; it is taken off."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def last(self, n: int) -> list[Any]:
        """The last `n` things on the stack; they are taken off."""
        if len(self.stack) - n < (self.marks[-1] if self.marks else 0):
            raise ValueError("something is taken that is not there")
        items = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return items

    # building

    def begin(self, empty: Any) -> None:
        """A new list or dictionary."""
        self.begun += 1
        if self.begun > self.most:
            raise ValueError(f"more than {self.most} lists")
        self.stack.append(empty)

    def extend(self, items: list[Any]) -> None:
        """Entries for the list on the stack."""
        if not set(map(type, items)) <= SCALARS:
            raise ValueError("a list of other things than numbers and strings")
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("entries for what is no list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        """Keys and values for the dictionary on the stack."""
        target, keys = self.stack[-1], items[::2]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("keys for what is no dictionary")
        for key, value in zip(keys, items[1::2], strict=True):
            if type(key) is not int and (type(key) not in (bytes, str) or len(key) > 1000):
                raise ValueError("a key that is no number and no short string")
            if type(value) is dict:
                raise ValueError("a dictionary in a dictionary")
            target[key.decode("utf-8") if isinstance(key, bytes) else key] = value

    def tuple(self, items: list[Any]) -> None:
        """A tuple of what was on the stack."""
        if len(items) > TUPLE:
            raise ValueError(f"a tuple of more than {TUPLE} entries")
        self.stack.append(tuple(items))

    def call(self) -> None:
        """One of the functions in `_KNOWN`, with the arguments on the stack."""
        name, arguments = self.last(2)
        if type(name) is not _Name or type(arguments) is not tuple:
            raise ValueError("a call of what is no function")
        function = self.encode if name == _ENCODE else self.known[name]
        if function is None or function is _Matrix:
            raise ValueError(f"a call of {name}")
        if function is _lists:
            self.begin(_lists(*arguments))
        else:
            self.stack.append(function(*arguments))

    def new(self) -> None:
        """A matrix without its parts, which its state has."""
        name, arguments = self.last(2)
        if type(name) is not _Name or self.known[name] is not _Matrix or arguments != ():
            raise ValueError("a new object of what is no matrix")
        self.stack.append(_Matrix())

    def encode(self, text: Any, codec: Any) -> bytes | _Left:
        """The bytes that `text` stands for; of a long text, its place in the file."""
        if type(codec) is not str or codec not in ("latin1", "latin-1"):
            raise ValueError("bytes in another codec than latin1")
        if type(text) is _Left and text.is_text:
            return text
        if type(text) is not str:
            raise ValueError("bytes that are no text")
        self.encoded += len(text)
        if self.encoded > self.size:
            raise ValueError("one text encoded again and again")
        return text.encode("latin-1")

    def build(self) -> None:
        """A state for the object on the stack."""
        (state,), target = self.last(1), self.stack[-1]
        if type(target) is _Matrix and type(state) is dict:
            target.state = state
        elif type(target) in (_Array, _DType) and type(state) is tuple:
            target.build(*state)
        else:
            raise ValueError("a state for what has none")

    def dictionary(self) -> None:
        """A dictionary of what was on the stack."""
        items = self.since_mark()
        self.begin({})
        self.update(items)

    def list(self) -> None:
        """A list of what was on the stack."""
        items = self.since_mark()
        self.begin([])
        self.extend(items)

    def quoted(self) -> None:
        """A string of Python 2 in quotes, without a backslash."""
        line = self.line()
        if len(line) < 2 or b"\\" in line:
            raise ValueError("a string with a backslash")
        self.stack.append(line[1:-1])

    def integer(self) -> None:
        """A number in decimal digits; 00 and 01 are False and True."""
        line = self.line()
        if len(line) > 20:
            raise ValueError("a number of more than 20 digits")
        flags = {b"00": False, b"01": True}
        self.stack.append(flags[line] if line in flags else int(line.removesuffix(b"L")))

    def long(self) -> None:
        """A number of at most 8 bytes."""
        n = self.read(1)[0]
        if n > 8:
            raise ValueError("a number of more than 8 bytes")
        self.stack.append(int.from_bytes(self.read(n), "little", signed=True))


def _find_on_stack(m: _Machine) -> None:
    module, name = m.last(2)
    m.stack.append(_find(module, name, m.known))


def _find_in_lines(m: _Machine) -> None:
    m.stack.append(_find(m.line().decode(), m.line().decode(), m.known))


def _get(m: _Machine, index: int) -> None:
    m.stack.append(m.memo[index])


#: Instruction -> the bytes of the number that follows it.
_NUMBERS = {b"K": 1, b"M": 2, b"J": 4}
#: Instruction -> the bytes of the length of the string that follows it: of Python 2, bytes, text.
_STRINGS = {
    b"U": 1,
    b"T": 4,
    b"C": 1,
    b"B": 4,
    b"\x8e": 8,
    b"\x96": 8,
    b"\x8c": 1,
    b"X": 4,
    b"\x8d": 8,
}
_TEXTS = (b"\x8c", b"X", b"\x8d")
#: Instruction -> the bytes of the place in the memory that follows it.
_PUTS = {b"q": 1, b"r": 4}
_ACTIONS: dict[bytes, Callable[[_Machine], Any]] = {
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b")": lambda m: m.stack.append(()),
    b"\x80": lambda m: m.read(1),  # the protocol
    b"\x95": lambda m: m.read(8),  # how many bytes belong together
    b"]": lambda m: m.begin([]),
    b"}": lambda m: m.begin({}),
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"l": lambda m: m.list(),
    b"d": lambda m: m.dictionary(),
    b"e": lambda m: m.extend(m.since_mark()),
    b"a": lambda m: m.extend(m.last(1)),
    b"u": lambda m: m.update(m.since_mark()),
    b"s": lambda m: m.update(m.last(2)),
    b"t": lambda m: m.tuple(m.since_mark()),
    b"\x85": lambda m: m.tuple(m.last(1)),
    b"\x86": lambda m: m.tuple(m.last(2)),
    b"\x87": lambda m: m.tuple(m.last(3)),
    b"c": _find_in_lines,
    b"\x93": _find_on_stack,
    b"R": lambda m: m.call(),
    b"\x81": lambda m: m.new(),
    b"b": lambda m: m.build(),
    b"I": lambda m: m.integer(),
    b"L": lambda m: m.integer(),
    b"\x8a": lambda m: m.long(),
    b"S": lambda m: m.quoted(),
    b"V": lambda m: m.stack.append(m.line().decode("raw-unicode-escape")),
    b"F": lambda m: m.stack.append(float(m.line())),
    b"G": lambda m: m.stack.append(float(np.frombuffer(m.read(8), ">f8")[0])),
    b"p": lambda m: m.memo.update({int(m.line()): m.stack[-1]}),
    b"g": lambda m: _get(m, int(m.line())),
    b"h": lambda m: _get(m, m.read(1)[0]),
    b"j": lambda m: _get(m, int.from_bytes(m.read(4), "little")),
}
