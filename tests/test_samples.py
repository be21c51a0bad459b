"""The table of generative models: where its rows come from, and that it is what the lectures' models reach."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from dlcourse_utils import metrics
from dlcourse_utils.instructor import samples
from dlcourse_utils.instructor.course import CourseError, find_root


def fake(frechet: float) -> metrics.Quality:
    return metrics.Quality(frechet, math.nan, 0.1, 1.0)


def test_the_table_has_a_row_for_every_model_between_the_best_and_noise():
    assert list(metrics.measured()) == [model.name for model in samples.MODELS]
    assert all(0 < row.frechet < metrics.ends()["noise"].frechet for row in metrics.measured().values())


def test_every_lecture_defines_the_function_its_row_is_measured_by():
    assert all(callable(function) for function in samples.functions(find_root()).values())


def test_a_lecture_without_its_function_is_named():
    with pytest.raises(CourseError, match=r"lecture 07: .*'no_quality'"):
        samples.functions(find_root(), [samples.Model("none", "07", "no_quality")])


def test_the_command_writes_means_over_seeds_as_strict_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(samples, "functions", lambda root: {samples.Model("a model", "07", "f"): lambda seed: fake(seed + 1.0)})
    parser = samples.argparse.ArgumentParser()
    samples.add_arguments(parser)
    assert samples.run(parser.parse_args(["--json", str(tmp_path / "table.json")])) == 0
    table = json.loads((tmp_path / "table.json").read_text(), parse_constant=pytest.fail)
    assert table["models"] == {"a model": {"frechet": 2.0, "accuracy": None, "coverage": 0.1, "nearest": 1.0}}
    assert "1.00, 2.00, 3.00" in capsys.readouterr().out


@pytest.mark.proof
@pytest.mark.parametrize("model", samples.MODELS, ids=lambda model: model.function)
def test_a_run_with_a_fresh_seed_is_like_the_table(model: samples.Model):
    (function,) = samples.functions(find_root(), [model]).values()
    assert function(101).frechet == pytest.approx(metrics.measured()[model.name].frechet, rel=0.6)
