"""What every test gets: one thread, no window, and folders of its own in place of those in the user's home."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before any test module imports torch or matplotlib.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["DLCOURSE_SANDBOX"] = "auto"  # what tests hand in is their own
_private = tempfile.TemporaryDirectory(prefix="dlcourse-tests-")
for _name in (
    "IPYTHONDIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "MPLCONFIGDIR",
):
    _folder = Path(_private.name) / _name.lower()
    _folder.mkdir(mode=0o700)
    os.environ[_name] = str(_folder)

import matplotlib  # noqa: E402

from dlcourse_utils.instructor.course import find_root  # noqa: E402
from dlcourse_utils.instructor.runner import Runner  # noqa: E402

matplotlib.use("Agg")  # not by MPLBACKEND, which the kernels that tests start would inherit


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long tests first, each on the worker that is free, so that no core idles at the end; keep a file's others together, for their fixtures."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        if not item.get_closest_marker("long"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_unconfigure() -> None:
    _private.cleanup()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds the course."""
    return find_root(Path(__file__).parent)


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    """One warm interpreter for the whole session: it takes seconds to start. Beside other test workers it runs one notebook at a time."""
    with Runner(workers=1 if "PYTEST_XDIST_WORKER" in os.environ else None) as warm:
        yield warm
