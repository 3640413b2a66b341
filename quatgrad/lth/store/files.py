"""Files on disk. They are written whole or not at all, and read back only if undamaged.

runs/
    digits-resnet8-1a2b3c4d/   an experiment
        config.json            what was run: every option that changes the numbers
        accuracy.png .svg      the picture; comparison.csv has its numbers
        analysis/              what `analyse` found, in numbers and pictures
        tensorboard/           the epochs, with `--log tensorboard`
        trial0/, trial1/ ...   seed, seed + 1, ...
            real/, quaternion/, half/, real-shuffled/ ...
                level_00 ...   links to the stages of this search; levels.csv the same as a table
                ended.json     why it ended early; epochs_00.csv ... with `--log csv`
                finetuned/     the same of the first pass, where masks come from one
    stages/                    one folder for each network that was trained: see stage.py
        dense-resnet8-real-5e0c...
        level_01-resnet8-real-9b1f...

Searches that need the same training have links to one stage. It is trained once. A `Search` from
Python that shares no stages is a run of its own: config.json, its links and stages/ in one folder.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from errno import ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.errors import RunError
from quatgrad.files import temporary_path, write_whole
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.tensor_file import digest

CHECKSUM = "sha256"
DONE = "done"  # the last file of a directory that is finished


def prepare_directory(path: Path, option: str = "out") -> None:
    """Make the directory that `option` names, and prove that files can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = temporary_path(path / "probe")
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise RunError(
            f"cannot write to {path}: {error.strerror}; choose another directory with `{option}`"
        ) from error


def write_file(path: Path, content: bytes) -> None:
    """Write `path` so that a reader finds the old content or the new, whatever happens."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}; nothing was changed there. Make room or "
            "choose another `out`, and run the same command to go on"
        ) from error


def link(path: Path, target: Path) -> None:
    """Make `path` a link to `target`, relative, so that a folder that holds both may move."""
    to = os.path.relpath(target.resolve(), path.parent.resolve())
    if path.is_symlink() and os.readlink(path) == to:
        return
    temporary = temporary_path(path)
    try:
        os.symlink(to, temporary, target_is_directory=True)
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"cannot link {path} to {target}: {error.strerror}; move what is there "
            "away, or choose another `out`"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], compress: bool = True) -> None:
    """Arrays by name as one .npz, with a checksum inside; bool arrays as bits.

    Compression saves a tenth of trained weights and takes ten times as long.
    """
    buffer = io.BytesIO()
    stored = {k: _packed(a) for k, a in arrays.items()}
    shapes = {k: list(a.shape) for k, a in arrays.items() if a.dtype == bool}
    header = json.dumps({"bits": shapes, CHECKSUM: digest(stored)})
    save = np.savez_compressed if compress else np.savez
    save(buffer, __header__=np.array(header), **stored)  # type: ignore[arg-type]
    write_file(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote; `RunError` if the file is missing or damaged."""
    return parse_arrays(read(path), path)


def parse_arrays(content: bytes, path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote to `path`, of the content of that file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as f:
            stored = {k: f[k] for k in f.files}
        header = json.loads(str(stored.pop("__header__")))
        if header[CHECKSUM] != digest(stored):
            raise ValueError("its checksum is wrong")
        for name, shape in header["bits"].items():
            count = int(np.prod(shape))
            stored[name] = np.unpackbits(stored[name], count=count).astype(bool).reshape(shape)
    except Exception as error:  # zip, deflate, .npy and JSON each have errors of their own
        raise damaged(path, error) from error
    return stored


def save_ticket(path: str | Path, ticket: Ticket) -> None:
    """Write a ticket to one file, whole or not at all."""
    write_arrays(Path(path), ticket.arrays())


def load_ticket(path: str | Path) -> Ticket:
    """Read what `save_ticket` wrote; `RunError` for a missing or damaged file.

    A .ticket file is another one: it is a trained network, and `quatgrad.sparse.load` reads it.
    """
    if Path(path).suffix == ".ticket":
        raise RunError(f"{path} has a network for devices: quatgrad.sparse.load reads it")
    return Ticket.of(read_arrays(Path(path)))


def damaged(path: Path, why: object) -> RunError:
    """The error for a file that is not what was written."""
    return RunError(f"{path} is damaged ({why}); delete its directory, run again")


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON."""
    write_file(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def finalize(directory: Path) -> None:
    """Call a directory finished: the checksums of its files, in a file `done`, written last.

    Folders, links that lead nowhere and hidden files are not its own: a notebook, a file manager or
    another process put them there.
    """
    names = sorted(
        p.name for p in directory.iterdir() if p.is_file() and not p.name.startswith(".")
    )
    own = [name for name in names if name not in ("checkpoint.npz", DONE)]
    write_json(directory / DONE, {name: _sha256(read(directory / name)) for name in own})


def is_final(directory: Path) -> bool:
    """Is the directory finished?"""
    return exists(directory / DONE)


def read_final(path: Path, checksums: Mapping[str, str]) -> bytes:
    """A file of a finished directory; `RunError` if it is not the file that was finished."""
    content = read(path)
    if path.name not in checksums:
        raise damaged(path.parent / DONE, f"it has no checksum of {path.name}")
    if checksums[path.name] != _sha256(content):
        raise damaged(path, "its checksum is wrong")
    return content


def level_path(directory: Path, level: int) -> Path:
    """Where the directory of a search has its level: a link to a stage."""
    return directory / f"level_{level:02d}"


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as CSV, columns in the order of the first row."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, fieldnames=list(rows[0]), extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue().encode())


def folder_name(text: str) -> str:
    """A text as part of the name of a folder: what a path cannot have becomes -."""
    return re.sub(r"[^\w.+-]+", "-", text)


def content_key(value: Any) -> str:
    """SHA-256 of a value of JSON: equal values have equal keys, on every machine."""
    return _sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def exists(path: Path) -> bool:
    """Is there such a file or folder? `RunError` where that cannot be seen."""
    try:
        path.stat()
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG):
            return False
        raise RunError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError:  # a NUL in its name
        return False
    return True


def read(path: Path) -> bytes:
    """A file; `RunError` if it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path} is missing; delete its directory to run it again") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror})") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _packed(a: np.ndarray) -> np.ndarray:
    # Not ascontiguousarray, which gives an axis to arrays that have none.
    return np.packbits(a) if a.dtype == bool else np.asarray(a, order="C")
