"""An exercise under check: its blocks, its score, its report."""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlcourse_utils.checks import guard, place
from dlcourse_utils.checks.compare import as_array, difference, dtype_name, same, shown
from dlcourse_utils.checks.outcome import CheckFailed, Outcome, TimeUp, explain

if TYPE_CHECKING:
    import torch

#: A misconception's message -> what it would give: a value, or a callable that computes it.
Mistakes = Mapping[str, Any]

#: Looser than any comparison: a misconception is recognised, not graded.
_MISTAKE_RTOL, _MISTAKE_ATOL = 1e-3, 1e-6

#: Seconds that a check gets once another of the same exercise has run out of time.
_AFTER_TIMEOUT = 1.0

#: How the exercises reported in this kernel stand: some check fails, all visible ones pass, or all there are pass.
Standing = Literal["failing", "visible", "full"]
_reported: dict[str, Standing] = {}


def exercise(name: str, points: float) -> Exercise:
    """Open the checks of one exercise.

    Args:
        name: the exercise's id, which is the name of the function or class it asks for.
        points: what the checks of this cell are worth together.
    """
    return Exercise(name, points, sys._getframe(1).f_globals)


class Score(float):
    """Points for nbgrader, which reads them from a cell's plain-text output. Notebooks show nothing: the report above has said it in words."""

    def _repr_html_(self) -> str:
        return ""


class Exercise:
    """The checks of one test cell. Call it to make a check; ``report()`` ends the cell."""

    def __init__(self, name: str, points: float, namespace: dict[str, Any]) -> None:
        self.name = name
        self.points = points
        seed = int(os.environ.get("DLCOURSE_SEED", "0"))
        #: Generator for fresh inputs, seeded by the grading seed and the exercise's name.
        self.rng: np.random.Generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self._namespace = namespace
        self._trusted: dict[str, Any] = {}
        self._outcomes: list[Outcome] = []
        self._printed = guard.Clipped()
        self._timed_out = False

    @property
    def gen(self) -> torch.Generator:
        """A fresh torch generator on the CPU, seeded from ``rng``."""
        import torch

        return torch.Generator().manual_seed(int(self.rng.integers(2**31)))

    def seeds(self, n: int) -> list[int]:
        """``n`` fresh seeds for functions that take one."""
        return [int(seed) for seed in self.rng.integers(1, 2**31, size=n)]

    def use(self, **trusted: Any) -> None:
        """Put trusted functions in place of earlier answers while this exercise is checked, so that one mistake costs once."""
        self._trusted.update(trusted)

    @contextlib.contextmanager
    def __call__(self, name: str, *, points: float, seconds: float = 10.0, off_limits: tuple[str, ...] = ()) -> Iterator[None]:
        """One check. What goes wrong inside fails this check and no other.

        Args:
            name: what should hold, in a few words.
            points: what it is worth.
            seconds: how long the block may take.
            off_limits: library functions, such as ``"torch.autograd.grad"``, that the answer may not call.
        """
        test_file = sys._getframe(2).f_code.co_filename
        seconds = min(seconds, _AFTER_TIMEOUT) if self._timed_out else seconds
        outcome = Outcome(name, points, "ok")
        prepared = place.answers.prepared(self._trusted, off_limits), place.answers.handing_over(self._namespace, self.name)
        with guard.replaced(self._namespace, self._trusted), prepared[0], prepared[1], guard.quiet(self._printed):
            try:
                with guard.time_limit(seconds):
                    yield
            except (Exception, SystemExit, TimeUp) as error:
                self._timed_out |= isinstance(error, TimeUp)
                outcome = Outcome(name, points, *explain(error, test_file))
        self._outcomes.append(outcome)

    # --- what can be said inside a block ---

    def close(self, got: Any, want: Any, *, rtol: float | None = None, atol: float | None = None, mistakes: Mistakes | None = None) -> None:
        """``got`` equals ``want`` up to rounding: same shape, close values, part by part for lists of arrays.

        Args:
            got: what the answer returned: a number, array, tensor, or lists, tuples or dicts of them.
            want: what it should have returned, likewise.
            rtol: relative tolerance; by default what the dtypes call for.
            atol: absolute tolerance, likewise.
            mistakes: message -> the result that this misconception gives.
        """
        problem = difference(got, want, rtol, atol)
        if problem:
            self._fail(problem, mistakes, lambda value: difference(got, value, _MISTAKE_RTOL, _MISTAKE_ATOL) is None)

    def equal(self, got: Any, want: Any, *, mistakes: Mistakes | None = None) -> None:
        """``got`` is exactly ``want``: integers, text, truth values, or lists of them."""
        if not same(got, want):
            problem = difference(got, want, rtol=0.0, atol=0.0) or f"expected {shown(want)}, got {shown(got)}"
            self._fail(problem, mistakes, lambda value: same(got, value))

    def shape(self, got: Any, want: tuple[int, ...], *, mistakes: Mistakes | None = None) -> None:
        """``got`` is an array or tensor of shape ``want``."""
        shape = as_array(got).shape
        if shape != tuple(want):
            self._fail(f"expected shape {tuple(want)}, got {shape}", mistakes, lambda value: shape == tuple(value))

    def dtype(self, got: Any, want: Any) -> None:
        """``got`` has the dtype ``want`` (a numpy or torch dtype, or its name)."""
        name = want if isinstance(want, str) else str(np.dtype(want)) if isinstance(want, type) else str(want).removeprefix("torch.")
        if dtype_name(got) != name:
            raise CheckFailed(f"expected dtype {name}, got {dtype_name(got)}")

    def finite(self, got: Any) -> None:
        """``got`` holds neither NaN nor infinity."""
        array = as_array(got)
        bad = ~np.isfinite(array)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise CheckFailed(f"expected finite numbers, got {array[index]}" + (f" at {list(index)} ({int(bad.sum())} of {array.size})" if array.ndim else ""))

    def law(self, holds: Any, otherwise: str, *, mistakes: Mistakes | None = None) -> None:
        """Something that must be true of every right answer.

        Args:
            holds: whether it is.
            otherwise: what to tell the student when it isn't: what should hold, and what came.
            mistakes: message -> whether this misconception explains it (a truth value or a callable).
        """
        if not bool(as_array(holds).all()):
            self._fail(otherwise, mistakes, lambda value: bool(value))

    def at_most(self, value: Any, bound: float, what: str, *, mistakes: Mistakes | None = None) -> None:
        """A number is no larger than ``bound``."""
        number = float(as_array(value, what))
        self.law(number <= bound, f"{what}: expected at most {bound:g}, got {number:.4g}", mistakes=mistakes)

    def at_least(self, value: Any, bound: float, what: str, *, mistakes: Mistakes | None = None) -> None:
        """A number is no smaller than ``bound``."""
        number = float(as_array(value, what))
        self.law(number >= bound, f"{what}: expected at least {bound:g}, got {number:.4g}", mistakes=mistakes)

    def raises(self, kind: type[Exception], call: Callable[[], Any]) -> None:
        """``call()`` raises ``kind``."""
        try:
            result = call()
        except NotImplementedError:
            raise
        except kind:
            return
        raise CheckFailed(f"expected {kind.__name__}, got {shown(result)}")

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """``function(*args)``, next to the answers: where these run in another process, a loop around an answer is then one question and not a thousand.

        What comes of it is an answer's result: to be compared here, with what was computed here. So give it nothing that it must not know.

        Args:
            function: a function of the test's that keeps nothing to itself: it calls answers, libraries and functions like it, and names constants.
            *args: numbers, text, arrays, tensors, what answers have made, and functions of that kind.

        Raises:
            TypeError: while grading, where a function keeps something to itself.
        """
        return place.answers.run(self.name, function, *args)

    @contextlib.contextmanager
    def no_side_effects(self, *values: Any) -> Iterator[None]:
        """The block leaves these arrays and tensors, and the global random generators, as they were."""
        with guard.untouched(values):
            yield

    def _fail(self, problem: str, mistakes: Mistakes | None, explains: Callable[[Any], bool]) -> None:
        for message, value in (mistakes or {}).items():
            with contextlib.suppress(Exception):  # a misconception that cannot be computed here explains nothing
                if explains(value() if callable(value) else value):
                    problem += f"\n{message}"
                    break
        raise CheckFailed(problem)

    # --- the end of the cell ---

    def report(self) -> float:
        """Print what passed and what to do about the rest.

        Returns:
            The cell's points times the share of its checks that passed, weighted by their points.

        Raises:
            RuntimeError: no check was made.
        """
        offered = sum(outcome.points for outcome in self._outcomes)
        if not offered:
            raise RuntimeError(f"{self.name}: no check was made. Restore this cell from the released notebook.")
        earned = sum(outcome.points for outcome in self._outcomes if outcome.status == "ok")
        passing = all(outcome.status == "ok" for outcome in self._outcomes)
        _reported[self.name] = "failing" if not passing else "visible" if self._only_visible(offered) else "full"
        print("\n".join([self._headline(earned, offered), *self._details()]))
        return Score(round(self.points * earned / offered, 2))

    def _only_visible(self, offered: float) -> bool:
        """Whether hidden checks were taken out of this cell, as they are in the released notebook."""
        return offered < self.points - 1e-9

    def _headline(self, earned: float, offered: float) -> str:
        if all(outcome.status == "todo" for outcome in self._outcomes):
            return f"{self.name}   not written yet. Write your answer in the cell above, run it, then run this cell again."
        if self._only_visible(offered):
            passed = sum(outcome.status == "ok" for outcome in self._outcomes)
            return f"{self.name}   {passed} of {len(self._outcomes)} visible checks pass. More checks run when it is graded."
        return f"{self.name}   {earned:g} of {self.points:g} points"

    def _details(self) -> list[str]:
        if all(outcome.status == "todo" for outcome in self._outcomes):
            return []
        lines = []
        for outcome in self._outcomes:
            lines.append(f"  {outcome.status:<5} {outcome.name}")
            lines += [f"        {line}" for line in outcome.explanation.splitlines()]
        printed = self._printed.getvalue().splitlines()
        if printed:
            lines += ["  printed by your code:", *(f"        {line[:120]}" for line in printed[:10])]
            lines += ["        …"] if len(printed) > 10 else []
        return lines


@contextlib.contextmanager
def uses(*names: str) -> Iterator[None]:
    """Around a cell that works with answers: when one is missing or wrong, say so plainly and let the notebook run on.

    An error is passed on only when all checks of every named exercise pass, hidden ones included: then it is a fault of the cell.
    """
    try:
        yield
    except Exception as error:
        if all(_reported.get(name) == "full" for name in names):
            raise
        failing = [name for name in names if _reported.get(name, "failing") == "failing"]
        if isinstance(error, NotImplementedError):
            print(f"This cell uses your {_listed(failing or names)}.\nWrite what is missing, run its checks, then run this cell again.")
            return
        print(f"This cell stopped ({type(error).__name__}: {str(error)[:200]}).")
        if failing:
            print(f"It uses your {_listed(failing)}, whose checks do not all pass yet.")
        else:
            print(f"The visible checks of {_listed(names)} pass. More run when it is graded; this may be what they find.")


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
