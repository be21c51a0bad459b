"""The seeds of the experiments' tests; none of them was used to tune a band or to write a notebook's text, which seed 0 was."""

from __future__ import annotations

import pytest

FRESH = (101, 202, 303)


def fresh(first: int, *others: int) -> pytest.MarkDecorator:
    """Runs a test with each of these as ``seed``: with the first in ``make test``, with all of them in ``make proof``."""
    return pytest.mark.parametrize("seed", [first, *(pytest.param(seed, marks=pytest.mark.proof) for seed in others)])


fresh_seeds = fresh(*FRESH)
