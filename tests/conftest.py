"""Settings for every test: where Numba caches, how long hypothesis searches, which backend runs.

Profiles: HYPOTHESIS_PROFILE=dev (default, quick), ci (reproducible), nightly (long).
"""

import os
import tempfile

# Numba's cache is not safe to share between processes that write it: each xdist worker has its
# own, kept between runs. It must be set before the first import of numba.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
_cache = f"quatgrad-numba-{os.getuid()}-{_worker}"
os.environ.setdefault("NUMBA_CACHE_DIR", os.path.join(tempfile.gettempdir(), _cache))

if _worker != "main":  # workers share the cores: BLAS threads on top would only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# No deadline: the first call of a Numba kernel compiles it, and would be timed.
_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=25, **_common)
settings.register_profile("ci", max_examples=50, derandomize=True, **_common)
settings.register_profile("nightly", max_examples=1000, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch):
    """What is printed is as in a file: pytest's workers say how wide their terminal is."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _backend_is_left_as_found():
    """A test that switches backend or rung and forgets to switch back fails here, not later."""
    from quatgrad import backend
    from quatgrad.kernels import registry

    before = backend._backend, registry._chosen
    yield
    after = backend._backend, registry._chosen
    backend._backend, registry._chosen = before
    assert after == before, f"the test left the backend at {after}, it was {before}"
