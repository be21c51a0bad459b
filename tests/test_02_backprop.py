"""Lecture 02: its experiments hold on seeds that they were not tuned on, and what it teaches is true."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from seeds import FRESH, fresh_seeds

from dlcourse_utils.instructor import course, runner

#: Errata of the inventory that this lecture has to treat, and those of other lectures that it touches.
ERRATA = {"E03", "E04", "E05", "E06", "E09", "E11", "E28", "E45", "E57", "E61"} | {"E01", "E02"}


@pytest.fixture(scope="module")
def lecture() -> course.Lecture:
    return course.lectures(course.find_root(), ["02"])[0]


@pytest.fixture(scope="module")
def names(lecture: course.Lecture) -> dict[str, Any]:
    return runner.namespace(lecture, ["experiment-agreement", "experiment-training", "experiment-vanishing"])


def orders(norms: np.ndarray) -> float:
    return float(np.log10(norms[0] / norms[-1]))


# --- the experiments' bands, as the notebook states them ---


@fresh_seeds
def test_three_ways_to_a_gradient_agree(names: dict[str, Any], seed: int) -> None:
    measured = names["agreement"](seed)
    assert measured["hand"] <= 1e-10
    assert measured["engine"] <= 1e-10
    assert measured["check"] <= 1e-5


@fresh_seeds
def test_vanishing_is_a_matter_of_the_start(names: dict[str, Any], seed: int) -> None:
    norms = names["vanishing"](seed)
    assert orders(norms["sigmoid", "Xavier", 10]) <= -5
    assert orders(norms["sigmoid", "Xavier", 20]) <= -11
    assert -1 <= orders(norms["sigmoid", "4 × Xavier, centred", 20]) <= 0.5
    assert -0.7 <= orders(norms["relu", "He", 20]) <= 0.7
    assert orders(norms["relu", "torch default", 10]) <= -1.5
    assert orders(norms["relu", "torch default", 20]) <= -5
    assert -0.5 <= orders(norms["relu", "Xavier", 20]) <= 1
    assert norms["relu", "Xavier", 20].max() <= 1e-2


def test_the_digits_are_learned_without_autograd(names: dict[str, Any]) -> None:
    assert np.mean([names["digits_accuracy"](seed)[0] for seed in FRESH]) >= 0.95


def test_a_high_learning_rate_kills_relu_units(names: dict[str, Any]) -> None:
    assert np.mean([names["dead_share"](0.1, seed) for seed in FRESH]) <= 0.2
    assert np.mean([names["dead_share"](2.0, seed) for seed in FRESH]) >= 0.8


def test_the_gradient_norms_are_those_of_torch(names: dict[str, Any]) -> None:
    rng, depth = np.random.default_rng(7), 6
    chosen = rng.permutation(len(names["digits"].x_train))[:128]
    sizes = [64] * depth + [10]
    layers = [names["initial_layer"]("torch default", d, m, rng) for d, m in itertools.pairwise(sizes)]
    leaves = [(torch.tensor(W, requires_grad=True), torch.tensor(b)) for W, b in layers]
    h = torch.tensor(names["digits"].x_train[chosen])
    for layer, (W, b) in enumerate(leaves):
        h = F.linear(torch.tanh(h) if layer else h, W, b)
    F.cross_entropy(h, torch.tensor(names["digits"].y_train[chosen])).backward()
    want = [W.grad.norm().item() for W, _ in leaves if W.grad is not None]
    assert names["gradient_norms"]("tanh", "torch default", depth, 7) == pytest.approx(want, rel=1e-9)


# --- facts that the text states ---


def test_elu_is_monotone_and_gelu_is_not() -> None:
    a = torch.linspace(-5, 5, 1_000_001, dtype=torch.float64)
    assert (F.elu(a).diff() > 0).all()
    gelu = F.gelu(a)
    assert gelu.min().item() == pytest.approx(-0.16997, abs=5e-6)
    assert a[gelu.argmin()].item() == pytest.approx(-0.7518, abs=5e-5)


def test_gelu_and_swish_differ_and_the_approximations_are_as_good_as_stated() -> None:
    a = torch.linspace(-6, 6, 100_001, dtype=torch.float64)
    assert F.gelu(torch.tensor(1.0)).item() == pytest.approx(0.841, abs=5e-4)
    assert F.silu(torch.tensor(1.0)).item() == pytest.approx(0.731, abs=5e-4)
    assert (F.gelu(a) - F.gelu(a, approximate="tanh")).abs().max() <= 0.0005
    assert 0.02 <= (F.gelu(a) - a * torch.sigmoid(1.702 * a)).abs().max() <= 0.021


def test_many_sigmoids_add_up_to_softplus_not_to_relu() -> None:
    a = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    steps = torch.sigmoid(a[:, None] - torch.arange(1, 201) + 0.5).sum(1)
    assert 0.01 <= (steps - F.softplus(a)).abs().max() <= 0.011
    assert (steps - F.relu(a)).abs().max() > 0.6


def test_a_centred_sigmoid_network_is_a_tanh_network(names: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    W, b = names["initial_layer"]("4 × Xavier, centred", 6, 4, rng)
    t = np.tanh(rng.normal(size=(3, 6)))
    assert np.allclose((t + 1) / 2 @ W.T + b, 2 * (t @ (W / 4).T))


def test_the_written_answer_quotes_the_right_numbers() -> None:
    v, w, x, t = 0.2, 1.5, 3.0, 1.0

    def error(v: float) -> float:
        return 0.5 * (t - w * np.tanh(v * x)) ** 2

    difference = -(error(v + 1e-5) - error(v - 1e-5)) / 2e-5
    z = np.tanh(v * x)
    slide = (t - w * z) * w * (1 - z**2) * x * x
    assert (z, w * z, t - w * z, 1 - z**2) == pytest.approx((0.53705, 0.80557, 0.19443, 0.71158), abs=6e-6)
    assert difference == pytest.approx(0.62257, abs=6e-6)
    assert slide == pytest.approx(1.86771, abs=6e-6)
    assert slide / difference == pytest.approx(x, rel=1e-6)


def test_the_lectures_order_of_jacobians_cannot_be_multiplied() -> None:
    first, second = np.ones((3, 2)), np.ones((4, 3))
    with pytest.raises(ValueError, match="matmul"):
        first @ second
    assert (second @ first).shape == (4, 2)


# --- what the source must hold ---


def test_every_erratum_of_this_lecture_is_treated_where_a_student_reads_it(lecture: course.Lecture) -> None:
    text = "\n".join(cell.source for cell in lecture.notebook.cells if course.role(cell) == "text")
    assert not ERRATA - set(re.findall(r"erratum (E\d\d)\)", text))


def test_the_exercises_are_those_of_the_curriculum_and_give_32_points(lecture: course.Lecture) -> None:
    points = {exercise.id: exercise.points for exercise in lecture.exercises}
    assert points == {
        "act": 4,
        "softmax_ce": 4,
        "linear_backward": 3,
        "mlp_backward": 5,
        "grad_check": 3,
        "vjp": 2,
        "jacobian_bytes": 1,
        "value": 5,
        "train_mlp": 5,
    }
