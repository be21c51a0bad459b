"""``dlcourse demo``: a class works through the real nbgrader loop, and every score is compared with the deserved one.

The students' answers come from the lecture's ``cases.py``. What an answer deserves is found without the grading: from the points that the
source declares, and, for a named mistake, from the engine that proves the graders.
"""

from __future__ import annotations

import argparse
import ast
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from dlcourse_utils.instructor import assign, cases, course
from dlcourse_utils.instructor.classroom import Classroom, private_environment, table
from dlcourse_utils.instructor.course import CourseError, Exercise, Lecture, grade_id, role
from dlcourse_utils.instructor.grading import Grade, grade_all
from dlcourse_utils.instructor.runner import Job, Runner

#: Names for as many students as a lecture needs.
NAMES = (
    "amara", "bruno", "chiara", "dmitri", "elif", "farid", "greta", "hana", "idris", "jonas", "kavya", "lucia",
    "mateo", "ngozi", "oskar", "priya", "quentin", "rosa", "sanjay", "tomoko", "ulrike", "valentin", "wanjiru", "yusuf",
)  # fmt: skip

#: Students with one named mistake each: in the first lecture, and in the others. The whole demo stays below four minutes on two cores.
MISTAKES, FEW_MISTAKES = 6, 2


@dataclass(frozen=True)
class Plan:
    """What one student hands in.

    Attributes:
        what: it in a few words, for the table.
        answers: exercise -> the whole solution cell; an exercise that is not among them is left blank.
        deserved: exercise -> points.
        spoil: what happens to the file afterwards: its text -> the text that is handed in.
        without: grade_ids of cells that the student deleted.
    """

    what: str
    answers: Mapping[str, str]
    deserved: Mapping[str, float]
    spoil: Callable[[str], str] = field(default=lambda text: text)
    without: tuple[str, ...] = ()


def plans(lecture: Lecture, mistakes: int) -> list[Plan]:
    """What the students of one lecture hand in: every kind of submission, and up to ``mistakes`` named mistakes, one an exercise.

    Raises:
        CourseError: the cases cannot be read, or the lecture has no right or wrong case.
    """
    solved = {str(grade_id(cell)): cell.source for cell in lecture.notebook.cells if role(cell) == "solution"}
    full = {exercise.id: exercise.points for exercise in lecture.exercises}
    nothing = dict.fromkeys(full, 0.0)
    known = cases.parse(lecture.cases, list(full))
    wrong = list({case.exercise: case for case in reversed(known) if case.kind == "wrong"}.values())[::-1][:mistakes]
    right = {case.exercise: case for case in reversed(known) if case.kind == "right"}
    if not wrong or not right:
        raise CourseError(f"{lecture.cases}: the demo needs a wrong and a right case. Add them.")
    looping = _a_function(lecture, solved)

    used = [*wrong, *right.values()]
    with Runner(workers=2) as runner:
        outcomes = runner.run(lecture, [Job({case.exercise: case.code}) for case in used])
    mistaken = []
    for case, outcome in zip(used, outcomes, strict=True):
        verdict = cases.judge(lecture, case, outcome)
        if not verdict.ok:
            raise CourseError(f"{case.place}: the graders do not treat this case as it deserves. Run 'dlcourse cases {lecture.name}' and mend it.")
        if case.kind == "wrong":
            deserved = full | {case.exercise: full[case.exercise] - verdict.lost_here}
            mistaken.append(Plan(f"{case.exercise}: {case.name}", solved | {case.exercise: case.code}, deserved))
    return [
        Plan("all right", solved, full),
        Plan("blank", {}, nothing),
        *mistaken,
        Plan("right, written differently", solved | {name: case.code for name, case in right.items()}, full),
        Plan(f"{looping.id}: loops for ever", solved | {looping.id: _endless(solved[looping.id])}, full | {looping.id: 0.0}),
        Plan(f"deleted {looping.test_ids[0]}", solved, full, without=looping.test_ids[:1]),
        Plan("truncated file", solved, nothing, spoil=lambda text: text[: len(text) // 2]),
        Plan("empty file", solved, nothing, spoil=lambda text: ""),
        Plan("not a notebook", solved, nothing, spoil=lambda text: "Dear all, my answers are in the attachment.\n"),
    ]


def _a_function(lecture: Lecture, solved: Mapping[str, str]) -> Exercise:
    """The last exercise whose answer is one function."""
    for exercise in reversed(lecture.exercises):
        if isinstance(ast.parse(solved[exercise.id]).body[-1], ast.FunctionDef):
            return exercise
    raise CourseError(f"{lecture.source}: the demo needs an exercise that asks for a function.")


def _endless(solution: str) -> str:
    """The same signature around a loop that does not end."""
    module = ast.parse(solution)
    function = module.body[-1]
    assert isinstance(function, ast.FunctionDef)
    function.body = ast.parse("while True: pass").body
    return ast.unparse(module)


def _fill_in(path: Path, plan: Plan) -> None:
    """Write the planned answers into a fetched notebook."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) not in plan.without]
    for cell in notebook.cells:
        if role(cell) == "solution":
            cell.source = plan.answers.get(str(grade_id(cell)), cell.source)
    path.write_text(plan.spoil(nbformat.writes(notebook)), encoding="utf-8")


def set_up(checkout: Path, root: Path, lectures: list[Lecture]) -> list[Lecture]:
    """Make ``root`` anew as a checkout in small: the course's settings with a gradebook of its own, and these lectures. Returns the lectures in it."""
    shutil.rmtree(root, ignore_errors=True)
    for lecture in lectures:
        shutil.copytree(lecture.folder, root / "course" / "source" / lecture.name, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    settings = (checkout / "course" / "nbgrader_config.py").read_text(encoding="utf-8")
    gradebook = f"sqlite:///{(root / 'course' / 'gradebook.db').as_posix()}?timeout=60"
    own = f"\n# The real gradebook may be on a server; what is tried out here is not for it.\nc.CourseDirectory.db_url = {gradebook!r}\n"
    (root / "course" / "nbgrader_config.py").write_text(settings + own, encoding="utf-8")
    made = course.lectures(root)
    for lecture in made:
        lecture.source.with_suffix(".ipynb").write_bytes(assign.source_notebook(lecture))
    return made


def play(classroom: Classroom, lecture: Lecture, class_plans: Mapping[str, Plan], step: Callable[[str], object]) -> list[Grade]:
    """One lecture from release to feedback; ``step`` is told what is being done: once for the release, then three times a student."""
    step(f"{lecture.name}: release")
    classroom.generate(lecture)
    classroom.release(lecture)
    for student, plan in class_plans.items():
        step(f"{lecture.name}: submit")
        work = classroom.root / "students" / student
        _fill_in(classroom.fetch(lecture, student, work), plan)
        classroom.submit(lecture, student, work)
    classroom.collect(lecture)
    grades = grade_all(classroom, lecture, classroom.handed_in(lecture), on_grade=lambda grade: step(f"{lecture.name}: grade"))
    for student in classroom.handed_in(lecture):
        step(f"{lecture.name}: feedback")
        classroom.generate_feedback(lecture, student)
    classroom.release_feedback(lecture)
    return grades


def compare(lecture: Lecture, class_plans: Mapping[str, Plan], grades: list[Grade]) -> tuple[str, list[str]]:
    """The table student × exercise → points, and one sentence for each score that is not the deserved one.

    A cell reads ``3``, or ``3, deserves 4``.
    """
    given = {grade.student: grade for grade in grades}
    rows, wrong = [], []
    for student, plan in class_plans.items():
        grade = given.get(student)
        row = {"student": student, "handed in": plan.what}
        for exercise in lecture.exercises:
            got = grade.points[exercise.id] if grade else None
            deserved = plan.deserved[exercise.id]
            row[exercise.id] = "no grade" if got is None else f"{got:g}"
            if got is None or abs(got - deserved) > 0.005:
                row[exercise.id] += f", deserves {deserved:g}"
                wrong.append(f"{lecture.name}, {student} ({plan.what}), {exercise.id}: given {row[exercise.id]}")
        row["given"] = f"{grade.total:g}" if grade else "none"
        row["deserved"] = f"{sum(plan.deserved.values()):g}"
        rows.append(row)
    return table(["student", "handed in", *(exercise.id for exercise in lecture.exercises), "given", "deserved"], rows, left=2), wrong


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse demo``."""
    parser.add_argument("name", nargs="*", help="lectures, such as 01 (default: the first two, the first with the whole class)")


def run(args: argparse.Namespace) -> int:
    """Play the class and print the tables; 1 when a score is not the deserved one."""
    checkout = course.find_root()
    wanted = course.lectures(checkout, args.name)
    if not wanted:
        raise CourseError(f"{checkout / 'course' / 'source'}: no lectures yet. A lecture is course/source/NN-name/NN-name.py.")
    return demonstrate(checkout, wanted if args.name else wanted[:2])


def demonstrate(checkout: Path, lectures: list[Lecture]) -> int:
    """Play a class through these lectures in ``build/demo``: all of it through the first, a few students through the others."""
    root = checkout / "build" / "demo"
    with private_environment(), tqdm(desc="make up the answers", unit="step") as bar:

        def step(what: str) -> None:
            bar.set_description(what)
            bar.update()

        made = set_up(checkout, root, lectures)
        classroom = Classroom(root, log=root / "nbgrader.log", exchange=root / "exchange")
        homework = {}
        for number, lecture in enumerate(made):
            everything = plans(lecture, MISTAKES if number == 0 else FEW_MISTAKES)
            homework[lecture.name] = dict(zip(NAMES, everything if number == 0 else everything[: FEW_MISTAKES + 3], strict=False))
        bar.reset(total=sum(1 + 3 * len(plan) for plan in homework.values()))
        results = [(lecture, play(classroom, lecture, homework[lecture.name], step)) for lecture in made]

    wrong = []
    for lecture, grades in results:
        text, mismatches = compare(lecture, homework[lecture.name], grades)
        notes = "".join(f"\n{grade.student}: {grade.note}" for grade in grades if grade.note)
        print(f"\n{lecture.name}\n{text}\n{notes}")
        wrong += mismatches
    print(f"\nFeedback: {root / 'course' / 'feedback'}\nGradebook: {root / 'course' / 'gradebook.db'}\nnbgrader's log: {classroom.log}")
    count = sum(len(plan) for plan in homework.values())
    print(f"\n{len(wrong)} scores are not the deserved ones:\n" + "\n".join(wrong) if wrong else f"\nAll {count} submissions got the points they deserve.")
    return int(bool(wrong))
