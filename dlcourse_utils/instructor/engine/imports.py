"""What a lecture's released cells import: the warm server imports it once, so that no kernel has to."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from nbformat import NotebookNode

from dlcourse_utils.instructor.course import role


def imported(cells: Iterable[NotebookNode]) -> list[str]:
    """The modules that set-up and test cells import, in their order; a name that is imported from a module may be one itself, and is among them.

    Answers do not count: they are the student's, and what they name is not imported outside the sandbox.
    """
    sources = [cell.source for cell in cells if cell.cell_type == "code" and role(cell) in ("setup", "test")]
    return list(dict.fromkeys(name for source in sources for name in _modules(source)))


def _modules(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell magic
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")
