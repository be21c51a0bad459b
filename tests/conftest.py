"""What every test gets: one thread, no window, and folders of its own in place of those in the user's home."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

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


#: Tests of half a minute or more, which need nothing that their file's others set up. By name: xdist's scheduler knows of a test nothing else.
LONG = {
    "test_every_case_gets_what_it_deserves",
    "test_the_reference_solutions_have_full_marks_on_other_grading_seeds",
    "test_a_sample_of_the_mutants_meets_the_end_it_should",
    "test_a_solved_notebook_still_gives_what_it_gave",
}


class ByFile(LoadScopeScheduling):
    """Each long test on the worker that is free; the others of a file together, for their fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        return nodeid if name.split("[")[0] in LONG else file


@pytest.hookimpl(optionalhook=True)  # xdist may be switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long tests first, so that no core idles at the end."""
    items.sort(key=lambda item: item.name.split("[")[0] not in LONG)


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
