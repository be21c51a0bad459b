"""``dlcourse cases``: every case of every lecture gets what it deserves, and a case file that is wrong is told how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import minicourse
import pytest

from dlcourse_utils.instructor import cli
from dlcourse_utils.instructor.cases import Case, Verdict, blanks, explain, parse, prove
from dlcourse_utils.instructor.course import CourseError, Lecture, find_root, lectures
from dlcourse_utils.instructor.regions import HIDDEN_TESTS, SOLUTION, split
from dlcourse_utils.instructor.runner import Job, Runner

LECTURES = lectures(find_root(Path(__file__).parent))
GOOD = "# %% right | mean | fine\nx = 1\n"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Lecture:
    return Lecture(minicourse.write(tmp_path_factory.mktemp("mini")), minicourse.NAME)


def verdicts(runner: Runner, lecture: Lecture, *cases: Case, thorough: bool = False) -> list[Verdict]:
    reference, judged = prove(runner, lecture, cases, thorough=thorough)
    assert reference.lost() == 0
    return judged


def wrong(code: str, *, hint: str = "mean", exercise: str = "mean") -> Case:
    return Case(exercise, "own", "wrong", code, "cases.py:1", hint)


def right(code: str, *, exercise: str = "mean") -> Case:
    return Case(exercise, "own", "right", code, "cases.py:1")


# --- the lectures ---


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
def test_every_case_gets_what_it_deserves(runner: Runner, lecture: Lecture) -> None:
    cases = [*parse(lecture.cases, [exercise.id for exercise in lecture.exercises]), *blanks(lecture)]
    reference, judged = prove(runner, lecture, cases)
    assert (reference.lost(), reference.ended) == (0, "")
    failed = [explain(lecture, case, verdict) for case, verdict in zip(cases, judged, strict=True) if not verdict.ok]
    assert not failed, "\n\n".join(failed)
    secret = secrets(lecture)
    told = [(case.place, line) for case, verdict in zip(cases, judged, strict=True) for line in secret if line in verdict.message and line not in case.code]
    assert not told, "a message shows code that students must not see"


def secrets(lecture: Lecture) -> set[str]:
    """The lines of code in a lecture's solutions and hidden tests that are long enough to be told apart, and that students are not shown elsewhere."""
    halves = [split(cell.source, SOLUTION, HIDDEN_TESTS) for cell in lecture.notebook.cells if cell.cell_type == "code"]
    shown, hidden = ({line.strip() for half in halves for line in half[side]} for side in (0, 1))
    return {line for line in hidden - shown if len(line) >= 16 and not line.startswith("#")}


def test_a_message_that_shows_a_hidden_line_would_be_noticed(mini: Lecture) -> None:
    assert "return sum(numbers) / len(numbers)" in secrets(mini)
    assert "hidden_row = list(check.rng.normal(size=7))" in secrets(mini)
    assert not any(line.startswith("check.close(mean([1.0, 2.0, 6.0])") for line in secrets(mini))


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
def test_every_exercise_has_four_wrong_cases_and_two_right_ones(lecture: Lecture) -> None:
    cases = parse(lecture.cases, [exercise.id for exercise in lecture.exercises])
    for exercise in lecture.exercises:
        kinds = [case.kind for case in cases if case.exercise == exercise.id]
        assert kinds.count("wrong") >= 4, exercise.id
        assert kinds.count("right") >= 2, exercise.id


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
@pytest.mark.parametrize("seeds", [range(1, 2), pytest.param(range(2, 20), marks=pytest.mark.proof)], ids=["one seed", "eighteen seeds"])
def test_the_reference_solutions_have_full_marks_on_other_grading_seeds(runner: Runner, lecture: Lecture, seeds: range) -> None:
    outcomes = runner.run(lecture, [Job(seed=seed) for seed in seeds])  # the cases have tried seed 0
    lost = {seed: outcome.message(outcome.tests) + outcome.ended for seed, outcome in zip(seeds, outcomes, strict=True) if outcome.lost() or outcome.ended}
    assert not lost, lost


@pytest.mark.proof
@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
def test_the_reference_solutions_have_full_marks_on_two_threads(runner: Runner, lecture: Lecture) -> None:
    (outcome,) = runner.run(lecture, [Job(threads=2)])
    assert (outcome.lost(), outcome.ended) == (0, ""), outcome.message(outcome.tests)


# --- verdicts ---


def test_the_command_proves_a_lecture_and_writes_the_verdicts(mini: Lecture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(mini.root)
    assert cli.main(["cases", "--json", "verdicts.json"]) == 0
    report = json.loads((mini.root / "verdicts.json").read_text(encoding="utf-8"))
    assert [tuple(case) for case in report["cases"]] == [("lecture", "exercise", "case", "kind", "lost_here", "lost_elsewhere", "message", "seconds", "ok")] * 6
    assert {(c["exercise"], c["kind"]): (c["lost_here"], c["lost_elsewhere"]) for c in report["cases"]} == {
        ("mean", "wrong"): (3, 0),
        ("mean", "right"): (0, 0),
        ("mean", "blank"): (4, 0),
        ("spread", "wrong"): (3, 0),
        ("spread", "right"): (0, 0),
        ("spread", "blank"): (3, 0),
    }
    expected = {"lectures": 1, "exercises": 2, "cases": 6, "wrong": 2, "right": 2, "blank": 2, "ok": 6, "failed": 0, "reference_lost": {"01-mini": 0}}
    assert report["summary"].items() >= expected.items()
    assert "6 of 6 cases as deserved" in capsys.readouterr().out


def test_cases_from_another_file_that_fail_are_explained(
    mini: Lecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.py"
    own.write_text('"""My own."""\n\n# %% wrong | mean | always three\n# hint: It is always three\ndef mean(numbers):\n    return 3.0\n', encoding="utf-8")
    monkeypatch.chdir(mini.root)
    assert cli.main(["cases", "--from", str(own), "--json", str(tmp_path / "verdicts.json")]) == 1
    out = capsys.readouterr().out
    assert f"{own}:3: wrong | mean | always three" in out
    assert "some of 4 points lost here, none elsewhere, and a message with: It is always three" in out
    assert "3 lost here, 0 elsewhere" in out
    (case,) = json.loads((tmp_path / "verdicts.json").read_text(encoding="utf-8"))["cases"]
    assert (case["case"], case["ok"]) == ("always three", False)


def test_a_wrong_case_must_lose_points(runner: Runner, mini: Lecture) -> None:
    (verdict,) = verdicts(runner, mini, wrong(parse(mini.cases, ["mean", "spread"])[2].code, hint="mean"))
    assert (verdict.lost_here, verdict.ok) == (0, False)


def test_a_right_case_must_lose_nothing(runner: Runner, mini: Lecture) -> None:
    (verdict,) = verdicts(runner, mini, right("def mean(numbers):\n    return sum(numbers) / len(numbers)"))
    assert (verdict.lost_here, verdict.ok) == (1, False)


def test_a_mistake_that_costs_elsewhere_too_is_not_as_deserved(runner: Runner, tmp_path: Path) -> None:
    source = minicourse.SOURCE.replace("check.use(mean=", "dict(mean=")
    lecture = Lecture(minicourse.write(tmp_path, source=source), minicourse.NAME)
    mistake, blank = parse(lecture.cases, ["mean", "spread"])[0], blanks(lecture)[0]
    (verdict,) = verdicts(runner, lecture, mistake, thorough=True)
    assert verdict.lost_here == 3
    assert verdict.lost_elsewhere > 0
    assert not verdict.ok
    quick, by_blank = verdicts(runner, lecture, mistake, blank)
    assert quick.lost_elsewhere == 0
    assert (by_blank.lost_elsewhere, by_blank.ok) == (3, False)


def test_a_reference_that_loses_points_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = minicourse.SOURCE.replace("return sum(numbers) / len(numbers)\n    ### END", "return sum(numbers) / len(numbers) + 1\n    ### END")
    monkeypatch.chdir(minicourse.write(tmp_path, source=source))
    assert cli.main(["cases", "--exercise", "spread"]) == 1
    assert "the reference solutions lose" in capsys.readouterr().out


def test_a_case_that_never_ends_is_judged(runner: Runner, mini: Lecture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "wall_seconds", 3)
    loop = "def mean(numbers):\n    while True:\n        try:\n            while True:\n                pass\n        except BaseException:\n            pass"
    stubborn, fine = verdicts(runner, mini, wrong(loop), right(parse(mini.cases, ["mean", "spread"])[2].code))
    assert (stubborn.lost_here, stubborn.ok) == (4, False)
    assert stubborn.message == "timed out after 3 s in cell 'test-mean'"
    assert fine.ok


def test_a_case_that_kills_its_process_is_judged(runner: Runner, mini: Lecture) -> None:
    (verdict,) = verdicts(runner, mini, wrong("import os\ndef mean(numbers):\n    os._exit(7)"))
    assert (verdict.lost_here, verdict.ok) == (4, False)
    assert verdict.message == "left the interpreter with exit status 7 in cell 'test-mean'"


def test_honest_noise_loses_nothing(runner: Runner, mini: Lecture) -> None:
    noise = (
        "import logging, os, sys, warnings\n"
        "print('defined', file=sys.stderr)\n"
        "def mean(numbers):\n"
        "    print('called')\n    print('called', file=sys.stderr)\n    os.write(2, b'called')\n    warnings.warn('called')\n    logging.warning('called')\n"
        "    if not numbers:\n        raise ValueError\n"
        "    return sum(numbers) / len(numbers)\n"
    )
    (verdict,) = verdicts(runner, mini, right(noise))
    assert verdict.ok, verdict.message


def test_a_blank_answer_is_what_nbgrader_hands_out(mini: Lecture) -> None:
    blank = blanks(mini)[0]
    assert (blank.exercise, blank.kind) == ("mean", "blank")
    assert blank.code.startswith("def mean(numbers: list[float]) -> float:")
    assert "raise NotImplementedError" in blank.code
    assert "SOLUTION" not in blank.code


# --- case files ---


def test_a_case_keeps_its_place_its_hint_and_its_code(tmp_path: Path) -> None:
    path = tmp_path / "cases.py"
    path.write_text("# %% [markdown]\n# Text.\n# %% wrong | mean | two lines\n# hint: one\n# hint: two\n\nx = 1\n", encoding="utf-8")
    (case,) = parse(path, ["mean"])
    assert (case.exercise, case.name, case.kind, case.hint, case.place) == ("mean", "two lines", "wrong", "one two", f"{path}:3")
    assert case.code == "# hint: one\n# hint: two\n\nx = 1\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("# %% right | median | one\nx = 1\n", 1, "there is no exercise 'median'. There are: mean, spread."),
        (GOOD + "# %% odd | mean | one\nx = 1\n", 3, "'odd' is no kind of case; there are wrong and right"),
        (GOOD + "# %% wrong | mean | one\nx = 1\n", 3, "the wrong case 'one' has no hint. Start it with '# hint: …'"),
        (GOOD + "# %% right | mean | one\n# hint: no\nx = 1\n", 3, "the right case 'one' has a hint"),
        (GOOD + "\n" + GOOD, 4, "'mean' has a case called 'fine' already, at"),
        (GOOD + "# %% right | mean | one\n# later\n", 3, "the case 'one' is empty"),
        (GOOD + "# %% right | mean | one\nx = 1\ny = = 2\n", 5, "Python cannot read this case: invalid syntax. Mend the line; it is 'y = = 2'"),
        (GOOD + "# %% right | mean\nx = 1\n", 3, "'# %% right | mean' is no case. Write"),
        ("import math\n" + GOOD, 1, "this code belongs to no case"),
        (GOOD + "# %% [markdown]\n# Well.\nx = 1\n", 5, "this code belongs to no case"),
    ],
    ids=[
        "unknown exercise",
        "unknown kind",
        "no hint",
        "needless hint",
        "same name",
        "empty",
        "syntax error",
        "no name",
        "code before the cases",
        "code in a text",
    ],
)
def test_a_wrong_case_file_is_told_the_line_and_the_cure(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "cases.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CourseError) as error:
        parse(path, ["mean", "spread"])
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert says in str(error.value)


def test_a_missing_file_an_unknown_exercise_and_a_bad_folder_are_told(
    mini: Lecture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mini.root)
    assert cli.main(["cases", "--from", "nowhere.py"]) == 2
    assert "nowhere.py: no such file" in capsys.readouterr().err
    assert cli.main(["cases", "--exercise", "median"]) == 2
    assert "--exercise median: no such exercise. There are: mean, spread." in capsys.readouterr().err
