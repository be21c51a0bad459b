"""Answers that compute nothing, made for every exercise: no hidden check may pass for one of them.

The reference solution is run to see what shape a result has; what is handed to the check is zeros, a constant, nothing, the first argument, noise,
or for calls of the visible checks their own right answers, looked up.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from dlcourse_utils.instructor.course import Exercise, Lecture
from dlcourse_utils.instructor.regions import HIDDEN_TESTS, split, stubbed
from dlcourse_utils.instructor.runner import Job, Outcome, Runner

#: How each fills a result's place, given its shape and a generator.
FILLS: dict[str, Callable[[tuple[int, ...], np.random.Generator], Any]] = {
    "zeros": lambda shape, rng: np.zeros(shape),
    "a constant": lambda shape, rng: np.full(shape, 0.5),
    "noise": lambda shape, rng: rng.normal(size=shape),
}
KINDS = (*FILLS, "None", "its input", "the visible answers")


@dataclass(frozen=True)
class ConstantVerdict:
    """What an answer that computes nothing got. ``passed`` names the hidden checks that it passed; ``seconds`` is processor time."""

    lecture: str
    exercise: str
    case: str
    kind: Literal["constant"]
    score: float
    passed: tuple[str, ...]
    seconds: float
    ok: bool


def try_constants(runner: Runner, lecture: Lecture, only: str | None = None, *, seed: int = 0, progress: bool = False) -> list[ConstantVerdict]:
    """Run the real test cells of each exercise against answers that compute nothing.

    Args:
        runner: what runs them.
        lecture: whose graders are tried.
        only: the one exercise to try; all by default.
        seed: the grading seed.
        progress: show a bar.
    """
    cells = {cell.id: cell.source for cell in lecture.notebook.cells}
    chosen = [exercise for exercise in lecture.exercises if only in (None, exercise.id)]
    tried = [(exercise, kind) for exercise in chosen for kind in KINDS]
    jobs = [Job({exercise.id: _answer(exercise, kind, cells)}, seed, "own") for exercise, kind in tried]
    bar = tqdm(runner.results(lecture, jobs), desc=lecture.name, total=len(jobs), unit="constant", disable=None if progress else True)
    outcomes = dict(bar)
    return [_judge(lecture, *tried[number], outcomes[number], cells) for number in range(len(jobs))]


def _names(source: str) -> list[str]:
    """What a solution cell asks students to write."""
    return [node.name for node in ast.parse(stubbed(source)).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _answer(exercise: Exercise, kind: str, cells: dict[str, str]) -> str:
    """The solution cell, followed by what exchanges its names."""
    names = _names(cells[exercise.id])
    lines = [cells[exercise.id], "from dlcourse_utils.instructor import constants as _constants"]
    if kind == "the visible answers":
        lines += [f"{name} = _constants.by_heart({name})" for name in names]
        lines += [_visible(cells[test]).replace("check.report()", "") for test in exercise.test_ids]
        lines += ["_constants.Lookup.learning = False"]
    else:
        lines += [f"{name} = _constants.constant({kind!r}, {name})" for name in names]
    return "\n".join(lines)


def _visible(test: str) -> str:
    return "\n".join(split(test, HIDDEN_TESTS)[0])


def _judge(lecture: Lecture, exercise: Exercise, kind: str, outcome: Outcome, cells: dict[str, str]) -> ConstantVerdict:
    shown = re.compile("|".join(name for test in exercise.test_ids for name in _check_names(_visible(cells[test]))) or r"(?!)")
    passed = re.findall(r"^  ok    (.*)$", outcome.message(exercise.test_ids), re.MULTILINE)
    hidden = tuple(name for name in passed if not shown.fullmatch(name))
    score = exercise.points - outcome.lost(exercise.test_ids)
    return ConstantVerdict(lecture.name, exercise.id, kind, "constant", score, hidden, outcome.cpu_seconds, not hidden)


def _check_names(source: str) -> list[str]:
    """Patterns of the names of the checks in a piece of a test cell."""
    calls = [item.context_expr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.With) for item in node.items]
    names = [call.args[0] for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == "check" and call.args]
    parts = [name.values if isinstance(name, ast.JoinedStr) else [name] for name in names]
    return ["".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in name) for name in parts]


def constant(kind: str, real: Any) -> Any:
    """Something to call like ``real`` that computes nothing; a class gets methods that compute nothing."""
    if isinstance(real, type):
        return _remade(real, functools.partial(_constant_method, kind))

    @functools.wraps(real)
    def answer(*args: Any, **kwargs: Any) -> Any:
        return _instead(kind, _result(real, args, kwargs), args, kwargs)

    return answer


def _constant_method(kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def answer(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _instead(kind, _result(real, (self, *args), kwargs), args, kwargs)

    return answer


def by_heart(real: Any) -> Any:
    """Something to call like ``real`` that remembers what it gave while it was learning."""
    return _remade(real, Lookup) if isinstance(real, type) else Lookup(real)


class _Remade:
    """Marks a class whose methods were exchanged."""


def _remade(real: type, change: Callable[[Callable[..., Any]], Any]) -> type:
    """A class like ``real``, with ``change`` made to each of its own methods but the constructor."""
    methods = {name: change(method) for name, method in vars(real).items() if inspect.isfunction(method) and name != "__init__"}
    return type(real.__name__, (real, _Remade), {"__module__": real.__module__, **methods})


def _result(real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the reference gives; a number where it gives an error, for what computes nothing refuses nothing."""
    try:
        return real(*(copy.deepcopy(part) if _plain(part) else part for part in args), **kwargs)  # a copy, so that it leaves no result behind
    except Exception:
        return 0.0


def _plain(value: Any) -> bool:
    return isinstance(value, _Remade) and not isinstance(value, nn.Module)


def _instead(kind: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if kind == "None":
        return None
    if kind == "its input":
        return next(iter([*args, *kwargs.values()]), None)
    rng = np.random.default_rng(0)
    return _filled(result, lambda shape: FILLS[kind](shape, rng))


def _filled(result: Any, fill: Callable[[tuple[int, ...]], Any]) -> Any:
    """The result with other numbers in it."""
    match result:
        case nn.Module():
            with torch.no_grad():
                for parameter in result.parameters():
                    parameter.copy_(torch.as_tensor(fill(tuple(parameter.shape))))
            return result
        case torch.Tensor():
            return torch.as_tensor(fill(tuple(result.shape))).to(result.dtype)
        case np.ndarray():
            return np.asarray(fill(result.shape)).astype(result.dtype)
        case bool() | int() | float() | complex() | np.generic():
            return type(result)(fill(()))
        case list() | set():
            return type(result)(_filled(part, fill) for part in result)
        case tuple():
            parts = [_filled(part, fill) for part in result]
            return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
        case dict():
            return {key: _filled(part, fill) for key, part in result.items()}
        case _ if _plain(result):
            twin = copy.copy(result)
            vars(twin).update({name: _filled(part, fill) for name, part in vars(result).items() if isinstance(part, int | float | np.ndarray | torch.Tensor)})
            return twin
        case _ if callable(result):
            return lambda *args, **kwargs: _filled(result(*args, **kwargs), fill)
    return None


class Lookup:
    """A function that knows the visible checks' answers by heart, and zeros for everything else."""

    #: Whether answers are still being learnt.
    learning = True

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real, self._known = real, {}  # type: ignore[var-annotated]

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = _key([args, sorted(kwargs.items())])
        if self.learning:
            self._known[key] = self._real(*args, **kwargs)
        return self._known[key] if key in self._known else _instead("zeros", _result(self._real, args, kwargs), args, kwargs)


def _key(value: Any) -> Any:
    """Equal for equal arguments."""
    match value:
        case torch.Tensor():
            return _key(value.detach().numpy())
        case np.ndarray():
            return value.dtype.str, value.shape, value.tobytes()
        case list() | tuple():
            return tuple(_key(part) for part in value)
        case dict():
            return tuple((key, _key(part)) for key, part in value.items())
        case int() | float() | str() | None:
            return value
    return type(value).__qualname__, getattr(value, "__qualname__", "")


def explain(verdict: ConstantVerdict) -> str:
    """For an answer that computes nothing and yet passed: what it passed, and the cure."""
    checks = "".join(f"\n    {name}" for name in verdict.passed)
    return f"{verdict.lecture}: constant | {verdict.exercise} | {verdict.case}\n  It passes these hidden checks; let each also compare a result:{checks}"
