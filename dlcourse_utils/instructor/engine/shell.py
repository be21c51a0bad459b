"""A notebook's interpreter without a kernel, for processes that run many notebooks' cells."""

from __future__ import annotations

import ast
import io
import os
import sys
import tempfile
import warnings
import zlib
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

#: Characters of printed text kept of one cell; the rest of a runaway print is dropped.
MOST_TEXT = 200_000

Json = dict[str, Any]


class Recorder:
    """What the running cell has put out so far, as notebook outputs."""

    def __init__(self) -> None:
        self.outputs: list[Json] = []
        self._room = MOST_TEXT

    def stream(self, name: str, text: str) -> None:
        """Add printed text, joined to the text before it as a notebook does."""
        text = text[: self._room]
        self._room -= len(text)
        last = self.outputs[-1] if self.outputs else {}
        if last.get("name") == name:
            last["text"] += text
        elif text:
            self.outputs.append({"output_type": "stream", "name": name, "text": text})

    def take(self) -> list[Json]:
        """Hand over the outputs and start the next cell's."""
        taken, self.outputs, self._room = self.outputs, [], MOST_TEXT
        return taken


class _Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a cell."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self.name = name
        self._recorder = recorder

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._recorder.stream(self.name, text)
        return len(text)


class _DisplayHook(DisplayHook):
    """The value of a cell's last expression becomes an ``execute_result``, as in a kernel."""

    shell: Shell

    def write_output_prompt(self) -> None:
        """A notebook has no ``Out[1]:`` in its text."""

    def write_format_data(self, format_dict: Json, md_dict: Json | None = None) -> None:
        self.shell.recorder.outputs.append({"output_type": "execute_result", "execution_count": None, "data": format_dict, "metadata": md_dict or {}})

    def quiet(self) -> bool:
        """Whether the cell ends in ``;``."""
        code = [line for line in self.shell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return ";" in code[-1] and bool(super().quiet())  # type: ignore[no-untyped-call]

    def finish_displayhook(self) -> None:
        """Nothing to end: the output is recorded whole."""


class _DisplayPublisher(DisplayPublisher):
    """``display(…)`` becomes ``display_data``."""

    shell: Shell

    def publish(self, data: Json, metadata: Json | None = None, source: object = None, *, update: bool = False, **_: object) -> None:
        if not update:
            self.shell.recorder.outputs.append({"output_type": "display_data", "data": data, "metadata": metadata or {}})

    def clear_output(self, wait: bool = False) -> None:
        self.shell.recorder.take()


class _Compiler(CachingCompiler):
    """Names a cell's code like a file, as a kernel does."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        return os.path.join(tempfile.gettempdir(), f"ipykernel_{os.getpid()}", f"{zlib.crc32(raw_code.encode())}.py")


def _is_python(cell: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(cell, "", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except (SyntaxError, ValueError):
            return False
    return True


class Shell(InteractiveShell):
    """IPython as a kernel runs it, with outputs kept in ``recorder`` instead of sent to a browser.

    Cells are tokenized only where they have to be: many a test takes less time to run than IPython to find that there is nothing to translate in it.
    """

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.source = ""
        self.compiler_class = _Compiler
        config = Config()
        config.HistoryManager.enabled = False  # else it starts a thread and writes a file
        super().__init__(config=config, displayhook_class=_DisplayHook, display_pub_class=_DisplayPublisher)  # type: ignore[no-untyped-call]
        sys.stdout, sys.stderr = _Stream(self.recorder, "stdout"), _Stream(self.recorder, "stderr")

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        self.recorder.outputs.append({"output_type": "error", "ename": etype.__name__, "evalue": str(evalue), "traceback": stb})

    def transform_cell(self, raw_cell: str) -> str:
        if "\n" in raw_cell.strip() and not self.input_transformers_post and _is_python(raw_cell):
            return raw_cell.rstrip("\n") + "\n"
        return str(super().transform_cell(raw_cell))  # type: ignore[no-untyped-call]

    def should_run_async(self, raw_cell: str, **options: Any) -> bool:
        return "await" in raw_cell and super().should_run_async(raw_cell, **options)

    def run(self, source: str) -> list[Json]:
        """Run one cell and return its outputs."""
        self.source = source
        self.run_cell(source, store_history=True)  # type: ignore[no-untyped-call]
        return self.recorder.take()
