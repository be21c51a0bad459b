"""One list of dependencies: pyproject.toml, environment.yml for conda and constraints.txt agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
#: conda-forge's name -> the name in the Python registry, where they differ.
CONDA_NAMES = {"pytorch": "torch"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def dependencies() -> dict[str, str]:
    wanted = project()["dependencies"] + project()["optional-dependencies"]["dev"]
    return {requirement.name: str(requirement.specifier) for requirement in map(Requirement, wanted)}


def conda_dependencies() -> dict[str, str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    from_conda = [entry for entry in listed if isinstance(entry, str) and entry != "pip"]
    (from_pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    found = [Requirement(entry) for entry in from_conda + [entry for entry in from_pip if not entry.startswith("-")]]
    return {CONDA_NAMES.get(requirement.name, requirement.name): str(requirement.specifier) for requirement in found}


def constraints(**environment: str) -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    kept = [r for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate(environment)]
    assert len({r.name for r in kept}) == len(kept), "two constraints for one package"
    return {r.name: str(r.specifier).removeprefix("==") for r in kept}


def test_conda_environment_holds_the_same_dependencies_as_the_project():
    conda = conda_dependencies()
    assert conda.pop("python") == project()["requires-python"]
    assert conda == dependencies()


def test_conda_environment_installs_the_course_itself():
    assert "--editable ." in (ROOT / "environment.yml").read_text()


def test_every_dependency_has_a_tested_version_within_its_bounds():
    tested = constraints(sys_platform="linux", platform_machine="x86_64")
    for name, bounds in dependencies().items():
        assert name in tested
        assert Requirement(f"{name}{bounds}").specifier.contains(tested[name])


def test_the_oldest_versions_are_the_lower_bounds():
    lines = [line for line in (ROOT / "constraints-oldest.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = {pin.name: str(pin.specifier).removeprefix("==") for pin in map(Requirement, lines)}
    assert pins.keys() == dependencies().keys()
    for name, bound in dependencies().items():
        oldest = bound.removeprefix(">=")
        assert pins[name] == oldest or pins[name].startswith(f"{oldest}."), name


@pytest.mark.parametrize("platform", [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")])
def test_torch_and_torchvision_are_a_pair_on_every_platform(platform):
    # torchvision 0.N+15 was compiled against torch 2.N, and their patch releases go together
    pins = constraints(sys_platform=platform[0], platform_machine=platform[1])
    torch, vision = (tuple(map(int, pins[name].split("."))) for name in ("torch", "torchvision"))
    assert (torch[0], torch[1] + 15, torch[2]) == (2, vision[1], vision[2])


@pytest.mark.parametrize("file", ["pyproject.toml", "environment.yml", "constraints.txt", "constraints-oldest.txt", "Makefile", ".ci/run"])
def test_no_file_of_the_installation_names_an_address(file):
    assert not re.search(r"https?://|index-url|find-links", (ROOT / file).read_text())
