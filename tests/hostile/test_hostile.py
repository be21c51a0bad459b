"""Every submission that attacks or stumbles gets what it deserves, its classmates get theirs, and nothing stays behind."""

from __future__ import annotations

import pytest

from dlcourse_utils.instructor.engine import hostile, sandbox
from hostile.submissions import CASES

pytestmark = pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing())


@pytest.fixture(scope="module")
def rows(checkout, tmp_path_factory):
    graded = hostile.grade(checkout, tmp_path_factory.mktemp("hostile") / "root", workers=2)
    return {row.case: row for row in graded}


@pytest.mark.parametrize("case", [hostile.case for hostile in CASES])
def test_submission_gets_what_it_deserves_and_leaves_nothing_behind(rows, case):
    row = rows[case]
    assert row.given == row.deserved
    assert row.leftovers == 0
    assert row.seconds < 60, "no case takes long"
    assert row.ok


def test_classmates_get_theirs(rows):
    assert all(row.classmate_ok for row in rows.values())


def test_there_are_many_and_no_two_are_called_alike():
    assert len(CASES) >= 60
    assert len({case.case for case in CASES}) == len({case.student for case in CASES}) == len(CASES)
