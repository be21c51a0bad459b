"""Lecture 10: its loss and its neighbours are the field's own, its experiments hold on seeds they were not tuned on, and what it teaches is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import elsewhere
import numpy as np
import published
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from seeds import fresh
from sklearn.neighbors import KNeighborsClassifier

from dlcourse_utils import data
from dlcourse_utils.instructor import course, runner

fresh_seeds = fresh(101, 303, 505)

#: Errata of the inventory that this lecture has to treat.
ERRATA = {"E41"}

sizes = st.integers(1, 7)
temperatures = st.floats(0.05, 5)


@pytest.fixture(scope="module")
def lecture() -> course.Lecture:
    return course.lectures(course.find_root(), ["10"])[0]


@pytest.fixture(scope="module")
def names(lecture: course.Lecture) -> dict[str, Any]:
    return runner.namespace(lecture, ["experiment-lecture-loss", "experiment-collapse", "experiment-labels", "widget-temperature"])


@pytest.fixture(autouse=True)
def no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOURSE_PROGRESS", "off")


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


# --- laws ---


@given(seed=st.integers(0, 2**31), n=sizes, m=sizes, d=sizes)
@settings(max_examples=40, deadline=None)
def test_the_cosine_is_torchs(names: dict[str, Any], seed: int, n: int, m: int, d: int) -> None:
    A, B = drawn(seed, (n, d), (m, d))
    torch.testing.assert_close(names["cosine"](A, B), F.cosine_similarity(A[:, None], B[None], dim=-1), rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 2**31), n=sizes, d=sizes, tau=temperatures)
@settings(max_examples=40, deadline=None)
def test_the_loss_is_blind_to_lengths_to_the_order_of_the_views_and_of_the_images(names: dict[str, Any], seed: int, n: int, d: int, tau: float) -> None:
    z1, z2, lengths = drawn(seed, (n, d), (n, d), (n, 1))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    loss = names["nt_xent"](z1, z2, tau)
    for other in ((z2, z1), (z1[order], z2[order]), (z1 * lengths.exp(), z2)):
        torch.testing.assert_close(names["nt_xent"](*other, tau), loss, rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 2**31), n=sizes, d=sizes, tau=temperatures)
@settings(max_examples=40, deadline=None)
def test_equal_embeddings_cost_log_of_the_number_of_classes_at_every_temperature(names: dict[str, Any], seed: int, n: int, d: int, tau: float) -> None:
    (z,) = drawn(seed, (1, d))
    assert names["nt_xent"](z.expand(n, d), z.expand(n, d), tau).item() == pytest.approx(np.log(2 * n - 1), abs=1e-9)


def test_the_gradient_on_a_negative_is_proportional_to_its_softmax_weight(names: dict[str, Any]) -> None:
    n, tau = 4, 0.3
    similarity = drawn(1, (2 * n, 2 * n))[0].tanh().requires_grad_()
    original = names["nt_xent"].__globals__["cosine"]
    names["nt_xent"].__globals__["cosine"] = lambda A, B: similarity
    try:
        (gradient,) = torch.autograd.grad(names["nt_xent"](torch.zeros(n, 2), torch.zeros(n, 2), tau), similarity)
    finally:
        names["nt_xent"].__globals__["cosine"] = original
    weights = (similarity / tau).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf).softmax(1)
    negative = ~(torch.eye(2 * n, dtype=torch.bool) | torch.eye(2 * n, dtype=torch.bool).roll(n, 1))
    torch.testing.assert_close(gradient[negative], weights[negative] / (2 * n * tau), rtol=1e-9, atol=1e-12)


def printed_loss(z1: torch.Tensor, z2: torch.Tensor, tau: float, *, to_the_letter: bool) -> float:
    """L_g of the lecture, pair by pair; to the letter, the index of the sum hides the anchor."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n, total = len(z1), 0.0
    for pair in range(n):
        for anchor, mate in ((pair, pair + n), (pair + n, pair)):
            positive = float(torch.exp(z[anchor] @ z[mate] / tau))
            others = [k for k in range(2 * n) if k not in (anchor, mate)]
            negative = sum(float(torch.exp((z[k] if to_the_letter else z[anchor]) @ z[k] / tau)) for k in others)
            total -= np.log(positive / (positive + negative))
    return total / n


@given(seed=st.integers(0, 2**31), n=st.integers(2, 6), d=st.integers(2, 6), tau=st.floats(0.2, 2))
@settings(max_examples=20, deadline=None)
def test_the_lectures_loss_is_twice_simclrs_and_to_the_letter_only_attracts(names: dict[str, Any], seed: int, n: int, d: int, tau: float) -> None:
    z1, z2 = drawn(seed, (n, d), (n, d))
    assert 2 * names["nt_xent"](z1, z2, tau).item() == pytest.approx(printed_loss(z1, z2, tau, to_the_letter=False), rel=1e-9)
    assert names["attraction_only"](z1, z2, tau).item() == pytest.approx(printed_loss(z1, z2, tau, to_the_letter=True), rel=1e-9)


@given(seed=st.integers(0, 2**31), n=st.integers(5, 30), d=st.integers(2, 6), k=st.sampled_from((1, 3, 5)))
@settings(max_examples=30, deadline=None)
def test_the_neighbours_are_scikit_learns(names: dict[str, Any], seed: int, n: int, d: int, k: int) -> None:
    known, asked = drawn(seed, (n, d), (8, d))
    labels = torch.arange(n) % 2  # two labels and an odd k: no ties
    want = KNeighborsClassifier(k, metric="cosine").fit(known.numpy(), labels.numpy()).predict(asked.numpy())
    assert names["knn_predict"](known, labels, asked, k).tolist() == want.tolist()


def test_embeddings_on_one_line_fool_the_collapse_score(names: dict[str, Any]) -> None:
    line = torch.tensor([1.0, -1.0]).repeat(50)[:, None] * torch.ones(1, 16)
    assert names["collapse_score"](line) == pytest.approx(1, abs=0.02)


# --- the experiments' bands, as the notebook states them ---


@fresh_seeds
def test_read_to_the_letter_the_lectures_loss_has_no_negatives(names: dict[str, Any], seed: int) -> None:
    measured = names["lecture_experiment"](seed)
    assert measured["ratio"] == pytest.approx(2, abs=1e-4)
    assert measured["NT-Xent"] >= 0.1
    assert measured["to the letter"] <= 1e-9


@fresh_seeds
def test_without_negatives_the_embeddings_collapse(names: dict[str, Any], seed: int) -> None:
    measured = names["collapse_experiment"](seed)
    assert measured["NT-Xent"]["score"][-1] >= 0.6
    assert measured["no negatives"]["score"][-1] <= 0.1
    assert measured["NT-Xent"]["probe"] >= 0.8
    assert measured["no negatives"]["loss"][-1] < measured["no negatives"]["loss"][0]


@fresh_seeds
def test_views_teach_a_mirror_hurts_and_rotation_does_not_beat_pixels(names: dict[str, Any], seed: int) -> None:
    share, besides = names["labels_experiment"](seed)
    ten = {title: by_labels[10] for title, by_labels in share.items()}
    assert ten["your views"] >= 0.9
    assert ten["your views"] >= ten["untrained"] + 0.07
    assert share["your views"][5] >= share["pixels"][5] + 0.02
    assert ten["your views"] >= ten["brightness"] + 0.04
    assert ten["mirrored"] <= ten["your views"] - 0.02
    assert besides["rotation task"] >= 0.88
    assert ten["rotation"] <= ten["pixels"] - 0.05


def test_the_experiments_take_larger_images_by_their_name_on_any_device(names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist = published.offer_mnist(tmp_path, monkeypatch)
    with elsewhere.pretend(monkeypatch):
        assert names["collapse_experiment"](0, mnist, steps=2)["NT-Xent"]["score"].shape == (2,)
        share, besides = names["labels_experiment"](0, mnist, steps=2, draws=1)
    assert all(0 <= accuracy <= 1 for by_labels in share.values() for accuracy in by_labels.values())
    assert besides["kNN, pixels"] > 0.5  # they are digits, and enough of them


# --- facts that the text states ---


def test_most_sixes_turned_by_180_degrees_are_nines_to_their_neighbours(names: dict[str, Any]) -> None:
    digits = data.load("digits", flat=False).torch()
    turned = digits.x_test[digits.y_test == 6].flip((2, 3))
    labels = names["knn_predict"](digits.x_train.flatten(1), digits.y_train, turned.flatten(1), k=5)
    assert (labels == 9).float().mean() >= 0.9


def test_the_widget_says_log_7_when_all_embeddings_are_equal(names: dict[str, Any]) -> None:
    _, alt = names["temperature_map"](0.05, 0, True)
    assert "The loss is 1.946" in alt


# --- what the source must hold ---


def test_every_erratum_of_this_lecture_is_treated_where_a_student_reads_it(lecture: course.Lecture) -> None:
    text = "\n".join(cell.source for cell in lecture.notebook.cells if course.role(cell) == "text")
    assert not ERRATA - set(re.findall(r"erratum (E\d\d)\)", text))


def test_the_exercises_are_those_of_the_curriculum_and_give_25_points(lecture: course.Lecture) -> None:
    points = {exercise.id: exercise.points for exercise in lecture.exercises}
    assert points == {"cosine": 3, "nt_xent": 6, "two_views": 4, "knn_predict": 3, "linear_probe": 4, "collapse_score": 2, "train_simclr": 3}
