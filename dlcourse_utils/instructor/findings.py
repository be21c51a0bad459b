"""What the release rules share: a finding, a rule's type, and a cell's syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from dlcourse_utils.instructor.course import Lecture, Role, grade_id, role


@dataclass(frozen=True)
class Finding:
    """One offender: where it is, what is wrong, and the cure."""

    path: Path
    cell: str
    message: str

    def shown(self, root: Path) -> str:
        """The finding as one line, its path from ``root``."""
        path = self.path.relative_to(root).as_posix() if self.path.is_relative_to(root) else str(self.path)
        return f"{path}: {self.cell}: {self.message}" if self.cell else f"{path}: {self.message}"


#: A rule looks at one lecture and yields its offenders. Its docstring names the defect it keeps out, and since when.
Rule = Callable[[Lecture], Iterator[Finding]]


def name(cell: NotebookNode) -> str:
    """What to call a cell in a finding."""
    return grade_id(cell) or str(cell.id)


def at(lecture: Lecture, cell: NotebookNode, message: str) -> Finding:
    """A finding in a cell of the lecture's source."""
    return Finding(lecture.source, name(cell), message)


def code(lecture: Lecture, *roles: Role) -> Iterator[tuple[NotebookNode, ast.Module]]:
    """The lecture's code cells of these roles (all when none is given) with their syntax trees.

    A cell that does not parse is left out; ``cells_are_plain_python`` reports it.
    """
    for cell in lecture.notebook.cells:
        if cell.cell_type == "code" and (not roles or role(cell) in roles):
            try:
                yield cell, ast.parse(cell.source)
            except SyntaxError:
                continue


def dotted(node: ast.expr) -> str:
    """``a.b.c`` for an attribute chain on a name, ``""`` for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call under ``tree`` with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)


def defined(tree: ast.Module) -> set[str]:
    """The names that a cell gives a value at its top level, loops and ``with`` blocks included, imports not."""
    found: set[str] = set()
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            todo.extend(ast.iter_child_nodes(node))
    return found
