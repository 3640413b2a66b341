"""Downloads, from archives made here: `urlopen` is replaced, and no test needs a network."""

import hashlib
import io
import tarfile
from email.message import Message
from urllib.error import URLError

import pytest

from quatgrad import data
from quatgrad.data import cifar, fetch
from quatgrad.errors import DataError

URL = "https://example.org/pets.tar.gz"
GOOD = {"pets/cat": b"miaow", "pets/dog": b"woof"}


def tar_of(members):
    """The bytes of a .tar.gz; a member is bytes, or the target of a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Answer(io.BytesIO):
    def __init__(self, raw):
        super().__init__(raw)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(raw))


@pytest.fixture
def serve(monkeypatch):
    """A function that makes `urlopen` answer with these bytes, or raise this exception."""

    def serve(answer):
        def urlopen(url, timeout):
            if isinstance(answer, Exception):
                raise answer
            return Answer(answer)

        monkeypatch.setattr(fetch, "urlopen", urlopen)

    return serve


def get(root, raw, md5=None):
    return fetch.fetch_folder(
        URL, md5 or hashlib.md5(raw).hexdigest(), "pets", ("cat", "dog"), root
    )


def everything_under(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_unpacks_the_wanted_files_and_nothing_else(tmp_path, serve):
    raw = tar_of(GOOD | {"pets/readme.html": b"hello", "other": b"x"})
    serve(raw)
    root = tmp_path / "a" / "b"
    assert get(root, raw) == root / "pets"
    assert everything_under(tmp_path) == ["a", "a/b", "a/b/pets", "a/b/pets/cat", "a/b/pets/dog"]
    assert (root / "pets" / "dog").read_bytes() == b"woof"


def test_no_path_in_the_archive_is_obeyed(tmp_path, serve):
    evil = {"../evil": b"x", f"{tmp_path}/absolute": b"x", "pets/../../evil": b"x"}
    raw = tar_of(evil | GOOD | {"pets/sub/../../evil": b"x"})
    serve(raw)
    get(tmp_path / "root", raw)
    assert everything_under(tmp_path) == ["root", "root/pets", "root/pets/cat", "root/pets/dog"]


def refused(root, raw, *words, md5=None):
    with pytest.raises(DataError) as caught:
        get(root, raw, md5)
    for word in (*words, URL, f"tar -xzf pets.tar.gz -C {root}"):
        assert word in str(caught.value)
    assert everything_under(root) == []


@pytest.mark.parametrize(
    "members",
    [
        {"pets/cat": b"miaow"},
        {"pets/cat": b"miaow", "pets/dog": "/etc/passwd"},
        {"pets/cat": b"miaow", "./pets/./dog": b"woof"},
    ],
)
def test_an_archive_without_a_plain_file_of_that_name(tmp_path, serve, members):
    raw = tar_of(members)
    serve(raw)
    refused(tmp_path, raw, "the archive has no plain file pets/dog")


def test_bad_checksum_leaves_nothing_behind(tmp_path, serve):
    raw = tar_of(GOOD)
    serve(raw[:-1])
    refused(tmp_path, raw, "MD5 sum", "came damaged")


def test_not_an_archive(tmp_path, serve):
    serve(b"<html>moved</html>")
    refused(tmp_path, b"<html>moved</html>", "could not be downloaded")


@pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("timed out")])
def test_no_network(tmp_path, serve, error):
    serve(error)
    refused(tmp_path, b"", "could not be downloaded", str(error))


def test_interrupted_download_leaves_nothing_behind(tmp_path, serve, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    serve(tar_of(GOOD))
    monkeypatch.setattr(fetch, "copyfileobj", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, tar_of(GOOD))
    assert everything_under(tmp_path) == []


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path, serve):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "cat").write_bytes(b"purr")
    serve(tar_of(GOOD))
    get(tmp_path, tar_of(GOOD))
    assert (tmp_path / "pets" / "cat").read_bytes() == b"purr"
    assert everything_under(tmp_path) == ["pets", "pets/cat"]


def test_load_without_network(name, layout, home, serve):
    serve(URLError("no network"))
    with pytest.raises(DataError, match="no network") as caught:
        data.load(name)
    assert layout.url in str(caught.value)
    assert str(home / ".cache" / "quatgrad") in str(caught.value)


def test_load_with_a_download(name, layout, files, home, serve, monkeypatch):
    raw = tar_of({f"{layout.folder}/{f}": (files / f).read_bytes() for f in layout.files})
    serve(raw)
    md5 = hashlib.md5(raw).hexdigest()
    monkeypatch.setitem(cifar.LAYOUTS, name, layout._replace(md5=md5))
    assert data.load(name).num_classes == layout.num_classes
    assert (home / ".cache" / "quatgrad" / layout.folder).is_dir()


# ------------------------------------------------------------------------------- file by file


def serve_files(monkeypatch, content):
    def urlopen(url, timeout):
        return Answer(content[url.rpartition("/")[2]])

    monkeypatch.setattr(fetch, "urlopen", urlopen)
    return {name: hashlib.md5(raw).hexdigest() for name, raw in content.items()}


def test_files_come_together(tmp_path, monkeypatch):
    sums = serve_files(monkeypatch, {"cat": b"miaow", "dog": b"woof"})
    assert fetch.fetch_files("https://example.org", sums, "pets", tmp_path) == tmp_path / "pets"
    assert everything_under(tmp_path) == ["pets", "pets/cat", "pets/dog"]
    assert (tmp_path / "pets" / "dog").read_bytes() == b"woof"


def test_one_wrong_file_and_none_is_kept(tmp_path, monkeypatch):
    sums = serve_files(monkeypatch, {"cat": b"miaow", "dog": b"woof"}) | {"dog": "0" * 32}
    with pytest.raises(DataError, match="MD5 sum") as caught:
        fetch.fetch_files("https://example.org", sums, "pets", tmp_path)
    assert f"fetch cat, dog from https://example.org on a machine that can, into {tmp_path}" in str(
        caught.value
    )
    assert everything_under(tmp_path) == []


def test_a_folder_that_cannot_be_locked_has_the_advice_of_every_failure(tmp_path):
    """`lock` has an error of its own, which knows nothing of downloads."""
    root = tmp_path / "root"
    (root / ".lock").mkdir(parents=True)
    with pytest.raises(DataError, match=r"could not be downloaded to .*; to do it by hand, "):
        fetch.fetch_files("https://example.org", {"cat": "0" * 32}, "pets", root)
