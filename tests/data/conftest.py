import logging

import pytest
from cifar_files import make_files

from quatgrad.backend import notice
from quatgrad.data.cifar import LAYOUTS


@pytest.fixture(params=sorted(LAYOUTS))
def name(request):
    return request.param


@pytest.fixture
def layout(name):
    return LAYOUTS[name]


@pytest.fixture
def files(tmp_path, layout):
    """A tiny dataset in its official layout under tmp_path: its folder."""
    return make_files(tmp_path, layout)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """No dataset anywhere: an empty home folder, and no QUATGRAD_DATA."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.delenv("QUATGRAD_DATA", raising=False)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def notices(caplog):
    """What was noticed since."""
    notice.cache_clear()
    logger = logging.getLogger("quatgrad")
    logger.addHandler(caplog.handler)
    yield lambda: "\n".join(record.getMessage() for record in caplog.records)
    logger.removeHandler(caplog.handler)
