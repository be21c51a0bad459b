"""A course driven through nbgrader's own classes in this process: release, fetch, submit, collect, grade, feed back."""

from __future__ import annotations

import contextlib
import datetime
import glob
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from nbformat import NotebookNode
from nbformat.warnings import MissingIDFieldWarning
from nbgrader.api import Gradebook
from nbgrader.auth import Authenticator
from nbgrader.converters import GenerateAssignment, GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange import default as exchange
from nbgrader.utils import capture_log
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from dlcourse_utils.instructor.assign import load_config
from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.engine.cluster import Cluster
from dlcourse_utils.instructor.engine.collect import Collect
from dlcourse_utils.instructor.engine.converter import ClassAutograde
from dlcourse_utils.instructor.engine.execute import Execute, no_sandbox
from dlcourse_utils.instructor.engine.released import Released, released
from dlcourse_utils.instructor.preprocessors import prepare

#: The last line of a traceback, as nbgrader puts it into its log.
_RAISED = re.compile(r"^ *(?:[a-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Entry|Exit)(?:: .*)?)$", re.MULTILINE)


class StepError(CourseError):
    """nbgrader could not do a step; the message is the cause as its log has it."""


class Classroom:
    """One course on disk and its exchange.

    Args:
        root: the folder that holds ``course/`` with ``nbgrader_config.py`` in it.
        exchange: the folder through which students and instructor pass files; nbgrader's default without it.
        log: file to which all that nbgrader has to say is appended.
        sandbox: "on", "off", or "auto", which does without where there is none: for submissions of one's own.
        gradebook: the URL of its database; without it ``course/gradebook.db``, whatever the settings say.
        cell_seconds: how long a cell may run while it is graded; 0 for what the course's settings say.
        judge: where tests run, "in-process" or "separate"; None for what the settings say.

    Raises:
        CourseError: there is no ``course/nbgrader_config.py``.
    """

    def __init__(
        self,
        root: Path,
        *,
        log: Path,
        exchange: Path | None = None,
        sandbox: str = "auto",
        gradebook: str = "",
        cell_seconds: int = 0,
        judge: str | None = None,
    ) -> None:
        self.root = root
        self.folder = root / "course"
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._config = load_config(root)
        self.sandbox = self._config.Execute.sandbox = sandbox
        if judge is not None:
            self._config.Execute.judge = judge
        if cell_seconds:
            self._config.Execute.timeout = cell_seconds
        self._config.Execute.results = str(self.folder / "autograded" / ".results")
        self._config.CourseDirectory.root = str(self.folder)
        self._config.CourseDirectory.db_url = gradebook or f"sqlite:///{(self.folder / 'gradebook.db').as_posix()}?timeout=60"
        if exchange is not None:
            self._config.Exchange.root = str(exchange)

    def gradebook(self) -> Gradebook:
        """The course's gradebook; use it as a context manager."""
        return Gradebook(self._config.CourseDirectory.db_url, self._config.CourseDirectory.course_id)

    def path(self, step: str, lecture: Lecture, student: str) -> Path:
        """Where a student's work lies at an nbgrader step: ``submitted``, ``autograded`` or ``feedback``."""
        return self.folder / step / student / lecture.name

    def handed_in(self, lecture: Lecture) -> list[str]:
        """The students from whom something was collected, in order."""
        return sorted(path.parent.name for path in (self.folder / "submitted").glob(f"*/{lecture.name}") if path.is_dir())

    def timestamp(self, lecture: Lecture, student: str) -> datetime.datetime | None:
        """When a submission was made, in UTC without a time zone; None where that is not known."""
        found: datetime.datetime | None = _CourseDirectory(config=self._config).get_existing_timestamp(str(self.path("submitted", lecture, student)))
        return found

    def generate(self, lecture: Lecture) -> None:
        """Make the student version and enter the assignment into the gradebook."""
        self._start(GenerateAssignment, lecture, force=True)

    def release(self, lecture: Lecture) -> None:
        """Put the student version into the exchange."""
        self._start(exchange.ExchangeReleaseAssignment, lecture)

    def fetch(self, lecture: Lecture, student: str, into: Path) -> Path:
        """Get the assignment as a student does, and return the notebook's path."""
        into.mkdir(parents=True, exist_ok=True)
        self._start(exchange.ExchangeFetchAssignment, lecture, student, assignment_dir=str(into))
        return into / lecture.name / f"{lecture.name}.ipynb"

    def submit(self, lecture: Lecture, student: str, work: Path) -> None:
        """Hand in the folder ``work``/NN-name as a student does."""
        self._start(exchange.ExchangeSubmit, lecture, student, assignment_dir=str(work), cache=str(work / ".cache"))

    def collect(self, lecture: Lecture) -> None:
        """Take what was handed in out of the exchange; the newest of each student, whoever's user it runs as."""
        self._start(Collect, lecture, update=True, check_owner=False)

    def autograde(self, lecture: Lecture, student: str, gradebook: Gradebook) -> None:
        """Grade one submission anew."""
        self._start(ClassAutograde, lecture, glob.escape(student), force=True, gradebook=gradebook)  # nbgrader takes the name for a pattern

    def released(self, lecture: Lecture) -> Released:
        """The released notebook with what the gradebook knows of it.

        Raises:
            CourseError: it is missing, or another than the gradebook's.
        """
        return released(_CourseDirectory(config=self._config), lecture.name, lecture.name)

    def executed(self, lecture: Lecture, student: str, template: Released, cluster: Cluster | None = None) -> NotebookNode:
        """What grading a submission runs, run, on the cluster if there is one; the gradebook is not touched. Several threads may call this at once.

        Its results are kept, so that ``autograde`` does not run it again.
        """
        notebook, notes = prepare(self.path("submitted", lecture, student), lecture.name, template)
        notes.write(notebook, {})
        if cluster is not None:
            cluster.run(notebook, self._config.Execute, walled=self.sandbox != "off" and not no_sandbox())
        done: NotebookNode = Execute(config=self._config).preprocess(notebook, {})[0]
        return done

    def generate_feedback(self, lecture: Lecture, student: str = "*") -> None:
        """Write the feedback pages."""
        self._start(GenerateFeedback, lecture, student, force=True)

    def release_feedback(self, lecture: Lecture) -> None:
        """Put the feedback pages where students fetch them."""
        self._start(exchange.ExchangeReleaseFeedback, lecture)

    def _start(self, step: type[Any], lecture: Lecture, student: str = "*", **traits: object) -> None:
        """Run one of nbgrader's steps.

        Raises:
            StepError: it failed.
        """
        log = logging.Logger("dlcourse", logging.INFO)
        config = Config(self._config)
        config.CourseDirectory.assignment_id = lecture.name
        config.CourseDirectory.student_id = student
        coursedir = _CourseDirectory(config=config, log=log)
        if issubclass(step, exchange.Exchange):
            app = step(coursedir=coursedir, authenticator=Authenticator(config=config, log=log), config=config, log=log)
        else:
            app = step(coursedir=coursedir, config=config, log=log)
        for name, value in traits.items():
            setattr(app, name, value)
        result = capture_log(app)
        said = f"{result.get('log', '')}\n{result.get('error', '')}"
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"=== {step.__name__} {lecture.name} {student}\n{said.strip()}\n")
        if not result["success"]:
            raised = _RAISED.findall(said)
            if any(line.startswith("KeyboardInterrupt") for line in raised):
                raise KeyboardInterrupt  # capture_log catches that, too
            causes = [line for line in raised if not line.startswith("NbGraderException")]
            raise StepError(causes[-1] if causes else f"{step.__name__} failed")


class _CourseDirectory(CourseDirectory):
    """nbgrader's, save that a ``timestamp.txt`` that holds no time costs nobody their grade."""

    def get_existing_timestamp(self, dest_path: str) -> datetime.datetime | None:
        try:
            found: datetime.datetime | None = super().get_existing_timestamp(dest_path)
        except (AttributeError, ValueError, OverflowError):  # nbgrader 0.9 calls a method here that it does not have
            self.log.warning("%s holds no time; the submission counts as made at no known time", Path(dest_path) / "timestamp.txt")
            return None
        return found


@contextlib.contextmanager
def private_environment() -> Iterator[None]:
    """Kernels started within the block leave nothing in the user's home, find this Python's commands, and use one thread each."""
    with (
        tempfile.TemporaryDirectory(prefix="dlcourse-") as folder,
        mock.patch.dict(os.environ, environment(Path(folder))),
        warnings.catch_warnings(),
    ):
        for harmless in (SAWarning, MissingIDFieldWarning):  # of nbgrader 0.9 with SQLAlchemy 2.1 and nbformat 5.11, and many
            warnings.filterwarnings("ignore", category=harmless)
        yield


def environment(folder: Path) -> dict[str, str]:
    """Variables that make Jupyter, IPython and matplotlib keep their files below ``folder`` and nowhere else."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "MPLCONFIGDIR": "matplotlib",
    }
    for place in places.values():
        (folder / place).mkdir(parents=True, exist_ok=True)
    return {
        **{name: str(folder / place) for name, place in places.items()},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),  # nbgrader runs alembic from it
        "OMP_NUM_THREADS": "1",
    }


def table(header: Sequence[str], rows: Sequence[Mapping[str, str]], *, left: int = 1) -> str:
    """Rows as lines of aligned text: the first ``left`` columns to the left, the others to the right."""
    cells = [list(header), *([row.get(name, "") for name in header] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        aligned = [text.ljust(width) if number < left else text.rjust(width) for number, (text, width) in enumerate(zip(line, widths, strict=True))]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])
