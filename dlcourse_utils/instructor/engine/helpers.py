"""Which of a student's own cells their answers need: the ones that define what an answer reads. The rest is play and is not run."""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator, Sequence

from IPython.core.inputtransformer2 import TransformerManager

from dlcourse_utils.instructor.depends import names

_notebook_python = TransformerManager()  # type: ignore[no-untyped-call]  # knows magics and shell lines


def needed(answers: Sequence[str], own: Sequence[str], exercises: Collection[str]) -> set[int]:
    """The numbers of the ``own`` cells that the answers cannot do without.

    Args:
        answers: the source of each answer's cell.
        own: the source of each code cell that the student added.
        exercises: the names that the exercises ask for; a cell that defines one of them is an answer itself.
    """
    if not own:
        return set()
    wanted = set(exercises).union(*(_names(answer)[1] for answer in answers))
    cells = [_names(source) for source in own]
    chosen: set[int] = set()
    while True:
        more = {i for i, (binds, _) in enumerate(cells) if i not in chosen and binds & wanted}
        if not more:
            return chosen
        chosen |= more
        wanted |= set().union(*(cells[i][1] for i in more))


def defines(source: str, name: str) -> bool:
    """Whether a cell binds ``name`` for the cells below it."""
    return name in _names(source)[0]


@functools.lru_cache(maxsize=1_024)  # a submission is rebuilt twice: to be run, and to be graded
def _names(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """What a cell binds or changes, and what it reads; nothing where it is not Python, since it would not run either."""
    try:
        python = _notebook_python.transform_cell(source)
        binds, reads = names(python)
        return frozenset(binds).union(_changed(ast.parse(python))), frozenset(reads)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset(), frozenset()


def _changed(tree: ast.AST) -> Iterator[str]:
    """Names whose items or attributes are assigned: ``cache[1] = 2`` changes ``cache``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            owner: ast.expr = node
            while isinstance(owner, ast.Subscript | ast.Attribute):
                owner = owner.value
            if isinstance(owner, ast.Name):
                yield owner.id
