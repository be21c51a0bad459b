"""Lecture 09: its experiments hold on seeds that they were not tuned on, and what it teaches is true."""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path
from typing import Any

import elsewhere
import numpy as np
import published
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeds import fresh_seeds

from dlcourse_utils.instructor import course, runner

#: Errata of the inventory that this lecture has to treat.
ERRATA = {"E15"}


@pytest.fixture(scope="module")
def lecture() -> course.Lecture:
    return course.lectures(course.find_root(), ["09"])[0]


@pytest.fixture(scope="module")
def names(lecture: course.Lecture) -> dict[str, Any]:
    return runner.namespace(lecture, ["experiment-onestep", "experiment-digits", "experiment-memory"])


# --- laws that hold for every schedule ---


@given(T=st.integers(2, 1200), kind=st.sampled_from(["linear", "cosine"]))
@settings(max_examples=60, deadline=None)
def test_a_schedule_loses_something_in_every_step_and_ends_in_noise(names: dict[str, Any], T: int, kind: str) -> None:
    beta, alpha, abar = names["schedule"](T, kind)
    assert (beta > 0).all()
    assert (beta <= 0.999).all()
    assert torch.equal(alpha, 1 - beta)
    assert (abar.diff() < 0).all()
    assert 0 < abar[-1] < 0.01


@given(seed=st.integers(0, 2**31), T=st.integers(2, 60), kind=st.sampled_from(["linear", "cosine"]))
@settings(max_examples=40, deadline=None)
def test_one_jump_forth_and_one_step_back_is_the_jump_before(names: dict[str, Any], seed: int, T: int, kind: str) -> None:
    abar = names["schedule"](T, kind)[2]
    x0 = torch.randn(1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    t = torch.tensor([seed % (T - 1) + 1])
    here = names["q_sample"](x0, t, torch.zeros_like(x0), abar)
    (mean, variance), (slope, _) = names["posterior"](here, x0, t, abar), names["posterior"](torch.ones_like(x0), torch.zeros_like(x0), t, abar)
    torch.testing.assert_close(mean, abar[t - 1].sqrt()[:, None] * x0, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(variance + slope**2 * (1 - abar[t])[:, None], (1 - abar[t - 1])[:, None], rtol=1e-8, atol=1e-10)


@given(seed=st.integers(0, 2**31), steps=st.lists(st.integers(-1, 29), min_size=3, max_size=3, unique=True))
@settings(max_examples=40, deadline=None)
def test_with_the_noise_kept_a_stop_on_the_way_makes_no_difference(names: dict[str, Any], seed: int, steps: list[int]) -> None:
    end, between, start = sorted(steps)
    abar = names["schedule"](30)[2]
    x, eps = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    stop = names["ddim_step"](x, eps, start, between, abar)
    torch.testing.assert_close(names["ddim_step"](stop, eps, between, end, abar), names["ddim_step"](x, eps, start, end, abar), rtol=1e-8, atol=1e-8)


def test_the_best_predictor_is_a_score(names: dict[str, Any]) -> None:
    abar = names["schedule"](50)[2].float()
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
    t = torch.arange(20) * 2
    left = abar[t][:, None]
    spread = left * names["WIDTH"] ** 2 + 1 - left
    logs = -(x[:, None] - left.sqrt()[:, None] * names["RING"]).square().sum(-1) / (2 * spread)
    (want,) = torch.autograd.grad(torch.logsumexp(logs, 1).sum(), x)
    got = names["score"](names["ring_noise"](abar)(x.detach(), t), t, abar)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


def test_the_exact_minimiser_is_a_mean_over_the_data(names: dict[str, Any]) -> None:
    gen, abar = torch.Generator().manual_seed(2), names["schedule"](20)[2]
    known, x, t = torch.randn(7, 3, generator=gen, dtype=torch.float64), torch.randn(5, 3, generator=gen, dtype=torch.float64), torch.arange(0, 20, 4)
    left = abar[t][:, None]
    away = x[:, None] - left[..., None].sqrt() * known
    weight = (-away.square().sum(-1) / (2 * (1 - left))).softmax(1)
    torch.testing.assert_close(names["memory_noise"](known, abar)(x, t), (weight[..., None] * away).sum(1) / (1 - left).sqrt(), rtol=1e-8, atol=1e-8)


# --- the experiments' bands, as the notebook states them ---


@fresh_seeds
def test_one_step_collapses_where_ancestral_sampling_reaches_the_floor(names: dict[str, Any], seed: int) -> None:
    distance, points = names["onestep_experiment"](seed)
    assert distance["data"] <= 0.35
    assert distance["ancestral sampling"] <= 0.35
    assert distance["pure noise"] >= 0.45
    assert distance["one step, as in the lecture"] >= 1.2
    assert distance["one step, with scales"] >= 1.2
    assert points["one step, as in the lecture"].std() <= 0.02


@fresh_seeds
def test_digits_on_demand_and_what_it_takes(names: dict[str, Any], seed: int) -> None:
    found, _ = names["digits_experiment"](seed)
    guided, plain, loud = (found[f"ancestral, {name}"] for name in ("w = 1.5", "no guidance (w = 1)", "w = 4"))
    assert guided == names["ddpm_quality"](seed)
    assert guided.frechet <= 3
    assert guided.accuracy >= 0.96
    assert guided.coverage >= 0.08
    assert guided.nearest >= 0.8
    assert plain.frechet >= 1.5 * guided.frechet
    assert loud.frechet >= 3 * guided.frechet
    assert found["DDIM, 5 steps, w = 1"].frechet <= 5
    assert found["noise"].frechet >= 15
    assert found["one step, as in the lecture"].frechet >= 30

    losses, copies, _ = names["memory_experiment"](seed)
    means = {key: values.mean() for key, values in losses.items()}
    assert means["exact minimiser", "training images"] <= 0.5 * means["network", "training images"]
    assert means["exact minimiser", "test images"] >= 5 * means["network", "test images"]
    assert copies["exact minimiser"].nearest <= 0.1
    assert copies["exact minimiser"].frechet <= 3
    assert copies["network"].nearest >= 0.8


def test_the_sampler_takes_larger_images_by_their_name_on_any_device(names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = names["draw_digits"].__globals__
    monkeypatch.setitem(cells, "train_ddpm", functools.partial(cells["train_ddpm"], steps=3))
    mnist = published.offer_mnist(tmp_path, monkeypatch)
    with elsewhere.pretend(monkeypatch):
        for steps in (100, 2, 0):
            images = names["draw_digits"](0, steps, 1.5, name=mnist)
            assert images.shape == (len(names["WANTED"]), 28 * 28)
            assert images.isfinite().all()
        assert len(names["memory_experiment"](0)[0]) == 4
    cells["digits_model"].cache_clear()


# --- facts that the text states ---


def test_the_usual_end_points_do_not_end_in_noise_at_a_hundred_steps(names: dict[str, Any]) -> None:
    assert np.prod(1 - np.linspace(1e-4, 0.02, 100)) == pytest.approx(0.36, abs=0.01)
    assert np.allclose(names["schedule"](1000)[0], np.linspace(1e-4, 0.02, 1000))


def test_the_written_answer_quotes_the_right_numbers(names: dict[str, Any]) -> None:
    left = float(names["schedule"](100)[2][-1])
    assert left == pytest.approx(2.0e-5, abs=0.05e-5)
    assert math.sqrt(left) == pytest.approx(0.0045, abs=0.00005)
    assert 1 / math.sqrt(left) == pytest.approx(220, abs=5)
    mean, variance, x = 1.3, 0.4, 0.7  # normal data: E[x0 | x] in closed form
    expected = mean + math.sqrt(left) * variance / (left * variance + 1 - left) * (x - math.sqrt(left) * mean)
    noise = math.sqrt(1 - left) * (x - math.sqrt(left) * mean) / (left * variance + 1 - left)
    assert x - noise == pytest.approx(math.sqrt(left / (1 - left)) * expected - (1 / math.sqrt(1 - left) - 1) * x, abs=1e-12)


# --- what the source must hold ---


def test_every_erratum_of_this_lecture_is_treated_where_a_student_reads_it(lecture: course.Lecture) -> None:
    text = "\n".join(cell.source for cell in lecture.notebook.cells if course.role(cell) == "text")
    assert not ERRATA - set(re.findall(r"erratum (E\d\d)\)", text))


def test_the_exercises_are_those_of_the_curriculum_and_give_32_points(lecture: course.Lecture) -> None:
    points = {exercise.id: exercise.points for exercise in lecture.exercises}
    assert points == {
        "schedule": 3,
        "q_sample": 4,
        "ddpm_loss": 4,
        "posterior": 5,
        "p_sample_loop": 6,
        "ddim_step": 2,
        "score": 1,
        "cfg": 1,
        "guided": 2,
        "train_ddpm": 4,
    }
