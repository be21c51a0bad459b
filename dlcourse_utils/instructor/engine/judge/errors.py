"""Exceptions across: their kind among Python's own, their type's name, their text, and where in the answer they were raised."""

from __future__ import annotations

import builtins
import functools
from typing import Any, cast

from dlcourse_utils.checks.outcome import CheckFailed, OffLimits, TimeUp, Whereabouts, whereabouts

#: What the code of a test's functions says is its file.
TEST = "<test>"
_MOST_TEXT = 5_000
_OURS: dict[str, type[BaseException]] = {kind.__name__: kind for kind in (CheckFailed, OffLimits, TimeUp)}
#: What an exception is built on when it is not one of these itself.
_PLAIN = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}


class AnswersLost(CheckFailed):
    """The student's process is gone, or no longer makes sense; the message says so in plain words."""


def describe(error: BaseException, *, place: bool = True) -> list[Any]:
    """An exception in a few texts; with ``place`` also the line of the answer in which it was raised."""
    kinds = type(error).__mro__
    base = next((kind.__name__ for kind in kinds if kind.__name__ in _OURS or _PLAIN.get(kind.__name__) is kind), "Exception")
    where = whereabouts(error, TEST)
    try:
        text = str(error)
    except Exception:  # an answer's own exception may not even have a text
        text = ""
    named = getattr(error, "name", None) if isinstance(error, NameError) else None
    return [base, type(error).__name__[:100], text[:_MOST_TEXT], str(named) if named else None, where.by_hand, where.place[:_MOST_TEXT] if place else ""]


def rebuild(description: Any) -> BaseException:
    """The exception that was described, as far as a test or a report can tell.

    Raises:
        ValueError: it is no description.
    """
    match description:
        case [str(base), str(name), str(text), (str() | None) as named, bool(by_hand), str(place)]:
            pass
        case _:
            raise ValueError("no description of an exception")
    error = _instance(base, name, text)
    if isinstance(error, NameError):
        error.name = named
    error.whereabouts = Whereabouts(by_hand, place)  # type: ignore[attr-defined]
    return error


def _instance(base: str, name: str, text: str) -> BaseException:
    kind = _OURS.get(base) or _PLAIN.get(base, Exception)
    if issubclass(kind, UnicodeError | BaseExceptionGroup):  # these want more than a text
        kind, name = (ValueError if issubclass(kind, UnicodeError) else Exception), name
    if not issubclass(kind, Exception | SystemExit | TimeUp):
        kind = Exception
    return _named(cast("Any", kind), name if name.isidentifier() else "Error")(text)


@functools.lru_cache(1000)
def _named(kind: Any, name: str) -> type[BaseException]:
    plain: bool = kind.__name__ == name and kind is not KeyError  # which would quote its text once more
    return kind if plain else type(name, (kind,), {"__str__": lambda self: str(self.args[0])})
