"""Mutants: the reference solutions, each with one small change that a grader should notice.

A mutant is made by exchanging a piece of the solution's text whose place the ``ast`` module tells, so that everything else of the cell
stays as it was written. What a message says, what an annotation promises and what a string holds is left alone.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dlcourse_utils.instructor.course import Lecture
from dlcourse_utils.instructor.regions import SOLUTION

#: Names that are easily taken for each other.
CONFUSED = (
    ("mean", "sum"),
    ("max", "min"),
    ("amax", "amin"),
    ("argmax", "argmin"),
    ("maximum", "minimum"),
    ("any", "all"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("new_zeros", "new_ones"),
    ("exp", "log"),
    ("sin", "cos"),
    ("float64", "float32"),
    ("no_grad", "enable_grad"),
    ("train", "eval"),
    ("prod", "sum"),
)
_NAMES = {a: b for pair in CONFUSED for a, b in (pair, pair[::-1])} | {"sum": "mean"}
_BINARY = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "**": "*", "%": "*", "@": "*", "<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "&"}
_COMPARED = {
    "<": ("<=", ">"),
    "<=": ("<", ">"),
    ">": (">=", "<"),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "is not": ("is",),
    "is": ("is not",),
    "not in": ("in",),
    "in": ("not in",),
}
#: Functions that do not care about the order of their two arguments.
_SYMMETRIC = ("max", "min", "maximum", "minimum", "logaddexp", "gcd", "lcm", "isclose", "allclose", "array_equal", "equal", "mse_loss", "l1_loss")
_TRANSPOSED = ("T", "mT", "H", "mH")
#: What is not looked into: the text of messages.
_SILENT = (ast.Raise, ast.JoinedStr, ast.Assert)


@dataclass(frozen=True)
class Mutant:
    """One changed solution.

    Attributes:
        exercise: whose solution it is.
        line: where the change begins, in the lecture's source file.
        before: the changed lines as they were, on one line.
        after: the same lines changed; empty for a statement that was dropped.
        code: the whole solution cell.
    """

    exercise: str
    line: int
    before: str
    after: str
    code: str

    @property
    def change(self) -> str:
        return f"{self.before} → {self.after or '(dropped)'}"


@dataclass(frozen=True)
class _Edit:
    """``text`` in place of what stands from ``start`` to ``end``, counted in characters."""

    start: int
    end: int
    text: str


def mutants(lecture: Lecture) -> list[Mutant]:
    """Every mutant of a lecture's solutions, in the order of the source, each once."""
    whole = lecture.source.read_text(encoding="utf-8")
    cells = {cell.id: cell.source for cell in lecture.notebook.cells}
    found = []
    for exercise in lecture.exercises:
        source = cells[exercise.id]
        above = whole[: max(0, whole.find(source))].count("\n")  # not found: a cell with a magic is written differently in the file
        found += [Mutant(exercise.id, above + line, before, after, code) for line, before, after, code in mutate(source)]
    return found


def sample(everything: Sequence[Mutant], size: int) -> list[Mutant]:
    """The same few of each exercise every time, as long as its solution stays: those whose hash comes first."""
    chosen = []
    for exercise in dict.fromkeys(mutant.exercise for mutant in everything):
        own = [mutant for mutant in everything if mutant.exercise == exercise]
        chosen += sorted(own, key=lambda mutant: hashlib.sha256(mutant.change.encode()).digest())[:size]
    return chosen


def mutate(source: str) -> Iterator[tuple[int, str, str, str]]:
    """(line number, line before, line after, code) of each changed version of a solution cell, each once.

    Raises:
        SyntaxError: the cell is no Python.
    """
    text = _Text(source)
    tree = ast.parse(source)
    seen = {ast.dump(tree)}
    for edit in sorted(_Changes(text).of(tree), key=lambda edit: (edit.start, edit.end)):
        code = source[: edit.start] + edit.text + source[edit.end :]
        try:
            with warnings.catch_warnings(action="ignore"):
                shape = ast.dump(ast.parse(code))
        except SyntaxError:
            continue
        if shape in seen:
            continue
        seen.add(shape)
        before, after = text.lines(edit.start, edit.end), _Text(code).lines(edit.start, edit.start + len(edit.text))
        yield source[: edit.start].count("\n") + 1, before, "" if edit.text == "pass" else after, code


class _Text:
    """A cell's text, and where its nodes stand in it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        lines = source.split("\n")
        begin = next((number for number, line in enumerate(lines, 1) if f"BEGIN {SOLUTION}" in line), 0)
        end = next((number for number, line in enumerate(lines, 1) if f"END {SOLUTION}" in line), len(lines) + 1)
        self._solution = range(begin + 1, end)

    def inside(self, node: ast.AST) -> bool:
        """Whether the node stands in the part that students write."""
        return getattr(node, "lineno", -1) in self._solution

    def span(self, node: ast.AST) -> tuple[int, int]:
        lines = self.source.splitlines()
        at = []
        for line, column in ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)):  # type: ignore[attr-defined]
            at.append(self._starts[line - 1] + len(lines[line - 1].encode()[:column].decode()))
        return at[0], at[1]

    def of(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end]

    def lines(self, start: int, end: int) -> str:
        """The whole lines around a piece of the text, on one line."""
        first = self.source.rfind("\n", 0, start) + 1
        last = self.source.find("\n", end)
        return " ".join(self.source[first : last if last >= 0 else None].split())


class _Changes:
    """What can be changed at each node of a cell."""

    def __init__(self, text: _Text) -> None:
        self.text = text
        self._alone: set[ast.AST] = set()
        self._counting: set[ast.AST] = set()

    def of(self, tree: ast.Module) -> Iterator[_Edit]:
        self._alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        loops = [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.comprehension)]
        self._counting = {loop.iter for loop in loops if isinstance(loop.target, ast.Name) and loop.target.id == "_"}
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            yield from self._returns(function)
            yield from self._rebindings(function)
        yield from self._below(tree)

    def _below(self, node: ast.AST) -> Iterator[_Edit]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns") or (isinstance(node, ast.keyword) and node.arg == "strict"):
                continue  # promises to the reader
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    if self.text.inside(child):
                        yield from self._at(child)
                    if not isinstance(child, _SILENT):
                        yield from self._below(child)

    def _at(self, node: ast.AST) -> Iterator[_Edit]:
        for kind, changes in self._kinds().items():
            if isinstance(node, kind):
                yield from changes(node)

    def _kinds(self) -> dict[type[ast.AST], Callable[..., Iterator[_Edit]]]:
        return {
            ast.BinOp: self._binary,
            ast.AugAssign: self._augmented,
            ast.Compare: self._comparison,
            ast.BoolOp: self._logic,
            ast.UnaryOp: self._unary,
            ast.Constant: self._constant,
            ast.Call: self._call,
            ast.Attribute: self._attribute,
            ast.Name: self._name,
            ast.Slice: self._slice,
            ast.If: self._condition,
            ast.IfExp: self._condition,
            ast.While: self._condition,
            ast.Assign: self._assignment,
            **dict.fromkeys((ast.Raise, ast.Break, ast.Continue), self._drop),
            ast.Expr: self._statement,
        }

    def _instead(self, node: ast.AST, text: str) -> _Edit:
        return _Edit(*self.text.span(node), text)

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[_Edit]:
        """The operator that stands between two nodes, exchanged."""
        start, end = self.text.span(left)[1], self.text.span(right)[0]
        gap = self.text.source[start:end]
        if gap.count(old) == 1:
            yield _Edit(start + gap.index(old), start + gap.index(old) + len(old), new)

    def _binary(self, node: ast.BinOp) -> Iterator[_Edit]:
        old = _symbol(node.op)
        yield from self._between(node.left, node.right, old, _BINARY[old])
        if isinstance(node.op, ast.MatMult | ast.Sub | ast.Div | ast.Pow | ast.FloorDiv):
            yield self._instead(node, f"({self.text.of(node.right)}) {old} ({self.text.of(node.left)})")

    def _augmented(self, node: ast.AugAssign) -> Iterator[_Edit]:
        old = _symbol(node.op)
        yield from self._between(node.target, node.value, old + "=", _BINARY[old] + "=")
        yield from self._between(node.target, node.value, old + "=", "=")
        yield self._instead(node, "pass")

    def _comparison(self, node: ast.Compare) -> Iterator[_Edit]:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            for new in _COMPARED[_symbol(op)]:
                yield from self._between(left, right, _symbol(op), new)

    def _logic(self, node: ast.BoolOp) -> Iterator[_Edit]:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from self._between(left, right, old, new)

    def _unary(self, node: ast.UnaryOp) -> Iterator[_Edit]:
        yield self._instead(node, f"({self.text.of(node.operand)})" if isinstance(node.operand, ast.BinOp) else self.text.of(node.operand))

    def _constant(self, node: ast.Constant) -> Iterator[_Edit]:
        value = node.value
        if isinstance(value, bool):
            yield self._instead(node, str(not value))
        elif isinstance(value, int):
            yield self._instead(node, str(value + 1))
        elif isinstance(value, float):
            yield self._instead(node, repr(2 * value) if value else "1.0")

    def _call(self, node: ast.Call) -> Iterator[_Edit]:
        arguments = sorted([*node.args, *node.keywords], key=self.text.span)
        written = [self.text.of(argument) for argument in arguments]
        rewrite = partial(_Edit, self.text.span(arguments[0])[0], self.text.span(arguments[-1])[1]) if arguments else None
        called = node.func.attr if isinstance(node.func, ast.Attribute) else self.text.of(node.func)
        if rewrite and called not in _SYMMETRIC and len(node.args) >= 2 and not any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
            yield rewrite(", ".join([written[1], written[0], *written[2:]]))
        for number, argument in enumerate(arguments):
            if rewrite and isinstance(argument, ast.keyword) and argument.arg != "strict":
                yield rewrite(", ".join(written[:number] + written[number + 1 :]))
                if argument.arg in ("axis", "dim") and isinstance(argument.value, ast.Constant) and argument.value.value:
                    yield self._instead(argument.value, "0")
        if isinstance(node.func, ast.Attribute) and not arguments and node not in self._alone:
            yield self._instead(node, self.text.of(node.func.value))  # without .detach(), .clone(), .abs()
        if isinstance(node.func, ast.Name) and node.func.id == "range":
            yield from self._range(node)

    def _range(self, node: ast.Call) -> Iterator[_Edit]:
        stop = node.args[min(1, len(node.args) - 1)]
        yield self._instead(stop, f"{self.text.of(stop)} - 1")
        if node in self._counting:
            return  # one round less is one round less
        if len(node.args) == 1:
            yield self._instead(stop, f"1, {self.text.of(stop)}")
        else:
            yield self._instead(node.args[0], f"{self.text.of(node.args[0])} + 1")

    def _attribute(self, node: ast.Attribute) -> Iterator[_Edit]:
        end = self.text.span(node)[1]
        if node.attr in _NAMES:
            yield _Edit(end - len(node.attr), end, _NAMES[node.attr])
        if node.attr in _TRANSPOSED:
            yield self._instead(node, self.text.of(node.value))

    def _name(self, node: ast.Name) -> Iterator[_Edit]:
        if node.id in _NAMES and isinstance(node.ctx, ast.Load):
            yield self._instead(node, _NAMES[node.id])

    def _slice(self, node: ast.Slice) -> Iterator[_Edit]:
        start, end = self.text.span(node)
        lower, upper, step = (self.text.of(part) if part else "" for part in (node.lower, node.upper, node.step))
        tail = f":{step}" if step else ""
        if step:
            yield _Edit(start, end, f"{lower}:{upper}")
        if lower or upper:
            if not isinstance(node.lower, ast.Constant):  # else it is changed as a number
                yield _Edit(start, end, f"{lower} + 1:{upper}{tail}" if lower else f"1:{upper}{tail}")
            yield _Edit(start, end, f"{lower}:{upper} - 1{tail}" if upper else f"{lower}:-1{tail}")

    def _condition(self, node: ast.If | ast.IfExp | ast.While) -> Iterator[_Edit]:
        if not isinstance(node.test, ast.Compare | ast.Constant | ast.UnaryOp):
            yield self._instead(node.test, f"not ({self.text.of(node.test)})")

    def _assignment(self, node: ast.Assign) -> Iterator[_Edit]:
        target = node.targets[0]
        if isinstance(target, ast.Subscript | ast.Attribute):
            yield self._instead(node, "pass")
        elif isinstance(target, ast.Tuple) and len(target.elts) >= 2 and not any(isinstance(part, ast.Starred) for part in target.elts[:2]):
            swapped = [self.text.of(part) for part in (target.elts[1], target.elts[0], *target.elts[2:])]
            yield _Edit(self.text.span(target.elts[0])[0], self.text.span(target.elts[-1])[1], ", ".join(swapped))

    def _drop(self, node: ast.AST) -> Iterator[_Edit]:
        yield self._instead(node, "pass")

    def _statement(self, node: ast.Expr) -> Iterator[_Edit]:
        if not isinstance(node.value, ast.Constant):
            yield self._instead(node, "pass")

    def _returns(self, function: ast.FunctionDef) -> Iterator[_Edit]:
        """An argument returned unchanged, and two results in the wrong order."""
        given = [argument.arg for argument in function.args.args if argument.arg != "self"]
        for node in _own(function):
            if isinstance(node, ast.Return) and node.value and self.text.inside(node):
                if given:
                    yield self._instead(node.value, given[0])
                if isinstance(node.value, ast.Tuple) and len(node.value.elts) >= 2:
                    parts = [self.text.of(part) for part in node.value.elts]
                    yield self._instead(node.value, ", ".join([parts[1], parts[0], *parts[2:]]))

    def _rebindings(self, function: ast.FunctionDef) -> Iterator[_Edit]:
        """A name that had a value before keeps it."""
        bound = {argument.arg for argument in function.args.args}
        for node in _own(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id in bound and self.text.inside(node):
                    yield self._instead(node, "pass")
                bound.add(node.targets[0].id)


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function in the order of the source, without those of functions inside it."""
    waiting: list[ast.AST] = list(reversed(function.body))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def _symbol(op: ast.operator | ast.cmpop) -> str:
    """How an operator is written."""
    zero = ast.Constant(0)
    whole = ast.BinOp(zero, op, zero) if isinstance(op, ast.operator) else ast.Compare(zero, [op], [zero])
    return ast.unparse(whole)[1:-1].strip()
