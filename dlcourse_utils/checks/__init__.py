"""The vocabulary of every test cell: small checks that teach.

A test cell opens an exercise, makes some checks, and ends with the report::

    check = checks.exercise("sdpa", points=5)

    with check("one output a query", points=1):
        check.shape(sdpa(q, k, v), (2, 3, 6))

    check.report()

Each ``with check(...)`` block stands alone: a failed comparison, an exception in the answer or a loop that does not end
fails that block and the next one still runs. The report prints what passed and what to do about the rest, and returns the
score, which nbgrader reads as partial credit. Nothing reaches stderr. Nothing here knows an answer.
"""

from dlcourse_utils.checks.exercise import Exercise, exercise, uses
from dlcourse_utils.checks.outcome import CheckFailed

__all__ = ["CheckFailed", "Exercise", "exercise", "uses"]
