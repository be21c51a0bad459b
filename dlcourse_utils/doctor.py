"""Says what is wrong with an installation and what to do: ``python -m dlcourse_utils.doctor``, or ``dlcourse doctor``.

Nothing heavy is imported here, and what may crash is tried in another process, so that the doctor speaks even when PyTorch cannot be loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

OLDEST_PYTHON = (3, 11)
FREE_BYTES = 10**9
REINSTALL = "In the course's folder run: python -m pip install -e . -c constraints.txt"
REINSTALL_TORCH = "Install both anew, together: python -m pip uninstall -y torch torchvision, then python -m pip install torch torchvision -c constraints.txt"
EXTENSIONS = {
    "validate_assignment": "the Validate button",
    "assignment_list": "the assignment list",
    "formgrader": "the formgrader",
}

_TORCH = """
import json, torch, torchvision
from torchvision.ops import nms
nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
if torch.cuda.is_available():
    device = "cuda, " + torch.cuda.get_device_name()
elif torch.backends.mps.is_available():
    device = "mps"
else:
    device = "cpu"
print(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__, "device": device}))
"""

_KERNEL = """
import json
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
said = []
try:
    hook = lambda message: said.append(message["content"].get("text", ""))
    client.execute_interactive("import sys; print(sys.prefix)", timeout=60, output_hook=hook)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print(json.dumps({"prefix": "".join(said).strip()}))
"""

_EXTENSIONS = """
import json
from pathlib import Path
from jupyter_core.paths import jupyter_config_path, jupyter_path
from jupyter_server.services.config.manager import ConfigManager
server = ConfigManager(read_config_path=jupyter_config_path()).get("jupyter_server_config")
enabled = server.get("ServerApp", {}).get("jpserver_extensions", {})
lab = any((Path(folder) / "@jupyter" / "nbgrader" / "package.json").is_file() for folder in jupyter_path("labextensions"))
print(json.dumps({"enabled": [name for name, on in enabled.items() if on], "lab": lab}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is in order, and what to do where it is not."""

    ok: bool
    what: str
    cure: str = ""

    def __str__(self) -> str:
        return f"ok     {self.what}" if self.ok else f"wrong  {self.what}\n       {self.cure}"


class ProbeError(Exception):
    """Code that was tried in another process failed; the message is the last line it said."""


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """Whether this Python is new enough."""
    text = ".".join(str(part) for part in version)
    oldest = ".".join(str(part) for part in OLDEST_PYTHON)
    yield Finding(version[:2] >= OLDEST_PYTHON, f"Python {text}", f"The course needs Python {oldest} or newer. Install one and use it for the environment.")


def requirements() -> list[str]:
    """What the course needs, in the form ``torch>=2.9``: from the installed package, else from the ``pyproject.toml`` beside it."""
    try:
        return [text for text in metadata.requires("dlcourse") or [] if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        project = Path(__file__).resolve().parents[1] / "pyproject.toml"
        return list(tomllib.loads(project.read_text())["project"]["dependencies"]) if project.is_file() else []


def check_dependencies(needed: Sequence[str] | None = None) -> Iterator[Finding]:
    """Whether each of ``needed`` (default: all that the course needs) is installed in a version that will do."""
    needed = requirements() if needed is None else needed
    if not needed:
        yield Finding(False, "the course itself is not installed", REINSTALL)
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding(False, "the course's dependencies are not installed", REINSTALL)
        return
    for requirement in map(Requirement, needed):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(False, f"{requirement.name} is not installed", REINSTALL)
        else:
            fits = requirement.specifier.contains(version, prereleases=True)
            yield Finding(fits, f"{requirement.name} {version}", f"The course needs {requirement}. {REINSTALL}")


def check_torch() -> Iterator[Finding]:
    """Whether torch and torchvision load and belong together, and which device torch finds."""
    try:
        found = _probe(_TORCH)
    except ProbeError as error:
        message = str(error)
        if "torchvision::nms" in message or "undefined symbol" in message:
            message = f"torch and torchvision were built for different versions of each other ({message})"
        yield Finding(False, message, REINSTALL_TORCH)
        return
    yield Finding(True, f"torch {found['torch']} and torchvision {found['torchvision']} belong together")
    yield Finding(True, f"device: {found['device']}")


def check_kernel() -> Iterator[Finding]:
    """Whether Jupyter starts a kernel, and in this environment's Python."""
    cure = "Install it into this environment: python -m pip install --force-reinstall --no-deps ipykernel"
    try:
        prefix = str(_probe(_KERNEL)["prefix"])
    except ProbeError as error:
        yield Finding(False, f"no Jupyter kernel starts ({error})", cure)
        return
    same = Path(prefix).resolve() == Path(sys.prefix).resolve()
    yield Finding(
        same,
        "a Jupyter kernel starts" if same else f"Jupyter's Python 3 kernel belongs to another installation ({prefix})",
        "Run: python -m ipykernel install --sys-prefix. If that does not help, remove what 'jupyter kernelspec list' shows as python3.",
    )


def check_extensions() -> Iterator[Finding]:
    """Whether JupyterLab will find nbgrader's extensions."""
    cure = "Run: python -m pip install --force-reinstall --no-deps nbgrader"
    try:
        found = _probe(_EXTENSIONS)
    except ProbeError as error:
        yield Finding(False, f"JupyterLab's extensions cannot be listed ({error})", REINSTALL)
        return
    yield Finding(bool(found["lab"]), "nbgrader's part of JupyterLab is installed" if found["lab"] else "nbgrader's part of JupyterLab is missing", cure)
    enabled = found["enabled"]
    for name, what in EXTENSIONS.items():
        on = isinstance(enabled, list) and f"nbgrader.server_extensions.{name}" in enabled
        yield Finding(on, f"{what} is {'on' if on else 'off'}", f"Run: jupyter server extension enable --sys-prefix nbgrader.server_extensions.{name}")


def check_alembic() -> Iterator[Finding]:
    """Whether nbgrader can make a gradebook: it runs the command ``alembic`` for that."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("alembic", path=path) is not None
    yield Finding(
        found, "alembic, which makes gradebooks" + ("" if found else ", is not found"), "Run: python -m pip install --force-reinstall --no-deps alembic"
    )


def check_disk(folder: Path, free: int = FREE_BYTES) -> Iterator[Finding]:
    """Whether ``folder`` can be written to and has ``free`` bytes left."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(False, f"{folder} cannot be written to ({error.strerror})", "Work in a folder of your own: copy the course there.")
    else:
        yield Finding(True, f"{folder} can be written to")
    left = shutil.disk_usage(folder).free
    yield Finding(left >= free, f"{left / 1e9:.1f} GB free", f"Make room: notebooks and grading need {free / 1e9:.0f} GB.")


def findings(folder: Path) -> Iterator[Finding]:
    """All checks, cheap ones first."""
    yield from check_python()
    yield from check_disk(folder)
    yield from check_dependencies()
    yield from check_torch()
    yield from check_kernel()
    yield from check_extensions()
    yield from check_alembic()


def _probe(code: str) -> dict[str, object]:
    """Run ``code`` in a new Python and read the JSON object that it prints last. It writes to no folder of the user's.

    Raises:
        ProbeError: it failed, or took longer than two minutes.
    """
    with tempfile.TemporaryDirectory(prefix="dlcourse-doctor-") as scratch:
        private = dict.fromkeys(("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"), scratch)
        try:
            done = subprocess.run([sys.executable, "-c", code], env=os.environ | private, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            raise ProbeError("no answer within two minutes") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ProbeError(lines[-1] if lines else f"Python ended with status {done.returncode}")
    answer: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse doctor``: none yet."""


def run(args: argparse.Namespace) -> int:
    """Look at everything; 1 when something is wrong."""
    return report(findings(Path.cwd()))


def report(found: Iterable[Finding]) -> int:
    """Print every finding as it is made; 1 when something is wrong."""
    wrong = 0
    for finding in found:
        print(finding, flush=True)
        wrong += not finding.ok
    print(f"\n{wrong} thing{'s' if wrong > 1 else ''} to mend." if wrong else "\nAll is well.")
    return int(wrong > 0)


if __name__ == "__main__":
    doctor = argparse.ArgumentParser(prog="python -m dlcourse_utils.doctor", description=__doc__)
    add_arguments(doctor)
    sys.exit(run(doctor.parse_args()))
