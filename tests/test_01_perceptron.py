"""Lecture 01: what it teaches is true, and its bands hold on seeds that were not used to choose them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from seeds import FRESH, fresh_seeds
from torch import nn

from dlcourse_utils import data
from dlcourse_utils.instructor.course import Lecture, find_root, lectures
from dlcourse_utils.instructor.runner import namespace


@pytest.fixture(scope="module")
def lecture() -> Lecture:
    return lectures(find_root(), ["01-perceptron"])[0]


@pytest.fixture(scope="module")
def names(lecture: Lecture) -> dict[str, Any]:
    return namespace(lecture, include=["experiment-mistakes", "experiment-approximation", "experiment-xor", "experiment-depth"])


@pytest.fixture(autouse=True)
def no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOURSE_PROGRESS", "off")


# --- bands ---


@fresh_seeds
def test_mistakes_stay_below_novikoffs_bound_and_xor_never_ends(names: dict[str, Any], seed: int) -> None:
    measured = names["mistakes_experiment"](seed)
    ratio = measured["mistakes"] / measured["bound"]
    assert ratio.max() <= 1
    assert np.median(ratio) <= 0.5
    assert measured["AND"][-1] == 0
    assert measured["XOR"].min() >= 1
    assert len(measured["XOR"]) == 200


@fresh_seeds
def test_more_sigmoid_units_approximate_better(names: dict[str, Any], seed: int) -> None:
    error = {width: error for width, (error, _) in names["approximation_experiment"](seed).items()}
    assert error[2] >= 0.1
    assert error[5] <= 0.3 * error[2]
    assert error[50] <= 0.05 * error[5]


@fresh_seeds
def test_xor_is_learnt_by_wide_networks_and_not_from_tiny_or_zero_weights(names: dict[str, Any], seed: int) -> None:
    runs = names["xor_experiment"](seed)
    assert runs["h = 8"]["solved"] >= 0.9
    assert runs["h = 2"]["solved"] <= 0.97
    assert runs["h = 8, tiny start"]["solved"] <= 0.05
    assert runs["h = 8, zero start"] == {"solved": 0.0, "loss": pytest.approx(np.log(2), abs=1e-6), "spread": 0.0}


def test_the_deep_network_fits_a_step_with_half_the_error_of_the_wide_one(names: dict[str, Any]) -> None:
    runs = [names["depth_experiment"]("step", seed) for seed in FRESH]
    assert np.median([run["deep 1-32-8-1"][0] / run["wide 1-128-1"][0] for run in runs]) <= 0.5


# --- facts ---


@pytest.mark.parametrize(("n", "separable"), [(2, 14), (3, 104)])
def test_how_many_boolean_functions_are_separable(names: dict[str, Any], n: int, separable: int) -> None:
    points = np.column_stack([np.ones(2**n), data.booleans(n)])
    tables = 2 * data.booleans(2**n) - 1
    # The widest margin with weights in [-1, 1], another program than the solution's.
    widest = [
        -linprog(np.eye(n + 2)[-1] * -1, A_ub=np.column_stack([-t[:, None] * points, np.ones(2**n)]), b_ub=np.zeros(2**n), bounds=[(-1, 1)] * (n + 2)).fun
        for t in tables
    ]
    assert sum(width > 1e-9 for width in widest) == separable
    assert [names["is_separable"](data.booleans(n), t) for t in tables] == [width > 1e-9 for width in widest]


@pytest.mark.parametrize(
    ("sizes", "count"), [((10, 20, 30, 10), 1160), ((1, 128, 1), 385), ((1, 32, 8, 1), 337), ((64, 128, 10), 9610), ((64, 32, 8, 10), 2434), ((2, 3, 1), 13)]
)
def test_parameter_counts_are_those_of_real_networks(lecture: Lecture, names: dict[str, Any], sizes: tuple[int, ...], count: int) -> None:
    network = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(sizes)))
    assert sum(p.numel() for p in network.parameters()) == count == names["count_params"](list(sizes))
    assert re.search(rf"\b{count}\b", lecture.source.read_text(encoding="utf-8"))


def test_half_of_tanh_plus_a_half_is_the_logistic_function_of_twice_the_argument() -> None:
    a = torch.linspace(-20, 20, 401, dtype=torch.float64)
    torch.testing.assert_close(torch.tanh(a) / 2 + 0.5, torch.sigmoid(2 * a))


def test_the_update_shown_lowers_the_weight_of_a_negative_input_and_raises_the_score_by_the_squared_length() -> None:
    w, x = np.array([0.0, 1.0, 0.5]), np.array([1.0, -2.0, 1.0])
    updated = w + x
    assert w @ x == -1.5
    assert updated @ x == 4.5 == w @ x + x @ x
    assert updated[1] < w[1]


@pytest.mark.parametrize("k", [1, 4, 8])
def test_folding_makes_twice_as_many_pieces_each_time_with_two_units(names: dict[str, Any], k: int) -> None:
    net = names["tent_net"](k)
    x = np.linspace(0, 1, 2 ** (k + 3) + 1)  # every kink lies on this grid
    y = names["mlp_forward"](net, x[:, None], lambda a: np.maximum(a, 0))[:, 0]
    slopes = np.diff(y) / np.diff(x)
    assert 1 + np.sum(~np.isclose(slopes[1:], slopes[:-1])) == 2**k
    assert [len(b) for _, b in net] == [2] * k + [1]


def test_a_hidden_layer_of_n_relus_has_at_most_n_kinks(names: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    net = [(rng.normal(size=(6, 1)), rng.normal(size=6)), (rng.normal(size=(1, 6)), rng.normal(size=1))]
    x = np.linspace(-50, 50, 200_001)
    bends = np.abs(np.diff(names["mlp_forward"](net, x[:, None], lambda a: np.maximum(a, 0))[:, 0], n=2)) > 1e-9
    assert 1 <= np.sum(bends[1:] & ~bends[:-1]) + bends[0] <= 6


@pytest.mark.parametrize("act", [np.tanh, lambda a: a], ids=["tanh", "identity"])
def test_layers_without_an_activation_are_one_affine_map(names: dict[str, Any], act: Callable[[np.ndarray], np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    net = [(rng.normal(size=(5, 2)), rng.normal(size=5)), (rng.normal(size=(3, 5)), rng.normal(size=3)), (rng.normal(size=(1, 3)), rng.normal(size=1))]
    a, b = rng.normal(size=(2, 7, 2))
    middle = names["mlp_forward"](net, (a + b) / 2, act)
    affine = np.allclose(middle, (names["mlp_forward"](net, a, act) + names["mlp_forward"](net, b, act)) / 2)
    assert affine == (act is not np.tanh)


@pytest.mark.parametrize("erratum", ["E22", "E31", "E48", "E52", "E60"])
def test_each_slip_of_the_lectures_is_mended_where_it_is_taught(lecture: Lecture, erratum: str) -> None:
    prose = [cell.source for cell in lecture.notebook.cells if cell.cell_type == "markdown"]
    assert sum(f"(erratum {erratum})" in text or f", erratum {erratum})" in text for text in prose) == 1


def test_the_points_and_minutes_on_the_title_page_add_up(lecture: Lecture) -> None:
    title = lecture.notebook.cells[0].source
    assert sum(e.points for e in lecture.exercises) == 24
    assert f"exercises: {sum(e.minutes for e in lecture.exercises)} minutes, 24 points" in title
