"""Download an archive, check it, and unpack the files that are wanted: all of them or nothing."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from shutil import copyfileobj
from urllib.request import urlopen

from quatgrad.errors import DataError

TIMEOUT = 30  # seconds without an answer


def fetch_folder(url: str, md5: str, folder: str, files: Sequence[str], root: Path) -> Path:
    """Download the .tar.gz at `url` and unpack `folder`/`files` from it into `root`.

    The work is done in a temporary folder inside `root`, which is removed on success and on any
    error; the result appears by one rename, so `root/folder` is whole or absent, even if the
    process is killed. Returns `root/folder`.

    Raises `DataError`, which says how to do it by hand, if the network or the disk fails, if the
    MD5 sum differs, or if the archive lacks one of the files.
    """
    by_hand = (
        f"to do it by hand, fetch {url} on a machine that can and unpack it with "
        f"tar -xzf {url.rpartition('/')[2]} -C {root}"
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as scratch:
            archive = Path(scratch) / "archive"
            _download(url, archive)
            _check_md5(archive, md5)
            _unpack(archive, folder, files, Path(scratch))
            if not (root / folder).exists():  # unless another process was quicker
                os.replace(Path(scratch) / folder, root / folder)
    except (OSError, HTTPException, EOFError, tarfile.TarError, ValueError) as error:
        raise DataError(f"{url} could not be downloaded to {root}: {error}; {by_hand}") from error
    return root / folder


def _download(url: str, target: Path) -> None:
    from tqdm import tqdm

    with urlopen(url, timeout=TIMEOUT) as answer, open(target, "wb") as file:
        size = int(answer.headers.get("Content-Length", 0)) or None
        # disable=None: a progress bar on a terminal, silence in a log file
        with tqdm.wrapattr(
            answer, "read", total=size, desc=url.rpartition("/")[2], unit="B", disable=None
        ) as counted:
            copyfileobj(counted, file, 1 << 20)


def _check_md5(path: Path, expected: str) -> None:
    with open(path, "rb") as file:
        # MD5 tells a damaged file, and is what the site publishes; it is no seal against fraud
        came = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if came != expected:
        raise DataError(f"its MD5 sum is {came}, not {expected}: it came damaged, try again")


def _unpack(archive: Path, folder: str, files: Sequence[str], target: Path) -> None:
    """Copy `folder`/`files` alone, under names of ours: no path in the archive is ever obeyed."""
    (target / folder).mkdir()
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar}
        for name in files:
            member = members.get(f"{folder}/{name}")
            if member is None or not member.isreg():
                raise DataError(f"the archive has no plain file {folder}/{name}")
            source = tar.extractfile(member)
            assert source is not None  # it is a plain file
            with source, open(target / folder / name, "wb") as file:
                copyfileobj(source, file)
