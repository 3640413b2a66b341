"""Runs on disk. Files are written whole or not at all, and read back only if undamaged.

runs/digits-resnet8-1a2b3c4d/
    config.json                what was run: every option that changes the numbers
    accuracy.png .svg          the picture; comparison.csv the table behind it
    trial0/, trial1/ ...       seed, seed + 1, ...
        real/, quaternion/, half/
            levels.jsonl       one line for each finished level; levels.csv the same as a table
            start.npz          the state before all training; late.npz after --late epochs
            checkpoint.npz     the level in training, at the end of an epoch
            level_00.npz ...   masks and trained state of each level
            finetuned/         the same of the first pass, where masks come from one
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.errors import RunError

CHECKSUM = "sha256"


def prepare_directory(path: Path, option: str = "--out") -> None:
    """Make the directory that `option` asked for, and prove that files can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise RunError(
            f"cannot write to {path}: {error.strerror}; choose another directory with {option}"
        ) from error


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the directory; `RunError` if another process does. A process that dies lets go."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another process is at work in {directory}; wait for it, or choose another --out"
            ) from None
        yield
    finally:
        os.close(handle)


def write_file(path: Path, content: bytes) -> None:
    """Write `path` so that a reader finds the old content or the new, whatever happens.

    A temporary file beside it is written, flushed to the disk and renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}; nothing was changed there. Make room or "
            "choose another --out, and run the same command to go on"
        ) from error
    finally:
        with suppress(OSError):  # it is gone already, unless something went wrong
            temporary.unlink()


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays by name as one compressed .npz, with a checksum inside; bool arrays as bits."""
    buffer = io.BytesIO()
    stored = {k: _packed(a) for k, a in arrays.items()}
    shapes = {k: list(a.shape) for k, a in arrays.items() if a.dtype == bool}
    header = json.dumps({"bits": shapes, CHECKSUM: digest(stored)})
    np.savez_compressed(buffer, __header__=np.array(header), **stored)  # type: ignore[arg-type]
    write_file(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote; `RunError` if the file is missing or damaged."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as f:
            stored = {k: f[k] for k in f.files}
        header = json.loads(str(stored.pop("__header__")))
        if header[CHECKSUM] != digest(stored):
            raise ValueError("its checksum is wrong")
        for name, shape in header["bits"].items():
            count = int(np.prod(shape))
            stored[name] = np.unpackbits(stored[name], count=count).astype(bool).reshape(shape)
    except FileNotFoundError:
        raise RunError(f"{path} is missing; delete its directory to run it again") from None
    except Exception as error:  # zip, deflate, .npy and JSON each have errors of their own
        raise RunError(f"{path} is damaged ({error}); delete its directory, run again") from error
    return stored


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        a = np.asarray(arrays[name], order="C")
        sha.update(f"{name} {a.dtype.str} {a.shape}".encode())
        sha.update(a.tobytes())
    return sha.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON."""
    write_file(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any:
    """A JSON file; `RunError` if it is damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}); delete its directory, run again") from error


def write_records(directory: Path, records: list[dict[str, Any]]) -> None:
    """All finished levels: levels.jsonl, which counts, and levels.csv, for spreadsheets."""
    flat = [{k: v for k, v in r.items() if not isinstance(v, list | dict)} for r in records]
    write_csv(directory / "levels.csv", flat)
    lines = "".join(_json(r | {CHECKSUM: _sha256(_json(r))}) + "\n" for r in records)
    write_file(directory / "levels.jsonl", lines.encode())


def read_records(directory: Path) -> list[dict[str, Any]]:
    """The finished levels of a run, in order; none if it has not started."""
    path = directory / "levels.jsonl"
    if not path.exists():
        return []
    try:
        records = [json.loads(line) for line in path.read_text().splitlines()]
        if [r["level"] for r in records] != list(range(len(records))):
            raise ValueError("levels are missing or out of order")
        for r in records:
            if r.pop(CHECKSUM) != _sha256(_json(r)):
                raise ValueError(f"the checksum of level {r['level']} is wrong")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); delete its directory, run again") from error
    return records


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as CSV, columns in the order of the first row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue().encode())


def config_key(config: Mapping[str, Any]) -> str:
    """Eight hex digits that name a configuration: equal configurations share a directory."""
    return _sha256(json.dumps(config, sort_keys=True, separators=(",", ":")))[:8]


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _packed(a: np.ndarray) -> np.ndarray:
    # Not ascontiguousarray, which gives an axis to arrays that have none.
    return np.packbits(a) if a.dtype == bool else np.asarray(a, order="C")
