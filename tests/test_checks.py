"""What a check says, what it costs, and what it shields a student from."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from dlcourse_utils import checks
from dlcourse_utils.checks import CheckFailed
from dlcourse_utils.checks.compare import as_array, difference, same


def stub(*_: Any) -> Any:
    raise NotImplementedError


def report(capsys: pytest.CaptureFixture[str], check: checks.Exercise) -> tuple[float, str]:
    score = check.report()
    return score, capsys.readouterr().out


def one(capsys: pytest.CaptureFixture[str], body: Callable[[checks.Exercise], Any], **kwargs: Any) -> tuple[float, str]:
    """Score and report of an exercise with the single check ``body``."""
    check = checks.exercise("answer", points=1)
    with check("the check", points=1, **kwargs):
        body(check)
    return report(capsys, check)


class TestScore:
    def test_is_the_weighted_share_of_passed_checks(self, capsys: pytest.CaptureFixture[str]) -> None:
        check = checks.exercise("answer", points=4)
        with check("right", points=3):
            check.equal(1, 1)
        with check("wrong", points=1):
            check.equal(1, 2)
        score, text = report(capsys, check)
        assert score == 3.0
        assert "answer   3 of 4 points" in text

    def test_of_visible_checks_alone_is_full_when_they_pass_so_that_validate_agrees(self, capsys: pytest.CaptureFixture[str]) -> None:
        check = checks.exercise("answer", points=5)
        with check("visible", points=1):
            check.equal(1, 1)
        score, text = report(capsys, check)
        assert score == 5.0
        assert "1 of 1 visible checks pass. More checks run when it is graded." in text

    def test_of_an_unwritten_answer_is_zero_and_the_report_says_what_to_do(self, capsys: pytest.CaptureFixture[str]) -> None:
        score, text = one(capsys, lambda check: stub())
        assert score == 0
        assert text == "answer   not written yet. Write your answer in the cell above, run it, then run this cell again.\n"

    def test_cannot_be_had_without_a_check(self) -> None:
        with pytest.raises(RuntimeError, match="no check was made"):
            checks.exercise("answer", points=1).report()


class TestOneFailingCheck:
    def test_leaves_the_next_to_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        check = checks.exercise("answer", points=2)
        with check("first", points=1):
            raise ValueError("no")
        with check("second", points=1):
            check.equal(1, 1)
        score, text = report(capsys, check)
        assert score == 1
        assert "wrong first\n        ValueError: no\n  ok    second" in text

    def test_that_never_ends_is_stopped_even_when_it_swallows_exceptions(self, capsys: pytest.CaptureFixture[str]) -> None:
        def stubborn(check: checks.Exercise) -> None:
            started = time.monotonic()
            while time.monotonic() - started < 20:
                try:
                    time.sleep(0.01)
                except Exception:
                    continue

        score, text = one(capsys, stubborn, seconds=0.1)
        assert score == 0
        assert "Still running after 0.1 s" in text

    def test_that_ran_out_of_time_leaves_later_ones_a_second(self, capsys: pytest.CaptureFixture[str]) -> None:
        check = checks.exercise("answer", points=2)
        for seconds in (0.1, 10):
            with check("loops", points=1, seconds=seconds):
                time.sleep(5)
        _, text = report(capsys, check)
        assert "Still running after 0.1 s" in text
        assert "Still running after 1 s" in text

    def test_by_exit_does_not_end_the_notebook(self, capsys: pytest.CaptureFixture[str]) -> None:
        score, text = one(capsys, lambda check: sys.exit())
        assert score == 0
        assert "called `exit()`" in text

    def test_does_not_swallow_the_stop_button(self) -> None:
        check = checks.exercise("answer", points=1)
        with pytest.raises(KeyboardInterrupt), check("stopped", points=1):
            raise KeyboardInterrupt

    def test_names_a_missing_definition(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, text = one(capsys, lambda check: eval("sdpa(1)"))
        assert "`sdpa` is not defined. Run the cell that defines it" in text

    def test_tells_of_a_forgotten_return(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, text = one(capsys, lambda check: check.close(None, np.zeros(2)))
        assert "A function that ends without `return` gives None." in text

    def test_by_an_operation_a_library_lacks_is_wrong_rather_than_unwritten(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, text = one(capsys, lambda check: torch.zeros(2, dtype=torch.bool) - torch.zeros(2, dtype=torch.bool))
        assert "wrong" in text


class TestNoiseCostsNothing:
    @pytest.mark.parametrize(
        "noise",
        [
            lambda: warnings.warn("look out", stacklevel=1),
            lambda: sys.stderr.write("progress 10%"),
            lambda: logging.getLogger("student").warning("logged"),
            lambda: os.write(2, b"from C"),
            lambda: print("debugging"),
        ],
        ids=["warning", "stderr", "logging", "stderr by descriptor", "print"],
    )
    def test_and_nothing_reaches_stderr(self, noise: Callable[[], Any], capfd: pytest.CaptureFixture[str]) -> None:
        check = checks.exercise("answer", points=1)
        with check("noisy", points=1):
            noise()
        assert check.report() == 1
        assert capfd.readouterr().err == ""

    def test_and_prints_are_shown_in_short(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, text = one(capsys, lambda check: [print(f"line {i}") for i in range(10**4)])
        assert "printed by your code:\n        line 0\n" in text
        assert len(text) < 1000


class TestClose:
    def test_says_where_and_what(self, capsys: pytest.CaptureFixture[str]) -> None:
        got = np.zeros((2, 3))
        got[1, 2] = -0.8721
        want = np.zeros((2, 3))
        want[1, 2] = -0.4132
        _, text = one(capsys, lambda check: check.close(got, want))
        assert "at [1, 2]: expected -0.4132, got -0.8721 (1 of 6 values differ)" in text

    def test_names_the_misconception_that_gives_this_result(self, capsys: pytest.CaptureFixture[str]) -> None:
        mistakes = {"You added.": lambda: 5.0, "You divided.": lambda: 1 / 0, "You forgot to square.": 3.0}
        _, text = one(capsys, lambda check: check.close(3.0, 9.0, mistakes=mistakes))
        assert text.endswith("expected 9, got 3\n        You forgot to square.\n")

    def test_goes_part_by_part(self) -> None:
        want = [(np.ones((2, 2)), np.ones(2)), (np.ones((1, 2)), np.ones(1))]
        assert difference([tuple(map(np.copy, pair)) for pair in want], want) is None
        assert difference([want[0], (want[1][0], np.zeros(1))], want) == "part [1][1]: at [0]: expected 1, got 0"
        assert difference(want[:1], want) == "expected 2 parts, got 1"
        assert difference(np.ones(3), want) == "expected a list of 2 parts, got a ndarray"
        assert difference({"a": 1}, {"b": 1}) == "expected the keys ['b'], got ['a']"

    @pytest.mark.parametrize("other", [np.ones((2, 1)), np.float64(1)])
    def test_does_not_broadcast(self, other: Any) -> None:
        assert "expected shape (2,)" in str(difference(other, np.ones(2)))

    @given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e6, 1e6)))
    def test_accepts_what_is_equal_in_any_form(self, x: np.ndarray) -> None:
        assert difference(x.tolist(), x) is None
        assert difference(torch.tensor(x, requires_grad=True), x) is None
        assert difference(x, torch.tensor(x)) is None

    @given(
        hnp.arrays(np.float64, hnp.array_shapes(min_side=1, max_dims=3, max_side=4), elements=st.floats(-1e3, 1e3)),
        st.data(),
    )
    def test_finds_a_single_changed_value(self, x: np.ndarray, data: st.DataObject) -> None:
        index = tuple(data.draw(st.integers(0, side - 1)) for side in x.shape)
        y = x.copy()
        y[index] += 1e-3 * max(1.0, abs(y[index]))
        found = difference(y, x)
        assert found is not None
        assert str(list(map(int, index))) in found

    def test_takes_nan_for_nan_only(self) -> None:
        assert difference(np.array([np.nan, 1]), np.array([np.nan, 1])) is None
        assert difference(np.array([np.nan, 1]), np.array([0.0, 1])) is not None

    def test_follows_the_dtype(self) -> None:
        x = np.linspace(0, 1, 7)
        assert difference(x.astype(np.float32), x) is None
        assert difference(x + 1e-5, x) is not None

    def test_is_not_fooled_by_objects_that_call_themselves_equal(self) -> None:
        class Liar:
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]

        class LyingFloat(float):
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]

        with pytest.raises(CheckFailed, match="is a Liar; expected numbers"):
            difference(Liar(), 1.0)
        assert difference(LyingFloat(2), 1.0) is not None
        assert not same(Liar(), 1)


class TestOtherComparisons:
    @pytest.mark.parametrize(("got", "want"), [(3, 3), (np.int64(3), 3), (3.0, 3), ([1, 2], (1, 2)), (np.array([True]), [True]), ("a", "a"), (None, None)])
    def test_equal_accepts(self, got: Any, want: Any) -> None:
        assert same(got, want)

    @pytest.mark.parametrize(("got", "want"), [(3, 4), ("3", 3), (None, 0), ([1, 2], [1, 2, 3]), (0.1 + 0.2, 0.3), ("a", "b")])
    def test_equal_refuses(self, got: Any, want: Any) -> None:
        assert not same(got, want)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (lambda c: c.shape(np.ones((3, 2)), (2, 3), mistakes={"Transposed.": (3, 2)}), r"expected shape \(2, 3\), got \(3, 2\)\n +Transposed."),
            (lambda c: c.dtype(torch.ones(1), torch.float64), "expected dtype float64, got float32"),
            (lambda c: c.dtype(np.ones(1), np.float32), "expected dtype float32, got float64"),
            (lambda c: c.finite(np.array([1, np.nan])), r"expected finite numbers, got nan at \[1\] \(1 of 2\)"),
            (lambda c: c.law(False, "rows sum to 1"), "rows sum to 1"),
            (lambda c: c.law(np.array([True, False]), "all hold", mistakes={"Second one.": lambda: True}), "all hold\n +Second one."),
            (lambda c: c.at_most(2.0, 1.0, "loss"), "loss: expected at most 1, got 2"),
            (lambda c: c.at_least(0.5, 0.9, "accuracy"), "accuracy: expected at least 0.9, got 0.5"),
            (lambda c: c.at_least(float("nan"), 0.9, "accuracy"), "accuracy: expected at least 0.9, got nan"),
            (lambda c: c.raises(ValueError, lambda: 3), "expected ValueError, got 3"),
            (lambda c: c.raises(ValueError, lambda: 1 / 0), "ZeroDivisionError"),
        ],
    )
    def test_fail_with_their_reason(self, body: Callable[[checks.Exercise], Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        score, text = one(capsys, body)
        assert score == 0
        assert re.search(message, text), text

    @pytest.mark.parametrize(
        "body",
        [
            lambda c: c.shape(torch.ones(2, 3), (2, 3)),
            lambda c: c.dtype(torch.ones(1), torch.float32),
            lambda c: c.dtype(np.ones(1), "float64"),
            lambda c: c.finite(np.ones(2)),
            lambda c: c.law(True, "holds"),
            lambda c: c.at_most(1.0, 1.0, "loss"),
            lambda c: c.at_least(torch.tensor(0.9), 0.5, "accuracy"),
            lambda c: c.raises(ValueError, lambda: int("x")),
        ],
    )
    def test_pass_when_they_should(self, body: Callable[[checks.Exercise], Any], capsys: pytest.CaptureFixture[str]) -> None:
        assert one(capsys, body)[0] == 1

    def test_an_unwritten_answer_does_not_pass_for_one_that_raises(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert one(capsys, lambda c: c.raises(Exception, stub))[0] == 0


class TestSideEffects:
    @pytest.mark.parametrize(
        ("effect", "message"),
        [
            (lambda x: x.__setitem__(0, 5.0), "Argument 1 was changed in place"),
            (lambda x: np.random.rand(), "NumPy's global random generator was used"),
            (lambda x: torch.rand(1), "PyTorch's global random generator was used"),
            (lambda x: __import__("random").random(), "Python's global random generator was used"),
        ],
    )
    @pytest.mark.parametrize("make", [np.ones, torch.ones], ids=["numpy", "torch"])
    def test_are_noticed(self, make: Callable[..., Any], effect: Callable[[Any], Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        def body(check: checks.Exercise) -> None:
            x = make(3)
            with check.no_side_effects(x):
                effect(x)

        score, text = one(capsys, body)
        assert score == 0
        assert message in text

    def test_none_are_seen_where_there_are_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        def body(check: checks.Exercise) -> None:
            x = np.array([1.0, np.nan])
            with check.no_side_effects(x, torch.ones(2)):
                _ = np.random.default_rng(0).normal(size=3) + x[0]

        assert one(capsys, body)[0] == 1


class TestOffLimits:
    def test_functions_refuse_kindly_and_only_inside_the_block(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, text = one(capsys, lambda check: torch.ones(1, requires_grad=True).sum().backward(), off_limits=("torch.Tensor.backward", "numpy.linalg.lstsq"))
        assert "`torch.Tensor.backward` is off limits here" in text
        x = torch.ones(1, requires_grad=True)
        x.sum().backward()
        assert x.grad is not None

    def test_names_must_exist(self) -> None:
        check = checks.exercise("answer", points=1)
        with pytest.raises(ValueError, match=r"there is no 'torch.nn.functional.conv7d'"), check("typo", points=1, off_limits=("torch.nn.functional.conv7d",)):
            pass


class TestTrustedFunctions:
    def test_stand_in_for_earlier_answers_inside_the_block_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        namespace: dict[str, Any] = {"checks": checks}
        exec(
            "def softmax(x): return 'wrong'\n"
            "def attention(x): return softmax(x)\n"
            "check = checks.exercise('attention', points=1)\n"
            "check.use(softmax=lambda x: 'trusted', brand_new=1)\n"
            "with check('uses softmax', points=1):\n"
            "    result = attention(1)\n"
            "    check.equal(result, 'trusted')\n"
            "score = check.report()\n",
            namespace,
        )
        assert namespace["score"] == 1
        assert namespace["softmax"](1) == "wrong"
        assert namespace["result"] == "trusted"
        assert "brand_new" not in namespace


class TestRandomness:
    def test_follows_the_grading_seed_and_the_exercise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def draw(name: str) -> tuple[float, list[int], float]:
            check = checks.exercise(name, points=1)
            return check.rng.random(), check.seeds(2), torch.rand(1, generator=check.gen).item()

        first, again, other = draw("a"), draw("a"), draw("b")
        monkeypatch.setenv("DLCOURSE_SEED", "7")
        assert first == again
        assert first != other
        assert first != draw("a")


class TestUses:
    def reported(self, name: str, *, points: float, right: bool = True) -> None:
        """Report an exercise of ``points`` whose only check, worth 1, passes if ``right``."""
        check = checks.exercise(name, points=points)
        with check("the only one", points=1):
            check.law(right, "no")
        check.report()

    def test_unwritten_answers_are_named_and_the_notebook_goes_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        with checks.uses("fit", "predict", "score"):
            stub()
        said = "This cell uses your `fit`, `predict` and `score`.\nWrite what is missing, run its checks, then run this cell again.\n"
        assert capsys.readouterr().out == said

    def test_an_error_is_put_down_to_answers_that_do_not_pass(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.reported("wrong_one", points=1, right=False)
        with checks.uses("wrong_one"):
            raise IndexError("out of range")
        text = capsys.readouterr().out
        assert "IndexError: out of range" in text
        assert "`wrong_one`, whose checks do not all pass yet" in text

    def test_an_error_does_not_stop_a_student_whose_visible_checks_pass(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.reported("half_checked", points=3)
        with checks.uses("half_checked"):
            raise AssertionError("accuracy: measured 0.93, expected at least 0.95")
        assert "The visible checks of `half_checked` pass. More run when it is graded" in capsys.readouterr().out

    def test_an_error_is_passed_on_when_all_checks_pass(self) -> None:
        self.reported("passing", points=1)
        with pytest.raises(IndexError), checks.uses("passing"):
            raise IndexError("a fault of the cell")


class TestInsideIPython:
    """In a notebook the answer and its test are different cells, so the answer's own line can be quoted."""

    @pytest.fixture
    def shell(self) -> InteractiveShell:
        return InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))

    @pytest.fixture
    def run(self, shell: InteractiveShell) -> Callable[[str], str]:

        def run(code: str) -> str:
            with capture_output() as captured:
                shell.run_cell(code).raise_error()
            return str(captured.stdout)

        run("from dlcourse_utils import checks")
        return run

    def test_the_line_of_the_answer_is_quoted_and_the_test_is_not(self, run: Callable[[str], str]) -> None:
        run("def answer(x):\n    y = x + 1\n    return y['key']")
        text = run(
            "check = checks.exercise('answer', points=1)\nwith check('secret', points=1):\n    check.equal(answer(41), 'the expected text')\ncheck.report();"
        )
        assert "in `answer`, line 3 of its cell: return y['key']" in text
        assert "the expected text" not in text

    def test_the_score_is_a_number_for_nbgrader_and_shows_nothing_below_the_report(self, shell: InteractiveShell) -> None:
        check = checks.exercise("answer", points=3)
        with check("right", points=3):
            pass
        data, _ = shell.display_formatter.format(check.report())
        assert data == {"text/plain": "3.0", "text/html": ""}

    @pytest.mark.parametrize("use", ["a, b = answer(1)", "answer(1) + 1"])
    def test_a_result_that_is_none_is_said_to_be(self, run: Callable[[str], str], use: str) -> None:
        run("def answer(x):\n    x + 1")
        text = run(f"check = checks.exercise('answer', points=1)\nwith check('runs', points=1):\n    {use}\ncheck.report();")
        assert "A function that ends without `return` gives None." in text

    def test_a_name_error_in_the_answer_is_the_answers(self, run: Callable[[str], str]) -> None:
        run("def answer(x):\n    return nmupy.exp(x)")
        assert "`nmupy` is not defined" in run("check = checks.exercise('answer', points=1)\nwith check('runs', points=1):\n    answer(1)\ncheck.report();")


def test_as_array_copies() -> None:
    x = np.ones(2)
    as_array(x)[0] = 5
    assert x[0] == 1
    assert as_array(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
