"""Where answers run: here, in the interpreter that runs the test; while grading it may be in another process.

A test cell does not notice the difference. Whoever runs answers elsewhere puts stand-ins into the test's namespace in their stead, and sets
``answers`` to something that can do there what ``Here`` does here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dlcourse_utils.checks import guard


class Place(Protocol):
    """Where answers run."""

    def handing_over(self, namespace: dict[str, Any], exercise: str) -> contextlib.AbstractContextManager[None]:
        """Around a check: what the test hands to the exercise's answer is as before afterwards; see ``guard.handed_over``."""

    def run(self, exercise: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the test's there, in a check of this exercise; see ``Exercise.run``."""

    def prepared(self, trusted: Mapping[str, Any], off_limits: tuple[str, ...]) -> contextlib.AbstractContextManager[None]:
        """Around a check: there, ``trusted`` stands in place of answers, and the library functions that are ``off_limits`` refuse.

        Raises:
            ValueError: a name in ``off_limits`` leads to nothing.
        """


class Here:
    """In this interpreter; the names are those of the test itself, and ``Exercise`` replaces them in any case."""

    def handing_over(self, namespace: dict[str, Any], exercise: str) -> contextlib.AbstractContextManager[None]:
        return guard.handing_over(namespace, exercise)

    def run(self, exercise: str, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def prepared(self, trusted: Mapping[str, Any], off_limits: tuple[str, ...]) -> contextlib.AbstractContextManager[None]:
        return guard.closed(off_limits)


#: Where the answers of the tests in this interpreter run.
answers: Place = Here()
