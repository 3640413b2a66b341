"""The folder of the datasets, and downloads: checked, and all files of a dataset or none."""

import hashlib
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from shutil import copyfileobj
from urllib.request import urlopen

from quatgrad.errors import DataError, OptionError, RunError, brief
from quatgrad.files import lock, whole_folder

CACHE = Path("~/.cache/quatgrad")
TIMEOUT = 30  # seconds without an answer


def data_root(data_dir: str | os.PathLike[str] | None) -> tuple[Path, bool]:
    """The folder of the datasets, and whether the user named it.

    It is `data_dir`, or else the environment variable QUATGRAD_DATA, or else ~/.cache/quatgrad.
    """
    named = data_dir or os.environ.get("QUATGRAD_DATA")
    try:
        root = Path(named or CACHE).expanduser()
        os.path.realpath(root)
        return root, bool(named)
    except ValueError as error:
        raise DataError(
            f"{brief(repr(named))} is no folder ({error}): give --data-dir DIR or set "
            "QUATGRAD_DATA=DIR to another"
        ) from error
    except RuntimeError as error:  # in a container, users have no home
        raise DataError(
            f"{brief(named or CACHE)} is in a home folder, and there is none: give --data-dir DIR "
            "or set QUATGRAD_DATA=DIR to a folder by its full name"
        ) from error
    except TypeError as error:
        raise OptionError(
            f"the folder of the data is a text or a Path; got {brief(repr(named))}"
        ) from error


def first_complete(
    name: str, folders: Sequence[Path], lacking: Callable[[Path], list[str]], advice: str
) -> Path:
    """The first of the `folders` that lacks no file of the dataset `name`.

    If there is none: `DataError`, with the files that the most complete of them lacks, or why it
    cannot be read.
    """
    gaps = {folder: lacking(folder) for folder in folders}
    folder = min(gaps, key=lambda folder: len(gaps[folder]))
    if not gaps[folder]:
        return folder
    why = f"lacks {brief(', '.join(gaps[folder]))}"
    try:
        os.listdir(folder)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        why = f"cannot be read: {getattr(error, 'strerror', error)}"
    raise DataError(f"{name}: {brief(folder, 200)} {why}; {advice}")


def fetch_folder(url: str, md5: str, folder: str, files: Sequence[str], root: Path) -> Path:
    """Download the .tar.gz at `url` and unpack `folder`/`files` from it into `root`.

    Returns `root/folder`. It is whole or absent, even if the process is killed.

    Raises `DataError`, which says how to do it by hand, if the network or the disk fails, if the
    MD5 sum is wrong, or if a file is not in the archive.
    """
    by_hand = (
        f"fetch {url} on a machine that can and unpack it with tar -xzf {_name(url)} -C {root}"
    )

    def fill(scratch: Path) -> None:
        _download(url, archive := scratch / "archive", md5)
        _unpack(archive, folder, files, scratch)
        archive.unlink()

    return _fetch(url, root / folder, by_hand, fill)


def fetch_files(url: str, md5: Mapping[str, str], folder: str, root: Path) -> Path:
    """Download the files `url`/NAME into `root/folder`; `md5` has the sum of each NAME.

    The folder is whole or absent, with the errors of `fetch_folder`.
    """
    by_hand = f"fetch {', '.join(md5)} from {url} on a machine that can, into {root / folder}"

    def fill(scratch: Path) -> None:
        for name, expected in md5.items():
            _download(f"{url}/{name}", scratch / name, expected)

    return _fetch(url, root / folder, by_hand, fill)


def _fetch(url: str, folder: Path, by_hand: str, fill: Callable[[Path], None]) -> Path:
    """The folder, made by `fill` unless it is there; errors become a `DataError` with advice."""
    root = folder.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with lock(root, wait=True):
            if not folder.exists():  # unless another process was quicker
                with whole_folder(folder, root / f".{folder.name}-downloading") as scratch:
                    fill(scratch)
    except (OSError, RunError, HTTPException, EOFError, tarfile.TarError, ValueError) as error:
        raise DataError(
            f"{url} could not be downloaded to {root}: {error}; to do it by hand, {by_hand}"
        ) from error
    return folder


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _download(url: str, target: Path, md5: str) -> None:
    from tqdm import tqdm

    with urlopen(url, timeout=TIMEOUT) as answer, open(target, "wb") as file:
        size = int(answer.headers.get("Content-Length", 0)) or None
        # disable=None: a progress bar on a terminal, silence in a log file
        with tqdm.wrapattr(
            answer, "read", total=size, desc=_name(url), unit="B", disable=None
        ) as counted:
            copyfileobj(counted, file, 1 << 20)
    _check_md5(target, md5)


def _check_md5(path: Path, expected: str) -> None:
    with open(path, "rb") as file:
        # MD5 finds a damaged file, and the site publishes it; it is no proof against fraud
        came = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if came != expected:
        raise DataError(f"its MD5 sum is {came}, not {expected}: it came damaged, try again")


def _unpack(archive: Path, folder: str, files: Sequence[str], target: Path) -> None:
    """Copy only `folder`/`files`, to names that we choose: a path in the archive has no effect."""
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar}
        for name in files:
            member = members.get(f"{folder}/{name}")
            if member is None or not member.isreg():
                raise DataError(f"the archive has no plain file {folder}/{name}")
            source = tar.extractfile(member)
            assert source is not None  # it is a plain file
            with source, open(target / name, "wb") as file:
                copyfileobj(source, file)
