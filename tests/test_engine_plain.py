"""``dlcourse hostile --plain`` shows what plain nbgrader makes of the hostile submissions, and lets none of them out of its room."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlcourse_utils.instructor import cli
from dlcourse_utils.instructor.engine import hostile, plain, sandbox

walled = pytest.mark.skipif(bool(sandbox.missing()), reason=sandbox.missing())


@walled
def test_table_shows_what_had_no_grade_and_wrong_rows_are_no_failure(tmp_path, monkeypatch, capsys):
    rows = [hostile.Row("a pipe", 0, None, False, 1, 90.0, False), hostile.Row("a letter", 0, 0, True, 0, 3.5, True)]
    monkeypatch.setattr(plain, "grade", lambda *arguments, on_row, **options: [on_row(row) or row for row in rows])
    assert cli.main(["hostile", "--plain", "--json", str(tmp_path / "rows.json")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "pipe", "0", "none", "WRONG", "1", "90", "WRONG"] in lines
    assert ["a", "letter", "0", "0", "ok", "0", "3.5", "ok"] in lines
    assert ["2", "submissions,", "1", "wrong", "rows."] in lines
    assert json.loads((tmp_path / "rows.json").read_text())[0]["given"] is None


@walled
@pytest.mark.proof
def test_what_plain_nbgrader_gets_wrong_is_seen_and_stays_in_the_room(checkout, tmp_path, monkeypatch):
    submissions = hostile.find_tests(checkout, "hostile.submissions")
    chosen = {"UTF-16", "a letter", "a look at the gradebook", "a writer that stays", "a kill of all it sees"}
    monkeypatch.setattr(submissions, "CASES", [case for case in submissions.CASES if case.case in chosen])
    rows = {row.case: row for row in plain.grade(checkout, tmp_path / "root", workers=1, on_row=lambda row: None)}
    assert rows["a look at the gradebook"].given == 3.0, "it is in reach"
    assert rows["a writer that stays"].leftovers == 1
    assert not rows["a kill of all it sees"].classmate_ok, "the grader was among what it saw"
    assert [row.case for row in rows.values() if row.ok] == ["a letter"]
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if submissions.MARK.encode() in _bytes(path)]
    assert left == []


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""
