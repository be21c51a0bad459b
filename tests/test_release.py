"""The zip that students get: it installs, it imports, and it gives nothing away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import minicourse
import pytest
import yaml

from dlcourse_utils.instructor import cli, release
from dlcourse_utils.instructor.assign import student_notebook
from dlcourse_utils.instructor.course import CourseError, Lecture
from dlcourse_utils.instructor.leaks import leaks, secrets_of
from dlcourse_utils.instructor.syllabus import syllabus


@pytest.fixture
def lecture(tmp_path: Path, checkout: Path) -> Lecture:
    """The small course, its student notebook built, within this checkout's real package and settings."""
    root = minicourse.write(tmp_path / "checkout")
    shutil.copytree(checkout / "dlcourse_utils", root / "dlcourse_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(checkout / "course" / "bundle", root / "course" / "bundle")
    for name in ("pyproject.toml", "environment.yml", "constraints.txt", "LICENSE", "LICENSE-text"):
        shutil.copy(checkout / name, root)
    lecture = Lecture(root, minicourse.NAME)
    lecture.student_notebook.write_bytes(student_notebook(lecture))
    (root / "course" / "syllabus.md").write_text(syllabus([lecture]), encoding="utf-8")
    return lecture


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {name.removeprefix("dlcourse/") for name in archive.namelist()}


def test_command_writes_one_zip_with_everything_a_student_needs(lecture: Lecture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(lecture.root)
    assert cli.main(["release"]) == 0
    [path] = (lecture.root / "dist").iterdir()
    assert path.name in capsys.readouterr().out
    inside = names(path)
    assert {"START.md", "pyproject.toml", "environment.yml", "constraints.txt", "nbgrader_config.py", "LICENSE", "notebooks/01-mini.ipynb"} <= inside
    assert {"dlcourse_utils/__init__.py", "dlcourse_utils/py.typed", "dlcourse_utils/checks/__init__.py"} <= inside
    assert not [name for name in inside if "instructor" in name or "cases" in name or "solutions" in name or name.endswith((".pyc", ".db"))]


def test_the_same_content_gives_the_same_bytes(lecture: Lecture, tmp_path: Path) -> None:
    first = release.release(lecture.root, tmp_path / "one").read_bytes()
    for path in lecture.root.rglob("*.py"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    assert release.release(lecture.root, tmp_path / "two").read_bytes() == first


def test_no_file_in_it_holds_a_solution_a_hidden_test_or_a_case(lecture: Lecture, tmp_path: Path) -> None:
    secrets = secrets_of(lecture)
    assert len(set(secrets.lines.values())) >= 5, "solutions, hidden tests, the mark scheme and the cases all count"
    with zipfile.ZipFile(release.release(lecture.root, tmp_path)) as archive:
        assert [(name, leak) for name in archive.namelist() for leak in leaks(name, archive.read(name), secrets)] == []


def test_it_installs_into_an_empty_environment_and_imports_there(lecture: Lecture, tmp_path: Path) -> None:
    with zipfile.ZipFile(release.release(lecture.root, tmp_path)) as archive:
        archive.extractall(tmp_path / "student")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    offline = ["--quiet", "--no-index", "--no-deps"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path / "student" / "dlcourse")]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as installed:
        assert not [name for name in installed.namelist() if "instructor" in name or "entry_points" in name], "no command that would need what is not there"
    subprocess.run([*pip, "--python", str(python), "install", *offline, str(wheel)], check=True, capture_output=True, timeout=120)

    program = (
        "import dlcourse_utils, importlib.util; from dlcourse_utils import checks, claims, doctor; "
        "print(dlcourse_utils.__file__, importlib.util.find_spec('dlcourse_utils.instructor'), sep='\\n')"
    )
    # The dependencies are lent from here; only .pth files, which this does not read, would lead back to the checkout.
    lent = os.environ | {"PYTHONPATH": sysconfig.get_paths()["purelib"]}
    done = subprocess.run([python, "-c", program], env=lent, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    where, instructor = done.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert instructor == "None"


def test_no_module_in_it_imports_the_instructors_part(lecture: Lecture) -> None:
    for name, content in release.contents(lecture.root).items():
        if name.endswith(".py"):
            assert b"dlcourse_utils.instructor" not in content, name


def test_student_project_keeps_what_is_needed_and_names_no_missing_file(checkout: Path) -> None:
    whole = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(release.student_project(whole))
    assert project["project"]["dependencies"] == tomllib.loads(whole)["project"]["dependencies"]
    assert project["project"]["readme"] == "START.md"
    assert set(project) == {"build-system", "project", "tool"}
    assert set(project["tool"]) == {"setuptools"}
    assert not {"scripts", "entry-points", "optional-dependencies"} & set(project["project"])


def test_student_environment_leaves_out_the_tools_of_development_only(checkout: Path) -> None:
    whole, project = (checkout / "environment.yml").read_text(), (checkout / "pyproject.toml").read_text()
    before = yaml.safe_load(whole)["dependencies"]
    after = yaml.safe_load(release.student_environment(whole, project))["dependencies"]
    dropped = [str(entry) for entry in before if entry not in after and isinstance(entry, str)]
    assert {name.split(">=")[0] for name in dropped} <= {"hypothesis", "mypy", "pytest", "pytest-xdist", "ruff", "playwright", "distributed", "psycopg"}
    assert "ruff" in str(before)
    assert "ruff" not in str(after)
    assert "--editable ." in str(after)


def test_a_stale_notebook_is_not_released(lecture: Lecture, tmp_path: Path) -> None:
    lecture.student_notebook.write_bytes(lecture.student_notebook.read_bytes() + b" ")
    with pytest.raises(CourseError, match=r"notebooks/01-mini\.ipynb: is not what .* builds\nRun `dlcourse build` first"):
        release.release(lecture.root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_answer_in_the_helper_package_stops_the_release(lecture: Lecture, tmp_path: Path) -> None:
    (lecture.root / "dlcourse_utils" / "cheat.py").write_text("def mean(x):\n    return x\n")
    with pytest.raises(CourseError, match=r"dlcourse_utils/cheat\.py: 'def mean\(x\):' has the name of an exercise's answer"):
        release.release(lecture.root, tmp_path / "out")


def test_a_missing_file_is_named(lecture: Lecture, tmp_path: Path) -> None:
    (lecture.root / "constraints.txt").unlink()
    with pytest.raises(CourseError, match=r"constraints\.txt: no such file, and students need it"):
        release.release(lecture.root, tmp_path / "out")
