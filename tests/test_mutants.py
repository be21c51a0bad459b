"""Mutants: what is changed and what is not, and that a survivor is noticed, must be explained, and is struck off once it is killed."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import minicourse
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dlcourse_utils.instructor import cli
from dlcourse_utils.instructor.cases import Verdict
from dlcourse_utils.instructor.constants import ConstantVerdict, try_constants
from dlcourse_utils.instructor.course import CourseError, Lecture, find_root, lectures
from dlcourse_utils.instructor.hollow import KINDS, Lookup, by_heart, constant
from dlcourse_utils.instructor.leaks import secrets_of
from dlcourse_utils.instructor.mutants import Mutant, mutants, mutate, sample
from dlcourse_utils.instructor.proof import summarise
from dlcourse_utils.instructor.proof_report import write
from dlcourse_utils.instructor.runner import Job, Runner
from dlcourse_utils.instructor.survivors import MutantVerdict, equivalents, explain, try_mutants

LECTURES = lectures(find_root(Path(__file__).parent))


def course_of(root: Path, body: str, *, head: str = "def mean(x, y=0, *, k=1):") -> Lecture:
    """The small course with another solution in its first exercise; ``body`` is the part that students write."""
    start, end = minicourse.SOURCE.index("def mean("), minicourse.SOURCE.index("    ### END SOLUTION")
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    source = f"{minicourse.SOURCE[:start]}{head}\n    ### BEGIN SOLUTION\n{indented}{minicourse.SOURCE[end:]}"
    return Lecture(minicourse.write(root, source=source), minicourse.NAME)


def changes(root: Path, body: str) -> dict[str, set[str]]:
    """line -> what it becomes, for the mutants of a solution."""
    found: dict[str, set[str]] = {}
    for mutant in mutants(course_of(root, body)):
        if mutant.exercise == "mean":
            found.setdefault(mutant.before, set()).add(mutant.after)
    return found


# --- what is changed ---


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("a = x + y", {"a = x - y"}),
        ("a = x - y", {"a = x + y", "a = (y) - (x)"}),
        ("a = x @ y", {"a = x * y", "a = (y) @ (x)"}),
        ("a = (x + y) * k", {"a = (x - y) * k", "a = (x + y) / k"}),
        ("a = x < y", {"a = x <= y", "a = x > y"}),
        ("a = x is None", {"a = x is not None"}),
        ("a = x and y", {"a = x or y"}),
        ("a = -x", {"a = x"}),
        ("a = not x", {"a = x"}),
        ("a = 3", {"a = 4"}),
        ("a = 0.5", {"a = 1.0"}),
        ("a = True", {"a = False"}),
        ("a = k if f(x) else y", {"a = k if not (f(x)) else y"}),
        ("a = x.sum(axis=1)", {"a = x.mean(axis=1)", "a = x.sum()", "a = x.sum(axis=0)", "a = x.sum(axis=2)"}),
        ("a = x.max(-1, keepdims=k)", {"a = x.min(-1, keepdims=k)", "a = x.max(-1)", "a = x.max(1, keepdims=k)", "a = x.max(-2, keepdims=k)"}),
        ("a = x.detach()", {"a = x"}),
        ("a = x.T", {"a = x"}),
        ("a = f(x, y)", {"a = f(y, x)"}),
        ("a = range(x)", {"a = range(x - 1)", "a = range(1, x)"}),
        ("a = range(x, y)", {"a = range(y, x)", "a = range(x, y - 1)", "a = range(x + 1, y)"}),
        ("a = x[:k]", {"a = x[1:k]", "a = x[:k - 1]"}),
        ("a = x[::-1]", {"a = x[:]", "a = x[::1]", "a = x[::-2]"}),
        ("a, b = x", {"b, a = x"}),
        ("x = f(x)", {""}),
        ("x[k] = y", {""}),
        ("f(x)", {""}),
        ("a = np.float64", {"a = np.float32"}),
    ],
)
def test_each_kind_of_line_is_changed_in_each_way_that_fits(tmp_path: Path, line: str, becomes: set[str]) -> None:
    assert changes(tmp_path, line)[line] == becomes


def test_a_result_is_also_an_argument_unchanged_or_in_the_wrong_order(tmp_path: Path) -> None:
    assert changes(tmp_path, "return k, y") == {"return k, y": {"return x", "return y, k"}}


def test_an_update_is_turned_round_replaced_and_dropped(tmp_path: Path) -> None:
    assert changes(tmp_path, "y += x") == {"y += x": {"y -= x", "y = x", ""}}


def test_a_block_without_gradients_gets_them_and_an_error_is_not_raised(tmp_path: Path) -> None:
    found = changes(tmp_path, "with torch.no_grad():\n    f(x)\nif k:\n    raise ValueError('no')")
    assert found["with torch.no_grad():"] == {"with torch.enable_grad():", "with torch:"}
    assert found["raise ValueError('no')"] == {""}


def test_one_change_is_not_made_twice_in_two_ways(tmp_path: Path) -> None:
    found = changes(tmp_path, "for _ in range(k):\n    x.step()")
    assert found == {"for _ in range(k):": {"for _ in range(k - 1):"}, "x.step()": {""}}


def test_messages_annotations_and_what_stands_outside_the_solution_are_left_alone(tmp_path: Path) -> None:
    assert changes(tmp_path, 'a: tuple[int, 3] = x\nb = f"{x + 1}"\nfor a, b in zip(x, k, strict=True):\n    raise ValueError(f"{1} of {2 + 3}")') == {
        "for a, b in zip(x, k, strict=True):": {"for a, b in zip(k, x, strict=True):"},
        'raise ValueError(f"{1} of {2 + 3}")': {""},
    }


EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "k", "1", "0.5", "x[1:k]", "x.T"]),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*/@<"), inner),
    max_leaves=6,
)


@given(EXPRESSIONS)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_every_mutant_is_another_program_and_none_comes_twice(expression: str) -> None:
    cell = f"def mean(x, k):\n    ### BEGIN SOLUTION\n    return {expression}\n    ### END SOLUTION\n"
    shapes = [ast.dump(ast.parse(code)) for code in [cell, *(code for *_, code in mutate(cell))]]
    assert len(shapes) == len(set(shapes))


def test_a_mutant_knows_its_line_in_the_source(tmp_path: Path) -> None:
    lecture = course_of(tmp_path, "é = 'ü', x + y")
    (mutant, *_) = [mutant for mutant in mutants(lecture) if mutant.after == "é = 'ü', x - y"]
    assert lecture.source.read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip() == mutant.before == "é = 'ü', x + y"


def test_the_sample_is_a_few_of_each_exercise_and_the_same_ones_every_time(tmp_path: Path) -> None:
    everything = mutants(Lecture(minicourse.write(tmp_path), minicourse.NAME))
    few = sample(everything, 2)
    assert [mutant.exercise for mutant in few] == ["mean", "mean", "spread", "spread"]
    assert set(sample(everything[::-1], 2)) == set(few)


# --- what becomes of them ---


@pytest.fixture
def lax(tmp_path: Path) -> Lecture:
    """A course whose first exercise has one check that only some mistakes fail."""
    lecture = course_of(tmp_path, "return abs(x) + 0.0")
    source = lecture.source.read_text(encoding="utf-8")
    start, end = source.index('with check("three numbers"'), source.index("check.report()")
    lecture.source.write_text(f'{source[:start]}with check("is positive", points=4):\n    check.law(mean(2.0) > 0, "no")\n{source[end:]}', encoding="utf-8")
    return Lecture(lecture.root, lecture.name)


def listing(lecture: Lecture, after: str, *, before: str = "return abs(x) + 0.0", reason: str = "Any positive number will do.") -> None:
    text = f"[[equivalent]]\nexercise = 'mean'\nbefore = '{before}'\nafter = ['{after}']\nreason = '{reason}'\n"
    (lecture.folder / "equivalent.toml").write_text(text, encoding="utf-8")


def fates(runner: Runner, lecture: Lecture) -> dict[str, tuple[str, bool]]:
    chosen = [mutant for mutant in mutants(lecture) if mutant.exercise == "mean"]
    return {verdict.case.split(" → ")[1]: (verdict.fate, verdict.ok) for verdict in try_mutants(runner, lecture, chosen)}


def test_a_survivor_is_noticed(runner: Runner, lax: Lecture) -> None:
    assert fates(runner, lax) == {"return x": ("survived", False), "return abs(x) - 0.0": ("survived", False), "return abs(x) + 1.0": ("survived", False)}


def test_a_survivor_that_is_explained_is_equivalent(runner: Runner, lax: Lecture) -> None:
    listing(lax, "return abs(x) - 0.0")
    assert fates(runner, lax)["return abs(x) - 0.0"] == ("equivalent", True)


def test_a_mutant_that_is_listed_and_killed_is_told(runner: Runner, tmp_path: Path) -> None:
    lecture = Lecture(minicourse.write(tmp_path), minicourse.NAME)
    (mutant,) = [mutant for mutant in mutants(lecture) if mutant.after == "return sum(numbers) * len(numbers)"]
    listing(lecture, mutant.after, before=mutant.before)
    (verdict,) = try_mutants(runner, lecture, [mutant])
    assert (verdict.fate, verdict.ok) == ("killed", False)
    assert "It is listed as equivalent and was killed. Take it out of the list." in explain(lecture, verdict)


def test_of_mutants_that_look_alike_one_may_be_killed(runner: Runner, lax: Lecture) -> None:
    source = lax.source.read_text(encoding="utf-8").replace("return abs(x) + 0.0", "if y:\n        return 3 - x\n    return 3 - x")
    lax.source.write_text(source, encoding="utf-8")
    lecture = Lecture(lax.root, lax.name)
    listing(lecture, "return (x) - (3)", before="return 3 - x", reason="No check gives a y.")
    alike = [mutant for mutant in mutants(lecture) if mutant.after == "return (x) - (3)"]
    never, first = try_mutants(runner, lecture, alike)
    assert (never.fate, never.ok, first.fate, first.ok) == ("equivalent", True, "killed", True)
    (first,) = try_mutants(runner, lecture, alike[1:])
    assert (first.fate, first.ok) == ("killed", True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dlcourse_utils.instructor.survivors.mutants", lambda lecture: alike[1:])
        (alone,) = try_mutants(runner, lecture, alike[1:])
    assert (alone.fate, alone.ok) == ("killed", False)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lecture: listing(lecture, "return abs(x) / 0.0"), "entry 1: there is no such mutant of 'mean': return abs(x) + 0.0 → return abs(x) / 0.0"),
        (lambda lecture: listing(lecture, "return x", reason=""), "entry 1: it must have exercise, before, after, reason"),
        (lambda lecture: listing(lecture, "return x', 'return x"), "entry 1: it is there twice"),
        (lambda lecture: (lecture.folder / "equivalent.toml").write_text("[[equivalent"), "this is no TOML"),
    ],
    ids=["gone", "no reason", "twice", "not TOML"],
)
def test_a_list_that_is_out_of_order_is_told(lax: Lecture, spoil: Callable[[Lecture], object], says: str) -> None:
    spoil(lax)
    with pytest.raises(CourseError, match=r"equivalent\.toml") as error:
        equivalents(lax, mutants(lax))
    assert says in str(error.value)


def test_a_mutant_that_never_ends_is_killed_by_its_processor_time(runner: Runner, tmp_path: Path) -> None:
    lecture = Lecture(minicourse.write(tmp_path), minicourse.NAME)
    code = "def mean(numbers):\n    while True:\n        try:\n            while True:\n                pass\n        except BaseException:\n            pass"
    (verdict,) = try_mutants(runner, lecture, [Mutant("mean", 1, "a", "b", code)], seconds=1)
    assert (verdict.fate, verdict.lost_here, verdict.ok) == ("timed out", 4, True)
    (outcome,) = runner.run(lecture, [Job({"mean": code}, seconds=1)])
    assert outcome.ended == "timed out after 1 s in cell 'test-mean'"


def test_the_command_says_what_survived_and_writes_the_report(lax: Lecture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listing(lax, "return abs(x) - 0.0")
    monkeypatch.chdir(lax.root)
    assert cli.main(["cases", "--exercise", "mean", "--mutants", "--json", "verdicts.json", "--report", "report"]) == 1
    out = capsys.readouterr().out
    assert "3 mutants: 0 killed, 1 equivalent, 2 survived" in out
    assert "after = ['return abs(x) + 1.0']" in out
    summary = json.loads((lax.root / "verdicts.json").read_text(encoding="utf-8"))["summary"]
    assert summary.items() >= {"mutants": 3, "killed": 0, "equivalent": 1, "survived": 2}.items()
    report = json.loads((lax.root / "report" / "report.json").read_text(encoding="utf-8"))
    (row,) = report["exercises"]
    assert row.items() >= {"exercise": "mean", "mutants": 3, "equivalent": 1, "survived": 2, "kill_rate": 0.0}.items()
    page = (lax.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "Any positive number will do." in page
    assert "<code>return abs(x) + 0.0 → return abs(x) + 1.0</code>" in page


def test_a_kill_rate_of_100_percent_is_all_of_them_and_what_failed_is_on_the_page(tmp_path: Path) -> None:
    lecture = Lecture(minicourse.write(tmp_path), minicourse.NAME)
    named = [Verdict(lecture.name, exercise, "slow", "right", lost, 0.0, "lost <all>", 1.0, ok=not lost) for exercise, lost in (("mean", 0.0), ("spread", 3.0))]
    dead = MutantVerdict(lecture.name, "mean", "a → b", "mutant", 1, "killed", 1.0, "", "", 0.5, ok=True)
    empty = [ConstantVerdict(lecture.name, "mean", "zeros", "constant", 1.0, ("is <positive>",), 0.5, ok=False)]
    fates = [dead] * 299 + [replace(dead, fate="survived", ok=False)]
    write(tmp_path, [lecture], named, fates, empty, summarise(named, fates, empty, {}, 1.0, 0))
    (sums,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["lectures"]
    assert sums.items() >= {"mutants": 300, "killed": 299, "right": 2, "false_fails": 1, "empty": 1, "refused": 0, "seconds": 152.5}.items()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>99 %</td>" in page
    assert "<td>100 %</td>" not in page
    assert "lost &lt;all&gt;" in page
    assert "It passed: is &lt;positive&gt;" in page


# --- answers that compute nothing ---


def test_an_answer_that_computes_nothing_passes_no_hidden_check(runner: Runner, tmp_path: Path) -> None:
    verdicts = try_constants(runner, Lecture(minicourse.write(tmp_path), minicourse.NAME), "mean")
    assert {verdict.case: (verdict.score, verdict.ok) for verdict in verdicts} == {
        **dict.fromkeys(("zeros", "a constant", "noise", "None", "its input"), (0, True)),
        "the visible answers": (1, True),
    }


def test_a_class_gets_methods_that_compute_nothing_and_leave_no_result_behind() -> None:
    class Score:
        def __init__(self) -> None:
            self.total = 3.0

        def add(self, number: float) -> None:
            self.total += number

        def __add__(self, other: float) -> Score:
            twin: Score = Twin()
            return twin

    for kind, total in (("zeros", 0.0), ("a constant", 0.5)):
        Twin = constant(kind, Score)
        score = Twin()
        score.add(4.0)
        assert score.total == 3.0
        assert isinstance(score + 2.0, Score)
        assert (score + 2.0).total == total
    assert constant("its input", Score)() + 2.0 == 2.0
    assert constant("None", Score)() + 2.0 is None


def test_what_computes_nothing_leaves_nothing_behind_and_refuses_nothing() -> None:
    heard: list[float] = []

    def walk(model: nn.Linear, spy: Callable[[float], None]) -> torch.Tensor:
        spy(1.0)
        with torch.no_grad():
            model.weight += torch.rand(())
        result: torch.Tensor = model(torch.ones(2))
        return result

    model = nn.Linear(2, 3)
    weight, state = model.weight.clone(), torch.get_rng_state()
    for kind in KINDS[:-1]:
        found = constant(kind, walk)(model, heard.append)
        assert kind in ("None", "its input") or found.shape == (3,)
    assert heard == []
    assert torch.equal(model.weight, weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert constant("zeros", lambda n: 1 / n)(0) == 0.0


def test_a_network_and_a_count_that_compute_nothing_have_the_right_form() -> None:
    network = constant("zeros", lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU()))()
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(3, 2), (3,)]
    assert torch.equal(network(torch.ones(4, 2)), torch.zeros(4, 3))
    assert torch.equal(network[0](torch.ones(4, 2)), torch.zeros(4, 3))
    assert constant("a constant", lambda: Counter("aab"))() == {0.5: 3}


def test_what_is_known_by_heart_is_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    double = by_heart(lambda x: 2.0 * x)
    assert double(3.0) == 6.0
    monkeypatch.setattr(Lookup, "learning", False)
    assert (double(3.0), double(4.0)) == (6.0, 0.0)


def test_a_hidden_check_that_looks_at_no_number_is_noticed(runner: Runner, lax: Lecture) -> None:
    source = lax.source.read_text(encoding="utf-8")
    source = source.replace('with check("is positive"', '### BEGIN HIDDEN TESTS\nwith check("is positive"').replace('"no")\n', '"no")\n### END HIDDEN TESTS\n')
    lax.source.write_text(source, encoding="utf-8")
    verdicts = {verdict.case: verdict for verdict in try_constants(runner, Lecture(lax.root, lax.name), "mean")}
    assert (verdicts["a constant"].passed, verdicts["a constant"].ok) == (("is positive",), False)
    assert (verdicts["zeros"].passed, verdicts["zeros"].ok) == ((), True)


# --- the lectures ---


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
def test_the_lists_name_mutants_that_exist_and_say_why(lecture: Lecture) -> None:
    listed = equivalents(lecture, mutants(lecture))
    assert all(reason.endswith(".") for reason in listed.values())


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda lecture: lecture.name)
def test_a_sample_of_the_mutants_meets_the_end_it_should(runner: Runner, lecture: Lecture) -> None:
    chosen = sample(mutants(lecture), 3)
    verdicts = try_mutants(runner, lecture, chosen)
    wrong = [explain(lecture, verdict) for verdict in verdicts if not verdict.ok]
    assert not wrong, "\n\n".join(wrong)
    secret = secrets_of(lecture).lines
    told = [line for mutant, verdict in zip(chosen, verdicts, strict=True) for line in secret if line in verdict.message and line not in mutant.code]
    assert not told, "a message shows code that students must not see"
