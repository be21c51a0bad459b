"""Release rules on the code in a lecture's cells, read from its syntax tree; nothing is run."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator

from nbformat import NotebookNode

from dlcourse_utils.instructor import regions
from dlcourse_utils.instructor.course import SHOWN_ONLY, Lecture, exercise_of, role
from dlcourse_utils.instructor.findings import Finding, Rule, at, calls, code, defined, dotted

_IGNORED_BY_NBVAL = "nbval-ignore-output"
_SHOWS_PROGRESS = ("training.progress", "training.fit", "widgets.explore", "tqdm")
_WRITES_STDERR = ("warnings.warn", "logging", "sys.stderr", "tqdm", "traceback.print_exc")
_DRAWS = {"plot", "scatter", "imshow", "bar", "barh", "hist", "contour", "contourf", "fill_between", "set_title", "set_xlabel", "set_ylabel", "legend"}


def cells_are_plain_python(lecture: Lecture) -> Iterator[Finding]:
    """A cell with a magic or a syntax error runs in no grader but IPython's, and no other rule can read it. Since 2026-11-25."""
    for cell in lecture.notebook.cells:
        if cell.cell_type == "code":
            try:
                ast.parse(cell.source)
            except SyntaxError as error:
                yield at(lecture, cell, f"not plain Python: {error.msg} in its line {error.lineno}. Mend it; use no magics.")


def solutions_only_define(lecture: Lecture) -> Iterator[Finding]:
    """What an answer's cell computes at its top level is lost when a case or another answer takes its place. Since 2026-11-25."""
    for cell, tree in code(lecture, "solution"):
        for node in tree.body:
            if not isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
                yield at(lecture, cell, f"'{ast.unparse(node).splitlines()[0]}' is neither an import, a def nor a class. Move it to a setup cell.")


def solutions_are_typed_and_documented(lecture: Lecture) -> Iterator[Finding]:
    """Signature and docstring are all that a student has of the contract. Since 2026-11-25."""
    for cell, _ in code(lecture, "solution"):
        try:
            body = ast.parse(regions.stubbed(cell.source)).body
        except SyntaxError as error:
            yield at(lecture, cell, f"without its solution it is not plain Python: {error.msg}. Leave the signatures outside the markers.")
            continue
        for node in body:
            if isinstance(node, ast.ClassDef):
                if not ast.get_docstring(node):
                    yield at(lecture, cell, f"class {node.name} has no docstring. Say what it holds and does.")
                functions = [sub for sub in node.body if isinstance(sub, ast.FunctionDef) and (sub.name == "__init__" or not sub.name.startswith("_"))]
            else:
                functions = [node] if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") else []
            for function in functions:
                yield from _typed_and_documented(lecture, cell, function)


def _typed_and_documented(lecture: Lecture, cell: NotebookNode, function: ast.FunctionDef) -> Iterator[Finding]:
    if function.name != "__init__" and not ast.get_docstring(function):
        yield at(lecture, cell, f"{function.name}() has no docstring. Say what it takes and returns, with shapes.")
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, *([given.vararg] if given.vararg else []), *([given.kwarg] if given.kwarg else [])]
    untyped = [argument.arg for argument in arguments if argument.annotation is None and argument.arg not in ("self", "cls")]
    if untyped or (function.returns is None and function.name != "__init__"):
        what = ", ".join(untyped) if untyped else "what it returns"
        yield at(lecture, cell, f"{function.name}() does not give the type of {what}. Annotate it.")


def tests_open_and_report(lecture: Lecture) -> Iterator[Finding]:
    """A test cell that opens another exercise, or ends in a bare number, is scored by whatever that number is. Since 2026-11-25."""
    for cell, tree in code(lecture, "test"):
        points = cell.metadata.nbgrader["points"]
        opened = [call for call, what in calls(tree) if what == "checks.exercise"]
        exercise = exercise_of(cell.metadata.nbgrader["grade_id"], _solution_ids(lecture))
        if len(opened) != 1 or _literal(opened[0].args[0] if opened[0].args else None) != exercise or _literal(_keyword(opened[0], "points")) != points:
            yield at(lecture, cell, f'it must open once with check = checks.exercise("{exercise}", points={points:g}).')
        if not tree.body or ast.unparse(tree.body[-1]) != "check.report()":
            yield at(lecture, cell, "its last line is not check.report(). Make it so; nbgrader reads the last value as the score.")


def checks_add_up(lecture: Lecture) -> Iterator[Finding]:
    """Checks whose points do not sum to the cell's make every partial credit wrong. Since 2026-11-25."""
    for cell, tree in code(lecture, "test"):
        worth = list(_worth(tree, tree))
        if None in worth:
            yield at(lecture, cell, "the points of a check cannot be read. Write them as a number, and loop over a literal tuple where checks repeat.")
            continue
        total = sum(points for points in worth if points is not None)
        if abs(total - cell.metadata.nbgrader["points"]) > 1e-9:
            yield at(lecture, cell, f"its checks give {total:g} points and the cell {cell.metadata.nbgrader['points']:g}. Make them equal.")


def _worth(node: ast.AST, tree: ast.Module, rounds: int | None = 1) -> Iterator[float | None]:
    """The points of each check below ``node``, times how often it is made; None where that cannot be read."""
    if isinstance(node, ast.For):
        each = _rounds(node.iter, tree)
        rounds = None if rounds is None or each is None else rounds * each
    elif isinstance(node, ast.While | ast.FunctionDef | ast.Lambda):
        rounds = None
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.withitem) and _is_check(child) and isinstance(child.context_expr, ast.Call):
            points = _literal(_keyword(child.context_expr, "points"))
            yield points * rounds if isinstance(points, int | float) and rounds is not None else None
        yield from _worth(child, tree, rounds)


def _rounds(iterable: ast.expr, tree: ast.Module) -> int | None:
    """How often a loop over a literal goes round; also over its name, ``enumerate``, ``zip``, ``.items()`` or a ``range``."""
    match iterable:
        case ast.Tuple() | ast.List() | ast.Set():
            return None if any(isinstance(part, ast.Starred) for part in iterable.elts) else len(iterable.elts)
        case ast.Dict():
            return len(iterable.keys)
        case ast.Name():
            values = [node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == iterable.id]
            return _rounds(values[-1], tree) if values and isinstance(values[-1], ast.Tuple | ast.List | ast.Set | ast.Dict) else None
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(stop))]):
            return stop
        case ast.Call(func=ast.Name(id="enumerate" | "sorted" | "reversed"), args=[first, *_]):
            return _rounds(first, tree)
        case ast.Call(func=ast.Name(id="zip"), args=[*parts]):
            return next((count for part in parts if (count := _rounds(part, tree)) is not None), None)
        case ast.Call(func=ast.Attribute(value=table, attr="items" | "values" | "keys")):
            return _rounds(table, tree)
    return None


def tests_swallow_nothing(lecture: Lecture) -> Iterator[Finding]:
    """A test that catches what goes wrong passes for everybody. Since 2026-11-25."""
    for cell, tree in code(lecture, "test"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Try | ast.TryStar):
                yield at(lecture, cell, "it has a try of its own. A check fails by itself; for an error that is wanted use check.raises.")
            elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "suppress":
                yield at(lecture, cell, "it suppresses errors. A check fails by itself; for an error that is wanted use check.raises.")
            elif isinstance(node, ast.withitem) and dotted(node.context_expr) == "check":
                yield at(lecture, cell, "'with check' lacks a name and points. Write with check(\"…\", points=2):")


def calls_stand_in_checks(lecture: Lecture) -> Iterator[Finding]:
    """A call outside a check ends the whole cell when the answer fails, and the student learns nothing from the rest. Since 2026-11-25."""
    answers = {name for _, tree in code(lecture, "solution") for name in defined(tree)}
    for cell, tree in code(lecture, "test"):
        helpers = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        reach = set(answers)  # a helper of the test that calls an answer counts as one itself
        while grown := {h.name for h in helpers if any(what in reach for _, what in calls(h))} - reach:
            reach |= grown
        yield from (at(lecture, cell, f"{what}() is called outside a check. Move it into a with check(…) block.") for what in _outside_checks(tree.body, reach))


def _outside_checks(nodes: list[ast.stmt], reach: set[str]) -> Iterator[str]:
    todo: list[ast.AST] = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda) or (isinstance(node, ast.With) and any(_is_check(item) for item in node.items)):
            continue
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[0] in reach:
            yield dotted(node.func)
        todo.extend(ast.iter_child_nodes(node))


def tests_keep_stderr_clean(lecture: Lecture) -> Iterator[Finding]:
    """A test cell scores 0 in nbgrader for anything on stderr, even when every check passed. Since 2026-11-25."""
    for cell, tree in code(lecture, "test"):
        for node in ast.walk(tree):
            what = dotted(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            if any(what == bad or what.startswith(f"{bad}.") for bad in _WRITES_STDERR) and isinstance(getattr(node, "ctx", None), ast.Load):
                yield at(lecture, cell, f"{what} writes to stderr. Silence warnings in setup, and show progress in experiments only.")
                break


def shown_only_names_stay(lecture: Lecture) -> Iterator[Finding]:
    """Figures, experiments and widgets are left out when an answer is graded; a name from them is missing then. Since 2026-11-25."""
    shown: dict[str, str] = {}
    always: set[str] = set()
    for cell, tree in code(lecture):
        if role(cell) in SHOWN_ONLY:
            shown |= dict.fromkeys(_bound(tree), cell.metadata.nbgrader["grade_id"])
        else:
            always |= _bound(tree)
            for used in sorted(_globals_used(cell.source) & shown.keys() - always):
                yield at(lecture, cell, f"it uses {used}, which only '{shown[used]}' defines. Move the definition to a setup cell.")


def _bound(tree: ast.Module) -> set[str]:
    imported = {(alias.asname or alias.name).split(".")[0] for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    return defined(tree) | imported


def _globals_used(source: str) -> set[str]:
    found: set[str] = set()
    todo = [symtable.symtable(source, "cell", "exec")]
    while todo:
        table = todo.pop()
        found |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (table.get_type() == "module" or s.is_global())}
        todo += table.get_children()
    return found


def figures_go_through_plotting(lecture: Lecture) -> Iterator[Finding]:
    """Only plotting.show gives a figure its alt text; a bare figure or axes says nothing to someone who cannot see. Since 2026-11-25."""
    for cell, tree in code(lecture):
        for call, what in calls(tree):
            is_figure = what.endswith("display") and call.args and "fig" in ast.unparse(call.args[0]).lower()
            if what.split(".")[-2:] == ["plt", "show"] or what == "pyplot.show" or is_figure or what.lower().endswith(("fig.show", "figure.show")):
                yield at(lecture, cell, f'{what}(…) shows a figure without alt text. Use plotting.show(figure, alt="…").')
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and dotted(last.value.func).split(".")[-1] in _DRAWS:
            yield at(lecture, cell, 'its last line draws and so prints an object. End with plotting.show(figure, alt="…").')


def changing_output_is_tagged(lecture: Lecture) -> Iterator[Finding]:
    """A cell that trains or shows a widget prints something else on every machine, and the regression run would fail. Since 2026-11-25."""
    slow: set[str] = set(_SHOWS_PROGRESS)
    for cell, tree in code(lecture):
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        while grown := {f.name for f in functions if any(what in slow for _, what in calls(f))} - slow:
            slow |= grown
        running = [what for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef) for _, what in calls(node) if what in slow]
        if running and role(cell) != "test" and _IGNORED_BY_NBVAL not in cell.metadata.get("tags", []):
            yield at(lecture, cell, f'{running[0]}() prints something new on every run. Give the cell tags=["{_IGNORED_BY_NBVAL}"].')


def _solution_ids(lecture: Lecture) -> list[str]:
    return [str(cell.metadata.nbgrader["grade_id"]) for cell in lecture.notebook.cells if role(cell) == "solution"]


def _is_check(item: ast.withitem) -> bool:
    return isinstance(item.context_expr, ast.Call) and dotted(item.context_expr.func) == "check"


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _literal(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


RULES: tuple[Rule, ...] = (
    cells_are_plain_python,
    solutions_only_define,
    solutions_are_typed_and_documented,
    tests_open_and_report,
    checks_add_up,
    tests_swallow_nothing,
    calls_stand_in_checks,
    tests_keep_stderr_clean,
    shown_only_names_stay,
    figures_go_through_plotting,
    changing_output_is_tagged,
)
