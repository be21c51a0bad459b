"""A job that ends at the first check that fails: whether a mutant is killed needs no more."""

from __future__ import annotations

from typing import Any

from dlcourse_utils.checks import CheckFailed, Exercise
from dlcourse_utils.checks.outcome import Outcome


class Stopped(CheckFailed):
    """Ends a test cell with what the check that failed would tell the student."""

    def _render_traceback_(self) -> list[str]:
        """What IPython asks for in place of a traceback, which takes longer to draw than most checks to run."""
        return []


class _UntilOneFails(list[Outcome]):
    def append(self, outcome: Outcome) -> None:
        super().append(outcome)
        if outcome.status != "ok":
            raise Stopped(f"{outcome.name}\n{outcome.explanation}")


def stop_at_a_failed_check() -> None:
    """From now on, in this process, the first check that fails raises ``Stopped`` in its test cell."""
    begin = Exercise.__init__

    def begin_anew(self: Exercise, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._outcomes = _UntilOneFails()

    Exercise.__init__ = begin_anew  # type: ignore[method-assign]
