"""``dlcourse bench grading``: the same class graded by plain nbgrader and by the engine, by turns, in wall time and CPU time."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import nbformat
from tqdm import tqdm

from dlcourse_utils.instructor import cases, course
from dlcourse_utils.instructor.classroom import Classroom, environment, private_environment
from dlcourse_utils.instructor.course import CourseError, Lecture, grade_id, role
from dlcourse_utils.instructor.demo import set_up
from dlcourse_utils.instructor.engine.execute import no_sandbox
from dlcourse_utils.instructor.engine.rebuild import SKIP
from dlcourse_utils.instructor.preprocessors import prepare

#: What nbgrader needs to grade the course by its own means.
PLAIN = """\
c = get_config()
c.CourseDirectory.course_id = "dlcourse"
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "*.py"]
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("Write your answer here, then delete this line.")'}
c.ClearMarkScheme.enforce_metadata = False
c.Execute.timeout = 120
"""
#: Plain nbgrader grades half the class at a time; the engine the whole class, as its start is paid once a command. Twice each, by turns.
_HALVES = 2


@dataclass(frozen=True)
class Costs:
    """Seconds a submission, in the middle of the turns. ``floor_cpu_s`` are those of the student's cells and the tests alone."""

    lecture: str
    submissions: int
    plain_s: float
    engine_s: float
    ratio: float
    plain_cpu_s: float
    engine_cpu_s: float
    floor_cpu_s: float
    sandbox: bool
    machine: str


def compare(checkout: Path, lecture: Lecture, submissions: int, workers: int, *, sandbox: bool, judge: str) -> Costs:
    """Grade a class by turns: half of it by plain nbgrader, all of it by one command of the engine, the other half, all of it in a fresh course.

    Raises:
        CourseError: a grader failed, or the class cannot be halved.
    """
    if submissions < _HALVES:
        raise CourseError(f"{submissions} submissions are too few: plain nbgrader grades half of them at a time.")
    root = checkout / "build" / "bench"
    students = [f"h{number % _HALVES}-{number:03}" for number in range(submissions)]
    ours = ["-m", "dlcourse_utils.instructor.cli", "autograde", lecture.name, "--sandbox", "on" if sandbox else "off", "--judge", judge]
    took: dict[str, list[tuple[float, float]]] = {"plain": [], "engine": []}
    with tqdm(total=2 * _HALVES + 2, desc=f"grade {submissions} of {lecture.name}", unit="step") as bar, private_environment():
        plain, *fresh = (root / name for name in ("plain", *(f"engine-{half}" for half in range(_HALVES))))
        for room in (plain, *fresh):
            hand_in(checkout, room, lecture, students, by_nbgrader_alone=room == plain)
        bar.update()
        for half, room in enumerate(fresh):
            mine = [student for student in students if student.startswith(f"h{half}-")]
            turns = {
                "plain": (["-m", "nbgrader", "autograde", lecture.name, "--student", f"h{half}-*"], plain, len(mine)),
                "engine": ([*ours, "--workers", str(workers), "--course", str(room / "course")], room, submissions),
            }
            for name, (command, place, count) in turns.items():
                seconds, cpu = timed(command, place / "course", root)
                took[name].append((seconds / count, cpu / count))
                bar.update()
        floor = _floor(fresh[0], lecture, students)
        bar.update()
    (plain_s, plain_cpu), (engine_s, engine_cpu) = ([statistics.median(values) for values in zip(*took[name], strict=True)] for name in ("plain", "engine"))
    return Costs(
        lecture=lecture.name,
        submissions=submissions,
        plain_s=round(plain_s, 3),
        engine_s=round(engine_s, 3),
        ratio=round(plain_s / engine_s, 2),
        plain_cpu_s=round(plain_cpu, 3),
        engine_cpu_s=round(engine_cpu, 3),
        floor_cpu_s=round(floor, 3),
        sandbox=sandbox,
        machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    )


def hand_in(checkout: Path, room: Path, lecture: Lecture, students: Sequence[str], *, by_nbgrader_alone: bool = False) -> None:
    """Make a course in ``room`` in which these students have handed in; with the course's settings, or with nbgrader's own."""
    (made,) = set_up(checkout, room, [lecture])
    if by_nbgrader_alone:
        (room / "course" / "nbgrader_config.py").write_text(PLAIN, encoding="utf-8")
    Classroom(room, log=room / "log.txt").generate(made)
    for student, text in zip(students, answers(made), strict=False):
        place = room / "course" / "submitted" / student / lecture.name
        place.mkdir(parents=True)
        (place / f"{lecture.name}.ipynb").write_text(text, encoding="utf-8")


def answers(lecture: Lecture) -> Iterator[str]:
    """Notebooks as students hand them in, each a little different: all right, blank, and the cases one by one."""
    path = lecture.root / "course" / "release" / lecture.name / f"{lecture.name}.ipynb"
    solved = {str(grade_id(cell)): cell.source for cell in lecture.notebook.cells if role(cell) == "solution"}
    known = [{}, *({case.exercise: case.code} for case in cases.parse(lecture.cases, list(solved)))]
    for number, change in enumerate(cycle(known)):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if role(cell) == "solution" and not (number % len(known) == 1 and not change):
                cell.source = f"{(solved | change)[str(grade_id(cell))]}\n# student {number}"
        yield nbformat.writes(notebook)


def timed(arguments: Sequence[str], folder: Path, root: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command and all that it started."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (root / "log.txt").open("a") as log:
        done = subprocess.run([sys.executable, *arguments], cwd=folder, env=os.environ | environment(root / "home"), stdout=log, stderr=log, check=False)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise CourseError(f"{' '.join(arguments[:3])} ended with status {done.returncode}; {root / 'log.txt'} says why.")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _floor(room: Path, lecture: Lecture, students: Sequence[str]) -> float:
    """CPU seconds a submission of what must be run, in one interpreter that has its imports done."""
    (made,) = course.lectures(room, [lecture.name])
    released = Classroom(room, log=room / "log.txt").released(made)
    notebooks = []
    for student in students:
        notebook, _ = prepare(room / "course" / "submitted" / student / lecture.name, lecture.name, released)
        notebooks.append([cell.source for cell in notebook.cells if cell.cell_type == "code" and SKIP not in cell.metadata.get("tags", [])])
    code = "from dlcourse_utils.instructor.engine.bench import run_bare; run_bare()"
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(notebooks), capture_output=True, text=True, check=True, cwd=room)
    return float(done.stdout.splitlines()[-1]) / len(students)


def run_bare() -> None:
    """Run notebooks (a JSON list of lists of sources, on standard input) one after another; print the CPU seconds."""
    import importlib

    from dlcourse_utils.instructor.engine.shell import Shell
    from dlcourse_utils.instructor.warm import WARM_IMPORTS

    notebooks = json.load(sys.stdin)
    for name in WARM_IMPORTS:
        importlib.import_module(name)
    out, shell = sys.stdout, Shell.instance()
    started = time.process_time()
    for cells in notebooks:
        for source in cells:
            shell.run(source)
        shell.reset()  # type: ignore[no-untyped-call]
    print(time.process_time() - started, file=out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse bench``."""
    parser.add_argument(
        "what",
        choices=["grading", "judge", "scale"],
        help="grading: beside plain nbgrader; judge: with and without a judge of its own; scale: a class of 1,000 beside one of 50, of a tiny lecture",
    )
    parser.add_argument("--lecture", help="the lecture to grade (default: 01; for judge: each)")
    parser.add_argument("--submissions", type=int, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="how many the engine runs at a time (default: one a core)")
    parser.add_argument("--sandbox", choices=["on", "off"], default="on", help="whether the engine's kernels are walled (default: on)")
    parser.add_argument("--judge", choices=["in-process", "separate"], default="separate", help="where the engine runs tests (default: separate)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.sandbox == "on" and no_sandbox():
        raise CourseError(no_sandbox())
    checkout = course.find_root()
    found = {"grading": _grading, "judge": _judge, "scale": _scale}[args.what](checkout, args)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _grading(checkout: Path, args: argparse.Namespace) -> object:
    (lecture,) = course.lectures(checkout, [args.lecture or "01"])
    costs = compare(checkout, lecture, args.submissions, args.workers, sandbox=args.sandbox == "on", judge=args.judge)
    beyond = costs.engine_cpu_s - costs.floor_cpu_s
    print(f"{costs.submissions} submissions of {costs.lecture}, seconds each, on {costs.machine}")
    print(f"plain nbgrader   {costs.plain_s:6.2f} wall   {costs.plain_cpu_s:6.2f} CPU")
    print(f"engine           {costs.engine_s:6.2f} wall   {costs.engine_cpu_s:6.2f} CPU   {costs.ratio:.1f} times as fast")
    print(f"cells alone                     {costs.floor_cpu_s:6.2f} CPU   {beyond / costs.plain_cpu_s:.0%} of plain's CPU on top of them")
    return asdict(costs)


def _judge(checkout: Path, args: argparse.Namespace) -> object:
    from dlcourse_utils.instructor.engine import judging

    def say(cost: judging.Cost) -> None:
        bar.write(f"{cost.lecture:16} in-process {cost.in_process_cpu_s:6.2f}   separate {cost.separate_cpu_s:6.2f}   {cost.more:+.0%}")
        bar.update()

    lectures = course.lectures(checkout, [args.lecture] if args.lecture else [])
    with tqdm(total=len(lectures), desc=f"CPU seconds a submission, {args.submissions} a class", unit="lecture") as bar:
        return [asdict(cost) for cost in judging.measure(checkout, lectures, args.submissions, args.workers, sandbox=args.sandbox == "on", on_lecture=say)]


def _scale(checkout: Path, args: argparse.Namespace) -> object:
    from dlcourse_utils.instructor.engine import scale

    def say(cost: scale.Cost) -> None:
        bar.write(f"{cost.submissions:5} submissions: {cost.wall_s:.1f} s wall, {cost.cpu_s:.1f} s CPU, {cost.memory_mb:.0f} MB at most")
        bar.update(cost.submissions)

    with tqdm(total=sum(scale.SIZES), desc="grade classes of a tiny lecture", unit="submission") as bar:
        costs = scale.measure(checkout, checkout / "build" / "scale", args.workers, sandbox=args.sandbox == "on", on_class=say)
    small, large = scale.each(costs).values()
    print(
        f"one more submission costs {small:.3f} s CPU in a class of {scale.SIZES[1]}, {large:.3f} s in one of {scale.SIZES[2]}: {large / small:.2f} times that"
    )
    return [asdict(cost) for cost in costs]
