"""Right answers in another dress: what every reference solution and every right case may look like and must lose nothing for.

There are two dresses. *Noise* is what students leave lying about: prints, warnings, logging, text on stderr, the imports once more and in another order,
the whole cell run twice. *Style* is how they write: other names for local variables, annotations where there were none and none where there were
some, arguments of other exercises' functions passed by keyword, and a function that only calls a helper.

All of it is made by ``ast``, so that an answer computes what it computed before.
"""

from __future__ import annotations

import ast
import hashlib
import symtable
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from dlcourse_utils.instructor.cases import Case
from dlcourse_utils.instructor.course import Lecture, role

#: What a function says each time it is called.
_CHATTER = """
print("called")
__import__("sys").stderr.write("called\\n")
__import__("warnings").warn("called")
__import__("logging").getLogger().warning("called")
"""
#: Ends the names that are made here.
_OWN = "_own"

Function = ast.FunctionDef | ast.AsyncFunctionDef
_Signatures = Mapping[str, Sequence[str]]


def fair(lecture: Lecture, right: Sequence[Case]) -> list[Case]:
    """Each solution and each right case of a lecture in both dresses.

    Args:
        lecture: whose solutions are dressed.
        right: other answers that must lose nothing; those that are no right cases are left out.
    """
    cells = {str(cell.id): cell.source for cell in lecture.notebook.cells if cell.cell_type == "code"}
    setup = "\n".join(cell.source for cell in lecture.notebook.cells if cell.cell_type == "code" and role(cell) == "setup")
    imports = [ast.unparse(node) for node in ast.parse(setup).body if isinstance(node, ast.Import | ast.ImportFrom)]
    known = {name: parameters for exercise in lecture.exercises for name, parameters in _signatures(ast.parse(cells[exercise.id])).items()}
    answers = [Case(exercise.id, "the solution", "right", cells[exercise.id], str(lecture.source)) for exercise in lecture.exercises]
    answers += [case for case in right if case.kind == "right"]
    return [
        Case(case.exercise, f"{case.name}, {dress}", "fair", code, case.place)
        for case in answers
        for dress, code in (("with noise", noise(case.code, imports)), ("in another style", style(case.code, known)))
    ]


def sample(everything: Sequence[Case], size: int) -> list[Case]:
    """The same few every time, as long as their code stays: those whose hash comes first."""
    return sorted(everything, key=lambda case: hashlib.sha256(case.code.encode()).digest())[:size]


def noise(code: str, imports: Sequence[str] = ()) -> str:
    """An answer that talks, imports again what is there already, and stands there twice."""
    tree = ast.parse(code)
    for function in [node for node in ast.walk(tree) if isinstance(node, Function)]:
        start = 1 if ast.get_docstring(function, clean=False) is not None else 0
        function.body[start:start] = ast.parse(_CHATTER).body
    own = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    rest = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    once = "\n".join([*reversed(imports), *reversed(own), _CHATTER, ast.unparse(ast.Module(rest, []))])
    return f"{once}\n\n{once}\n"


def style(code: str, known: _Signatures | None = None) -> str:
    """An answer as another person would have typed it.

    Args:
        code: the cell.
        known: the parameters of functions that it may call, by name.
    """
    tree = ast.parse(code)
    for function, table in _outermost(tree, symtable.symtable(code, "cell", "exec")):
        _Rename(_own_names(function, table)).visit(function)
    bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    _Keywords({name: parameters for name, parameters in ({**(known or {}), **_signatures(tree)}).items() if name not in bound}).visit(tree)
    for function in [node for node in ast.walk(tree) if isinstance(node, Function)]:
        _annotate(function)
    body = chain.from_iterable(_with_helper(node) if isinstance(node, ast.FunctionDef) else [node] for node in tree.body)
    return ast.unparse(ast.fix_missing_locations(ast.Module(list(body), []))) + "\n"


def _signatures(tree: ast.Module) -> dict[str, list[str]]:
    """The parameters of the functions that a cell defines, where all of them may be passed by keyword."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {function.name: [argument.arg for argument in function.args.args] for function in functions if not function.args.posonlyargs}


def _outermost(tree: ast.Module | ast.ClassDef, table: symtable.SymbolTable) -> Iterator[tuple[Function, symtable.SymbolTable]]:
    """The functions and methods of a cell with their tables of names."""
    nodes = [node for node in tree.body if isinstance(node, Function | ast.ClassDef)]
    for node in nodes:
        lines = (node.lineno, *(decorator.lineno for decorator in node.decorator_list))
        inner = next(child for child in table.get_children() if child.get_name() == node.name and child.get_lineno() in lines)
        if isinstance(node, ast.ClassDef):
            yield from _outermost(node, inner)
        else:
            yield node, inner


def _own_names(function: Function, table: symtable.SymbolTable) -> set[str]:
    """The local variables that may be called anything: in no scope of the function is such a name a parameter, global, imported or an attribute's."""
    scopes = list(_scopes(table))
    written = {node.name for node in ast.walk(function) if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name}
    free: set[str] = set()
    fixed = set(written)
    for scope in scopes:
        for symbol in scope.get_symbols():
            local = symbol.is_local() or symbol.is_free()
            bound = symbol.is_parameter() or symbol.is_imported() or symbol.is_namespace() or symbol.is_declared_global()
            (free if local and not bound and scope.get_type() != "class" else fixed).add(symbol.get_name())
    return free - fixed


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


class _Rename(ast.NodeTransformer):
    """Gives names another ending."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(node.id + _OWN, node.ctx) if node.id in self.names else node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.Nonlocal:
        return ast.Nonlocal([name + _OWN if name in self.names else name for name in node.names])


class _Keywords(ast.NodeTransformer):
    """Passes the arguments of known functions by keyword."""

    def __init__(self, known: _Signatures) -> None:
        self.known = known

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        parameters = self.known.get(node.func.id, ()) if isinstance(node.func, ast.Name) else ()
        if len(parameters) >= len(node.args) and not any(isinstance(argument, ast.Starred) for argument in node.args):
            node.keywords[:0] = [ast.keyword(name, argument) for name, argument in zip(parameters, node.args, strict=False)]
            node.args = []
        return node


def _annotate(function: Function) -> None:
    """Take the annotations off a function, or put some on where it has none."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    bare = not any(argument.annotation for argument in arguments)
    for argument in arguments:
        argument.annotation = ast.Name("object", ast.Load()) if bare and argument.arg not in ("self", "cls") else None
    function.returns = None


def _with_helper(function: ast.FunctionDef) -> list[ast.stmt]:
    """A function that hands its arguments on to a helper which does the work."""
    arguments = function.args
    passed = ", ".join(
        [
            *(argument.arg for argument in (*arguments.posonlyargs, *arguments.args)),
            *([f"*{arguments.vararg.arg}"] if arguments.vararg else []),
            *(f"{argument.arg}={argument.arg}" for argument in arguments.kwonlyargs),
            *([f"**{arguments.kwarg.arg}"] if arguments.kwarg else []),
        ]
    )
    (caller,) = ast.parse(f"def {function.name}({ast.unparse(arguments)}):\n    return {function.name}{_OWN}({passed})").body
    function.name += _OWN
    return [function, caller]
