"""``dlcourse samples``: measure the generative models of lectures 07 to 09 at equal data, and write the table that lecture 09 shows.

Each model is trained by its own lecture's function, from the solved exercises, on the same training images, and judged by as many samples
as there are test images (``metrics.quality``). The table holds means over seeds, and what they were measured with.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from dlcourse_utils import metrics
from dlcourse_utils.instructor import course, runner
from dlcourse_utils.instructor.course import CourseError, Lecture, role


class Model(NamedTuple):
    """A row of the table: its name, and the lecture's function that trains it by a seed and measures its samples."""

    name: str
    lecture: str
    function: str


MODELS = (
    Model("VAE (07)", "07", "vae_quality"),
    Model("VQ-VAE with an autoregressive prior (07)", "07", "vqvae_quality"),
    Model("GAN (08)", "08", "gan_quality"),
    Model("conditional GAN (08)", "08", "cgan_quality"),
    Model("guided diffusion (09)", "09", "ddpm_quality"),
)
SEEDS = (0, 1, 2)


def functions(root: Path, models: Sequence[Model] = MODELS) -> dict[Model, Callable[[int], metrics.Quality]]:
    """Each model's function, from its lecture's solved cells.

    Raises:
        CourseError: a lecture does not define its function.
    """
    found = {}
    names: dict[str, dict[str, Any]] = {}
    for model in models:
        if model.lecture not in names:
            (lecture,) = course.lectures(root, [model.lecture])
            names[model.lecture] = runner.namespace(lecture, _defining(lecture))
        if model.function not in names[model.lecture]:
            raise CourseError(f"lecture {model.lecture}: no cell that only defines defines '{model.function}'. 'dlcourse samples' measures by it.")
        found[model] = names[model.lecture][model.function]
    return found


def _defining(lecture: Lecture) -> list[str]:
    """The experiment cells that define and run nothing."""
    definitions = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    cells = [cell for cell in lecture.notebook.cells if cell.cell_type == "code" and role(cell) == "experiment"]
    return [str(cell.id) for cell in cells if all(isinstance(statement, definitions) for statement in ast.parse(cell.source).body)]


def measure(root: Path, seeds: Sequence[int] = SEEDS) -> dict[str, list[metrics.Quality]]:
    """The quality of every model for every seed."""
    trained = functions(root)
    runs = [(model, seed) for model in trained for seed in seeds]
    rows: dict[str, list[metrics.Quality]] = {model.name: [] for model in trained}
    for model, seed in tqdm(runs, desc="models", unit="model"):
        rows[model.name].append(trained[model](seed))
    return rows


def _rounded(found: metrics.Quality) -> dict[str, float | None]:
    """Three decimals, and null for what was not asked for: JSON has no NaN."""
    return {figure: None if math.isnan(value) else round(value, 3) for figure, value in found._asdict().items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dlcourse samples``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the table (default: in the package, from where lecture 09 shows it)")


def run(args: argparse.Namespace) -> int:
    """Measure every model, write the table and print it."""
    root = course.find_root()
    rows = measure(root)
    table = {
        "seeds": list(SEEDS),
        "samples": metrics.SAMPLES,
        "torch": torch.__version__,
        "models": {name: _rounded(metrics.average(found)) for name, found in rows.items()},
    }
    target = args.json or root / "dlcourse_utils" / "shipped" / metrics.TABLE
    target.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    for name, found in rows.items():
        print(f"{name}: Fréchet distance {', '.join(f'{quality.frechet:.2f}' for quality in found)}; {metrics.average(found)}")
    print(f"Written to {target}")
    return 0
