"""The commands: what make says and does before an environment is there, tried with a Python that only notes how it is called."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

#: Stands in for python3: answers the version question, makes a "venv" of itself, and writes every other call into a file.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *version_info*) exit {too_old} ;;
  --version) echo "Python 3.99.0" ;;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *) echo "$0 $*" >> "{calls}"; exit ${{FAKE_STATUS:-0}} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile in it, beside a bin folder that is first in the PATH."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (tmp_path / "bin").mkdir()
    fake_python(tmp_path)
    return folder


def fake_python(folder: Path, too_old: int = 0) -> None:
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        path = folder / "bin" / name
        path.write_text(FAKE_PYTHON.format(too_old=too_old, calls=folder / "calls"))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def make(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(checkout.parent / "bin"), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(checkout.parent)} | variables
    return subprocess.run(["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True)


def calls(checkout: Path) -> list[str]:
    """What Python was asked to do since last asked, without the question for pip."""
    file = checkout.parent / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [line for line in lines if not line.endswith("pip --version")]


def test_help_is_what_make_says_and_names_every_command(checkout):
    said = make(checkout).stdout
    assert all(f"make {command} " in said for command in ("demo", "test", "proof", "oldest", "lab", "build", "check"))
    assert calls(checkout) == []


def test_first_command_makes_the_environment_and_the_next_one_uses_it(checkout):
    done = make(checkout, "test")
    assert done.returncode == 0, done.stderr
    install, test = calls(checkout)
    assert install.startswith(".venv/bin/python -m pip install")
    assert install.endswith("--editable .[dev] -c constraints.txt")
    assert test.startswith(".venv/bin/python -m pytest")
    make(checkout, "test")
    assert len(calls(checkout)) == 1


def test_environment_is_brought_up_to_date_when_the_constraints_change(checkout):
    make(checkout, "test")
    calls(checkout)
    os.utime(checkout / "constraints.txt", (2e9, 2e9))
    make(checkout, "test")
    assert "pip install" in calls(checkout)[0]


def test_installation_that_failed_is_tried_again_and_nothing_is_run_after_it(checkout):
    assert make(checkout, "test", FAKE_STATUS="1").returncode != 0
    assert not any("pytest" in call for call in calls(checkout))
    make(checkout, "test")
    assert "pip install" in calls(checkout)[0]


def test_active_virtual_environment_is_used(checkout):
    active = checkout.parent / "active"
    (active / "bin").mkdir(parents=True)
    shutil.copy(checkout.parent / "bin" / "python3", active / "bin" / "python")
    make(checkout, "test", VIRTUAL_ENV=str(active))
    assert calls(checkout)[0].startswith(f"{active}/bin/python -m pip install")
    assert not (checkout / ".venv").exists()


def test_active_conda_environment_is_used_and_keeps_its_versions(checkout):
    active = checkout.parent / "conda"
    (active / "bin").mkdir(parents=True)
    (active / "conda-meta").mkdir()
    shutil.copy(checkout.parent / "bin" / "python3", active / "bin" / "python")
    make(checkout, "test", CONDA_PREFIX=str(active), CONDA_DEFAULT_ENV="dlcourse")
    install = calls(checkout)[0]
    assert install.startswith(f"{active}/bin/python -m pip install")
    assert "-c constraints.txt" not in install


def test_base_environment_of_conda_is_left_alone(checkout):
    make(checkout, "test", CONDA_PREFIX="/nowhere", CONDA_DEFAULT_ENV="base")
    assert calls(checkout)[0].startswith(".venv/bin/python")


def test_environment_with_another_checkout_in_it_is_installed_anew(checkout):
    active = checkout.parent / "active"
    (active / "bin").mkdir(parents=True)
    shutil.copy(checkout.parent / "bin" / "python3", active / "bin" / "python")
    make(checkout, "test", VIRTUAL_ENV=str(active))
    calls(checkout)
    (active / ".dlcourse-installed").write_text("/another/checkout")
    make(checkout, "test", VIRTUAL_ENV=str(active))
    assert "pip install" in calls(checkout)[0]


def test_no_python_that_is_new_enough_is_said_plainly(checkout):
    fake_python(checkout.parent, too_old=1)
    done = make(checkout, "test")
    assert done.returncode != 0
    assert "No Python 3.11 or newer found" in done.stderr
    assert not (checkout / ".venv").exists()


def test_demo_builds_before_it_plays_and_lab_passes_the_role_on(checkout):
    make(checkout, "demo")
    assert [call.split("instructor.cli ")[1] for call in calls(checkout)[1:]] == ["build --no-solutions", "demo"]
    make(checkout, "lab", "ROLE=instructor")
    assert calls(checkout)[-1].endswith("lab --role instructor")


def test_proof_runs_the_tests_that_test_leaves_out_and_every_mutant(checkout):
    make(checkout, "proof")
    tests, cases = calls(checkout)[1:]
    assert tests.endswith("-m proof")
    assert cases.endswith("instructor.cli cases --thorough --fair --mutants --constants --report build/proof --json build/proof/verdicts.json")


def test_failing_command_makes_make_fail(checkout):
    make(checkout, "test")
    assert make(checkout, "test", FAKE_STATUS="5").returncode != 0


def test_ci_runs_exactly_make_test():
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "set -euo pipefail" in script
    assert script[-1] == "exec make test"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
