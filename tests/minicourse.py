"""A whole course in miniature, for tests: one lecture, ``01-mini``, with every kind of cell, and the answers it is proven against.

It needs neither torch nor data, so that running it takes seconds.
"""

# ruff: noqa: E501
from __future__ import annotations

import shutil
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
NAME = "01-mini"

SOURCE = '''\
# %% [markdown]
# # 1  Numbers in a row
#
# What a mean and a spread say about a row of numbers. You will write both, and see how far a mean of few numbers strays.
#
# About 45 minutes, 11 points. It follows no lecture.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import random

from matplotlib.figure import Figure

from dlcourse_utils import checks, claims, plotting, widgets
from dlcourse_utils.claims import Claim

# %% [markdown]
# ## The mean
#
# The mean of $n$ numbers is their sum, divided by how many there are: $\\bar x = \\frac{1}{n} \\sum_i x_i$.

# %% nbgrader={"grade": false, "grade_id": "figure-row", "locked": true, "schema_version": 3, "solution": false, "task": false}
row_figure, row_axes = plotting.subplots()
row_axes.plot([1, 2, 6], [0, 0, 0], "o")
plotting.show(row_figure, alt="Three points on a line, at 1, 2 and 6; their mean is 3.")

# %% [markdown]
# **Exercise 1.1 · `mean`** (4 points · difficulty 1 of 5 · about 10 minutes)
#
# Write the mean of a list of numbers. An empty list has none: raise `ValueError`. Do without the `statistics` library.
#
# <details><summary>Hint 1: where to start</summary> `sum` adds the numbers of a list. </details>
#
# <details><summary>Hint 2: the empty list</summary> Look at the length first. </details>

# %% nbgrader={"grade": false, "grade_id": "mean", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mean(numbers: list[float]) -> float:
    """The mean of ``numbers``; ValueError when there are none."""
    ### BEGIN SOLUTION
    if not numbers:
        raise ValueError("an empty list has no mean")
    return sum(numbers) / len(numbers)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test-mean", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("mean", points=4)

with check("three numbers", points=1):
    check.close(mean([1.0, 2.0, 6.0]), 3.0, mistakes={"This is the sum. Divide it by how many numbers there are.": 9.0})

### BEGIN HIDDEN TESTS
with check("moves with its numbers", points=2):
    hidden_row = list(check.rng.normal(size=7))
    check.close(mean([number + 5.0 for number in hidden_row]), mean(hidden_row) + 5.0, mistakes={
        "This is the sum. Divide it by how many numbers there are.": lambda: mean(hidden_row) + 35.0,
    })

with check("an empty list", points=1):
    check.raises(ValueError, lambda: mean([]))
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## The spread
#
# How far the numbers lie from their mean, in the square mean: $s^2 = \\frac{1}{n} \\sum_i (x_i - \\bar x)^2$. It is never negative.

# %% [markdown]
# **Exercise 1.2 · `spread`** (3 points · difficulty 2 of 5 · about 15 minutes)
#
# Write the mean squared distance from the mean. Use your `mean`.
#
# <details><summary>Hint 1: where to start</summary> Work out the mean once, before anything else. </details>
#
# <details><summary>Hint 2: the squares</summary> It is a mean, too: of the squared distances. </details>

# %% nbgrader={"grade": false, "grade_id": "spread", "locked": false, "schema_version": 3, "solution": true, "task": false}
def spread(numbers: list[float]) -> float:
    """The mean squared distance of ``numbers`` from their mean."""
    ### BEGIN SOLUTION
    middle_of_them = mean(numbers)
    return mean([(number - middle_of_them) ** 2 for number in numbers])
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test-spread", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("spread", points=3)
### BEGIN HIDDEN TESTS
check.use(mean=lambda numbers: sum(numbers) / len(numbers))
### END HIDDEN TESTS

with check("two numbers", points=1):
    check.close(spread([1.0, 3.0]), 1.0, mistakes={"The distances are not squared. Square each before taking the mean.": 0.0})

### BEGIN HIDDEN TESTS
with check("stretches with the square", points=2):
    stretched_row = list(check.rng.normal(size=5))
    check.close(spread([3.0 * number for number in stretched_row]), 9.0 * spread(stretched_row))
    check.law(spread(stretched_row) > 0, "The spread of different numbers is positive.", mistakes={
        "The distances are not squared. Square each before taking the mean.": lambda: abs(spread(stretched_row)) < 1e-9,
    })
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## How far a mean strays
#
# A mean of few throws of a die lies further from 3.5 than a mean of many.

# %% nbgrader={"grade": false, "grade_id": "experiment-dice", "locked": true, "schema_version": 3, "solution": false, "task": false}
def strays(seed: int) -> float:
    """How far the mean of 400 throws of a die is from 3.5."""
    dice = random.Random(seed)
    return abs(mean([dice.randint(1, 6) for _ in range(400)]) - 3.5)

# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-table", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("mean"):
    claims.show(Claim("distance from 3.5", lecture="goes to 0", measured=strays(seed=0), at_most=0.4))

# %% [markdown]
# ## Try it

# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-third", "locked": true, "schema_version": 3, "solution": false, "task": false}
def picture(third: float) -> tuple[Figure, str]:
    figure, axes = plotting.subplots()
    axes.plot([1, 2, third], [0, 0, 0], "o")
    return figure, f"Points at 1, 2 and {third}; their mean is {mean([1, 2, third]):.2f}."

widgets.explore(picture, sliders={"third": (0.0, 9.0, 0.5, 6.0)}, twin=[{"third": 3.0}, {"third": 9.0}], title="Move the third point")

# %% [markdown]
# ## In your own words
#
# **Written question** (4 points): when does the mean of some numbers tell you little about them? Give an example.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# When one number is far from all the others, as with incomes: a single very rich person moves the mean and nobody else.
# ### END SOLUTION
# ### BEGIN MARK SCHEME
# 2 points for naming outliers or two separate groups, 2 points for an example in which the mean is typical of nobody.
# ### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# A mean says where numbers lie, a spread how far apart.
'''

CASES = """\
# %% wrong | mean | the sum
# hint: Divide it by how many numbers there are
def mean(numbers):
    if not numbers:
        raise ValueError
    return sum(numbers)

# %% wrong | spread | not squared
# hint: The distances are not squared
def spread(numbers):
    middle = mean(numbers)
    return mean([number - middle for number in numbers])

# %% right | mean | a loop
def mean(numbers):
    if len(numbers) == 0:
        raise ValueError("nothing")
    total = 0.0
    for number in numbers:
        total += number
    return total / len(numbers)

# %% right | spread | by the mean of the squares
def spread(numbers):
    squares = mean([number * number for number in numbers])
    return squares - mean(numbers) ** 2
"""


def write(root: Path, source: str = SOURCE, cases: str = CASES, name: str = NAME) -> Path:
    """Make a checkout in ``root``: the course's real nbgrader configuration and one lecture. Returns ``root``."""
    folder = root / "course" / "source" / name
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    (folder / "cases.py").write_text(cases, encoding="utf-8")
    (root / "notebooks").mkdir(exist_ok=True)
    (root / "solutions").mkdir(exist_ok=True)
    shutil.copy(CHECKOUT / "course" / "nbgrader_config.py", root / "course")
    return root
