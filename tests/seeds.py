"""The seeds of the experiments' tests; none of them was used to tune a band or to write a notebook's text, which seed 0 was."""

from __future__ import annotations

import pytest

FRESH = (101, 202, 303)

#: Runs a test with each fresh seed as ``seed``: with the first in ``make test``, with all of them in ``make proof``.
fresh_seeds = pytest.mark.parametrize("seed", [FRESH[0], *(pytest.param(seed, marks=pytest.mark.proof) for seed in FRESH[1:])])
