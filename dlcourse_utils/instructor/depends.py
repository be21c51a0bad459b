"""Which cells of a notebook can see what another cell defines, read from their names without running them."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Mapping, Sequence


def names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell binds for the cells below it, and those that it reads, in its functions too.

    Raises:
        SyntaxError: the cell is not Python.
    """
    top = symtable.symtable(source, "cell", "exec")
    binds = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    reads = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    reads |= {node.target.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)}
    for table in _inner(top):
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_assigned():
                binds.add(symbol.get_name())
            if symbol.is_global() and symbol.is_referenced():
                reads.add(symbol.get_name())
    return binds, reads


def defined(source: str) -> set[str]:
    """The functions, classes and values that a cell defines at its top level; what it imports is none of them.

    Raises:
        SyntaxError: the cell is not Python.
    """
    found: set[str] = set()
    for statement in ast.parse(source).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return found


def _inner(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner(child)


def affected(cells: Sequence[tuple[str, str]], replacements: Mapping[str, str]) -> set[str]:
    """The ids of the cells that can tell that others were replaced: they read a name that those bind, or one that such a cell binds in turn.

    Args:
        cells: (id, source) of every cell, in notebook order.
        replacements: id -> new source; these cells count as affected themselves.
    """
    changed: set[str] = set()
    seen: set[str] = set()
    for cell, source in cells:
        try:
            binds, reads = names(source)
            if cell in replacements:
                binds |= names(replacements[cell])[0]
        except SyntaxError:  # a cell magic, or a case that is no Python: take no risk
            return {cell for cell, _ in cells}
        if cell in replacements or reads & changed:
            seen.add(cell)
            changed |= binds
    return seen
