"""A job that ends at the first check that fails: whether a mutant is killed needs no more."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from dlcourse_utils.checks import CheckFailed, Exercise
from dlcourse_utils.checks.outcome import Outcome


def stop_at_a_failed_check(shell: InteractiveShell) -> None:
    """From now on the first check that fails raises in its test cell what it would tell the student."""

    class UntilOneFails(list[Outcome]):
        def append(self, outcome: Outcome) -> None:
            super().append(outcome)
            if outcome.status != "ok":
                raise CheckFailed(f"{outcome.name}\n{outcome.explanation}")

    def record(shell: InteractiveShell, kind: type[BaseException], error: BaseException, tb: object, tb_offset: object = None) -> None:
        shell._showtraceback(kind, error, [])  # without the traceback, which takes longer to draw than most checks to run

    shell.set_custom_exc((CheckFailed,), record)  # type: ignore[no-untyped-call]
    begin = Exercise.__init__

    def begin_anew(self: Exercise, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._outcomes = UntilOneFails()

    Exercise.__init__ = begin_anew  # type: ignore[method-assign]
