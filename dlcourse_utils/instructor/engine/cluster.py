"""Run submissions on the workers of a Dask cluster (``--scheduler ADDRESS``).

To a worker goes the rebuilt notebook, from it come the outputs of its cells; both as JSON text. What comes back is put where results are kept, so
that grading finds it there: this process alone reads submissions and writes the gradebook. Workers are the instructor's own machines: they run
this code, and the student's in the sandbox.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from traitlets.config import Config

from dlcourse_utils.instructor.course import CourseError, role
from dlcourse_utils.instructor.engine.execute import Execute
from dlcourse_utils.instructor.engine.memory import Memory, keys, world
from dlcourse_utils.instructor.engine.rebuild import SKIP

_SECONDS_TO_CONNECT = 10


class ClusterError(CourseError):
    """The cluster cannot be reached, is gone, or is not fit for the work; the message says what to do."""


class Cluster:
    """The workers behind a scheduler. Close it in the end.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises:
        ClusterError: dask.distributed is not installed, nobody answers there, or there are no workers.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ClusterError("--scheduler needs dask.distributed. Install it: pip install 'dlcourse[cluster]'") from None
        self._address = address
        try:
            self._client = Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(f"{address}: no scheduler answers there ({error}). Start one with 'dask scheduler', and workers with 'dask worker'.") from None
        #: How many submissions they run at a time.
        self.size = sum(self._client.nthreads().values())
        if not self.size:
            self.close()
            raise ClusterError(f"{address}: the scheduler has no workers. Start some: 'dask worker {address}' on each machine.")

    def close(self) -> None:
        self._client.close()

    def run(self, notebook: NotebookNode, settings: Mapping[str, Any], *, walled: bool) -> None:
        """Have a rebuilt notebook run, if its results are not kept already, and keep them. Several threads may do this at once.

        A worker that dies is replaced by another; whose every worker died is left to be run here.

        Args:
            notebook: what ``preprocessors.prepare`` made of a submission.
            settings: those of ``Execute``, the folder of results among them.
            walled: whether it will be run in the sandbox.

        Raises:
            ClusterError: the scheduler is gone, or a worker cannot do it.
        """
        from distributed import KilledWorker

        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip() and SKIP not in cell.metadata.get("tags", [])]
        answers, names = keys(((cell.source, role(cell) == "test") for cell in cells), walled=walled, judge=settings["judge"])
        memory = Memory(Path(settings["results"]))
        kept = memory.get(answers)
        if set(names) <= set(kept):
            return
        job = {"world": _world(), "notebook": nbformat.writes(notebook), "answers": answers, "kept": kept, "settings": dict(settings)}
        future = self._client.submit(run, json.dumps(job), pure=False)
        try:
            answer = json.loads(future.result())
        except KilledWorker:
            return
        except Exception as error:
            raise ClusterError(f"{self._address}: the cluster was lost ({error!r}). What was graded is kept; give the same command again.") from error
        if "error" in answer:
            raise ClusterError(f"a worker of {self._address}: {answer['error']}")
        memory.keep(answers, answer["results"], steady=answer["steady"])


def run(job: str) -> str:
    """On a worker: run a notebook. Job and answer are JSON objects."""
    order = json.loads(job)
    if order["world"] != _world():
        return json.dumps({"error": "it has another version of the course, of its libraries, or another DLCOURSE_SEED than this machine. Make them the same."})
    with tempfile.TemporaryDirectory(prefix="dlcourse-") as folder:
        memory = Memory(Path(folder))
        if order["kept"]:
            memory.keep(order["answers"], order["kept"], steady=True)
        settings = Config({"Execute": order["settings"] | {"results": folder}})
        try:
            Execute(config=settings).preprocess(nbformat.reads(order["notebook"], as_version=4), {})
        except CourseError as error:
            return json.dumps({"error": str(error)})
        results, steady = memory.take(order["answers"])
    return json.dumps({"results": results, "steady": steady})


def _world() -> list[str]:
    return [world(), os.environ.get("DLCOURSE_SEED", "0")]
