"""Which cells can see an answer, read from names alone."""

from __future__ import annotations

import pytest

from dlcourse_utils.instructor.depends import affected, names

CELLS = [
    ("setup", "import numpy as np\nscale = 2"),
    ("first", "def first(x): return np.exp(x) * scale"),
    ("second", "def second(x):\n    def inner(): return first(x)\n    return inner()"),
    ("third", "def third(first): return first + 1"),
    ("class", "class Block:\n    def forward(self, x): return [second(v) for v in x]"),
    ("test-first", "print(first(1))"),
    ("test-class", "Block().forward([1])"),
    ("test-third", "third(first=2)"),
    ("lone", "y = np.zeros(3)"),
]


def test_a_change_is_seen_through_functions_classes_and_comprehensions() -> None:
    assert affected(CELLS, {"first": "def first(x): return 0"}) == {"first", "second", "class", "test-first", "test-class"}


def test_a_parameter_of_the_same_name_sees_nothing() -> None:
    assert "third" not in affected(CELLS, {"first": "def first(x): return 0"})
    assert "test-third" not in affected(CELLS, {"first": "def first(x): return 0"})


def test_a_helper_that_a_replacement_brings_along_counts() -> None:
    assert "lone" in affected(CELLS, {"third": "np = None\ndef third(first): return first"})


def test_cells_above_see_nothing() -> None:
    assert affected(CELLS, {"lone": "first = 1"}) == {"lone"}


@pytest.mark.parametrize("source", ["%matplotlib inline", "def f(:"])
def test_what_is_no_python_is_taken_to_reach_everywhere(source: str) -> None:
    assert affected([*CELLS, ("last", source)], {"first": "x = 1"}) == {name for name, _ in [*CELLS, ("last", source)]}
    assert affected(CELLS, {"first": source}) == {name for name, _ in CELLS}


@pytest.mark.parametrize(
    ("source", "binds", "reads"),
    [
        ("from a import b as c", {"c"}, set()),
        ("x = y", {"x"}, {"y"}),
        ("def f():\n    global g\n    g = h", {"f", "g"}, {"h"}),
        ("with open(p) as q: pass", {"q"}, {"open", "p"}),
        ("f = lambda a: a + b", {"f"}, {"b"}),
        ("x += 1", {"x"}, {"x"}),
        ("class A(B):\n    c = d", {"A"}, {"B", "d"}),
    ],
)
def test_names_bound_and_read(source: str, binds: set[str], reads: set[str]) -> None:
    found = names(source)
    assert found[0] == binds
    assert reads <= found[1]
