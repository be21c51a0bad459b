"""What a test hands to an answer stays the test's: an array that the answer overwrites is put back, and the check fails and says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dlcourse_utils import checks

TOLD = "Argument {} was changed in place."


def judged(answer: Any, *arguments: Any, **named: Any) -> str:
    """What the check of an answer to the exercise ``answer`` says; it only calls it."""
    test = """
check = checks.exercise("answer", points=1)
with check("called", points=1):
    (Answer() if "Answer" in globals() else answer)(*arguments, **named)
"""
    names = {"checks": checks, "arguments": arguments, "named": named, "Answer" if isinstance(answer, type) else "answer": answer}
    if isinstance(answer, str):
        exec(answer, names)
    exec(test, names)
    (outcome,) = names["check"]._outcomes  # type: ignore[attr-defined]
    return str(outcome.explanation)


def spoil(*values: Any, **_: Any) -> None:
    for value in values:
        for part in value if isinstance(value, list) else [value]:
            part += 1


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 3)).T,
        np.zeros(3, dtype=int),
        torch.zeros(2, 3).T,
        torch.zeros(2, dtype=torch.bfloat16),
        torch.zeros(3, dtype=torch.complex64),
        torch.tensor([float("nan"), 1.0]),
    ],
    ids=str,
)
def test_what_was_overwritten_is_put_back_and_told(value):
    before = value.copy() if isinstance(value, np.ndarray) else value.clone()
    assert judged(spoil, 1, value).startswith(TOLD.format(2))
    np.testing.assert_array_equal(np.asarray(value.tolist()), np.asarray(before.tolist()))


def test_parts_of_lists_count_and_named_arguments_too():
    values = [np.zeros(2), torch.zeros(2)]
    assert judged(spoil, values).startswith(TOLD.format(1))
    assert not values[0].any()
    assert not values[1].any()
    assert judged(lambda **named: spoil(named["x"]), y=1, x=np.zeros(2)).startswith(TOLD.format(2))


def test_an_expanded_tensor_is_put_back():
    value = torch.zeros(1, 2).expand(3, 2)
    assert judged(lambda x: x[0].add_(1), value).startswith(TOLD.format(1))
    assert not value.any()


def test_a_method_of_the_exercises_class_is_held_to_it_too():
    class Answer:
        def __call__(self, x):
            self.helper(np.zeros(1))
            x += 1

        def helper(self, x):
            """Untouched."""

    value = np.zeros(2)
    assert judged(Answer, value).startswith(TOLD.format(1))
    assert not value.any()


def test_what_is_put_back_by_the_answer_or_its_own_is_nobodys_business():
    def there_and_back(x):
        x += 1
        x -= 1

    calls_itself = """
def answer(x, own=False):
    if own:
        x -= 1
    else:
        answer(x.copy(), own=True)
"""
    assert judged(there_and_back, np.zeros(2)) == ""
    assert judged(calls_itself, np.zeros(2)) == ""


def test_what_learns_may_be_changed():
    def step(weight, module):
        with torch.no_grad():
            weight += 1
            module.weight.zero_()

    weight, module = torch.zeros(2, requires_grad=True), torch.nn.Linear(1, 1)
    assert judged(step, weight, module) == ""
    assert weight.sum() == 2
    assert module.weight == 0


def test_an_answer_that_raises_leaves_nothing_changed_either():
    def fail(x):
        x += 1
        raise ValueError("no")

    value = np.zeros(2)
    assert judged(fail, value).startswith("ValueError: no")
    assert not value.any()
