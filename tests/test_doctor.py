"""The doctor finds each way an installation can be broken, says the cure, and speaks even when PyTorch does not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dlcourse_utils import doctor
from dlcourse_utils.instructor import doctor as instructors_doctor
from dlcourse_utils.instructor.engine import probe


@pytest.fixture
def fake_module(tmp_path, monkeypatch):
    """Puts a module of the given text before the installed one of that name, in every new Python."""

    def put(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def wrong(findings) -> list[doctor.Finding]:
    return [finding for finding in findings if not finding.ok]


def test_old_python_is_wrong_and_new_python_is_ok():
    (old,) = doctor.check_python((3, 10, 14))
    assert not old.ok
    assert "3.11 or newer" in old.cure
    assert not wrong(doctor.check_python((3, 14, 0)))


def test_missing_and_outdated_dependencies_are_named():
    found = wrong(doctor.check_dependencies(["numpy>=1", "numpy>=999", "no-such-package-here>=1"]))
    assert [finding.what.split()[0] for finding in found] == ["numpy", "no-such-package-here"]
    assert "numpy>=999" in found[0].cure
    assert "pip install" in found[1].cure


def test_requirements_are_those_of_the_project_and_hold_no_development_tools():
    names = {text.split(">")[0] for text in doctor.requirements()}
    assert {"torch", "torchvision", "nbgrader"} <= names
    assert "pytest" not in names


def test_course_that_is_not_installed_is_wrong():
    (found,) = doctor.check_dependencies([])
    assert not found.ok
    assert "not installed" in found.what


def test_mismatched_torchvision_is_explained(fake_module):
    fake_module("torch", "__version__ = '2.0'")
    fake_module("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    (found,) = doctor.check_torch()
    assert not found.ok
    assert "operator torchvision::nms does not exist" in found.what
    assert "different versions of each other" in found.what
    assert "together" in found.cure


def test_torch_that_cannot_be_loaded_is_a_finding_not_a_crash(fake_module):
    fake_module("torch", "raise OSError('libtorch.so: cannot open shared object file')")
    (found,) = doctor.check_torch()
    assert not found.ok
    assert "libtorch.so" in found.what


def test_torch_that_kills_python_is_a_finding_not_a_crash(fake_module):
    fake_module("torch", "import os; os._exit(3)")
    (found,) = doctor.check_torch()
    assert not found.ok
    assert "status 3" in found.what


def test_kernel_that_does_not_start_is_wrong(fake_module):
    fake_module("jupyter_client", "raise ImportError('no jupyter_client')")
    (found,) = doctor.check_kernel()
    assert not found.ok
    assert "no jupyter_client" in found.what


def test_kernel_of_another_installation_is_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "_probe", lambda code: {"prefix": "/somewhere/else"})
    (found,) = doctor.check_kernel()
    assert not found.ok
    assert "/somewhere/else" in found.what


def test_extension_that_is_off_is_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "_probe", lambda code: {"lab": False, "enabled": ["nbgrader.server_extensions.formgrader"]})
    found = wrong(doctor.check_extensions())
    assert [finding.what for finding in found] == [
        "nbgrader's part of JupyterLab is missing",
        "the Validate button is off",
        "the assignment list is off",
    ]


def test_missing_alembic_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert len(wrong(doctor.check_alembic())) == 1


def test_full_disk_is_wrong(tmp_path):
    (found,) = wrong(doctor.check_disk(tmp_path, free=10**18))
    assert "Make room" in found.cure


def test_folder_that_refuses_a_file_is_wrong(tmp_path, monkeypatch):
    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    (found,) = wrong(doctor.check_disk(tmp_path, free=0))
    assert "Permission denied" in found.what


def test_each_wall_of_the_sandbox_is_told_and_one_that_does_not_hold_is_wrong(monkeypatch):
    monkeypatch.setattr(probe, "walls", lambda: {"no network": True, "no rights": False})
    held, fallen = instructors_doctor.check_walls()
    assert held.ok
    assert held.what == "sandbox: no network"
    assert not fallen.ok
    assert "submissions that you trust" in fallen.cure


def test_missing_sandbox_is_wrong_and_the_cure_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = instructors_doctor.check_walls()
    assert not found.ok
    assert "Install bubblewrap" in found.cure


def test_instructors_doctor_says_what_the_students_one_says_and_of_the_walls(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "findings", lambda folder: iter([doctor.Finding(True, "disk")]))
    monkeypatch.setattr(probe, "walls", lambda: {"no network": False})
    assert instructors_doctor.run(None) == 1
    said = capsys.readouterr().out
    assert "disk" in said
    assert "sandbox: no network" in said


def test_command_says_ok_for_this_environment_without_the_instructor_part(tmp_path):
    code = "import sys; sys.modules['dlcourse_utils.instructor'] = None; import runpy; runpy.run_module('dlcourse_utils.doctor', run_name='__main__')"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "belong together" in done.stdout
    assert "wrong" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_command_ends_with_1_and_counts_when_something_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "findings", lambda folder: iter([doctor.Finding(False, "no torch", "install it"), doctor.Finding(True, "disk")]))
    assert doctor.run(None) == 1
    said = capsys.readouterr().out
    assert "wrong  no torch\n       install it" in said
    assert "1 thing to mend" in said
