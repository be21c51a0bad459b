"""Lecture 03: its experiments hold on seeds that they were not tuned on, its parts equal torch's, and what it teaches is true."""

from __future__ import annotations

import re
from typing import Any

import elsewhere
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from seeds import fresh_seeds

from dlcourse_utils import data
from dlcourse_utils.instructor import course, runner

#: Errata of the inventory that this lecture has to treat.
ERRATA = {"E20", "E21", "E35", "E36", "E37", "E46", "E55"}

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def lecture() -> course.Lecture:
    return course.lectures(course.find_root(), ["03"])[0]


@pytest.fixture(scope="module")
def names(lecture: course.Lecture) -> dict[str, Any]:
    return runner.namespace(lecture, ["experiment-recovery", "experiment-plus", "experiment-shift"])


# --- the experiments' bands, as the notebook states them ---


@fresh_seeds
def test_a_small_loss_hides_a_wrong_filter(names: dict[str, Any], seed: int) -> None:
    numbers = names["recovery_numbers"](names["recovery_experiment"](seed))
    assert numbers["condition noise"] <= 60
    assert numbers["condition photo"] >= 500
    assert numbers["gradient descent, noise"] <= 1e-3
    assert numbers["gradient descent, photo"] >= 0.2
    assert numbers["gradient descent, photo, loss"] <= 0.05
    assert numbers["gradient descent, photo, loss on noise"] >= 0.05
    assert numbers["Adam, photo"] >= 0.2
    assert numbers["L-BFGS, photo"] <= 1e-2


@fresh_seeds
def test_a_detector_needs_to_see_the_whole_plus(names: dict[str, Any], seed: int) -> None:
    found = names["plus_experiment"](seed)
    assert found["5 × 5"][0] >= 0.95
    assert found["3 × 3"][0] <= 0.8


@fresh_seeds
def test_global_pooling_reads_digits_that_have_moved(names: dict[str, Any], seed: int) -> None:
    accuracy = names["shift_experiment"](seed)
    assert accuracy["MLP", "centred"][1] <= 0.3
    assert accuracy["CNN, flattened", "centred"][1] <= 0.4
    assert accuracy["CNN, global pooling", "centred"][1] >= 0.7
    assert accuracy["CNN, global pooling", "moved"][1] - accuracy["MLP", "moved"][1] >= 0.35


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["as MNIST", "as CIFAR-10"])
def test_larger_images_are_moved_too(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    x, y = np.random.default_rng(0).random((40, *shape)), np.arange(40) % 10
    monkeypatch.setattr(data, "load", lambda name, **_: data.Split(x[:20], y[:20], x[20:], y[20:]))
    found = names["shift_experiment"](0, "larger", epochs=1)
    assert len(found) == 6
    assert all(0 <= share <= 1 for shares in found.values() for share in shares)


def test_the_networks_are_trained_on_any_device(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere.pretend(monkeypatch):
        found = names["shift_experiment"](0, limit=64, epochs=1)
    assert len(found) == 6


# --- the reference answers are the field's own operations ---


@few
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*(st.integers(1, n) for n in (3, 4, 9, 9))),
    outputs=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    pad=st.integers(0, 3),
)
def test_conv2d_is_torchs(seed: int, shape: tuple[int, ...], outputs: int, kernel: tuple[int, int], stride: int, pad: int) -> None:
    if min(shape[2] + 2 * pad - kernel[0], shape[3] + 2 * pad - kernel[1]) < 0:
        return
    generator = torch.Generator().manual_seed(seed)
    x, w, b = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (shape, (outputs, shape[1], *kernel), (outputs,)))
    torch.testing.assert_close(solved()["conv2d"](x, w, b, stride, pad), F.conv2d(x, w, b, stride, pad))


@few
@given(seed=st.integers(0, 2**31), size=st.tuples(st.integers(4, 9), st.integers(4, 9)), k=st.integers(1, 4), s=st.integers(1, 4))
def test_the_poolings_are_torchs(seed: int, size: tuple[int, int], k: int, s: int) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(solved()["max_pool2d"](x, k, s), F.max_pool2d(x, k, s))
    torch.testing.assert_close(solved()["adaptive_avg_pool2d"](x, (k, s)), F.adaptive_avg_pool2d(x, (k, s)))


@few
@given(seed=st.integers(0, 2**31), n=st.integers(1, 12), m=st.integers(1, 6), pad=st.integers(0, 4))
def test_toeplitz_is_conv1d_as_a_matrix(seed: int, n: int, m: int, pad: int) -> None:
    if n + 2 * pad < m:
        return
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=n), rng.normal(size=m)
    np.testing.assert_allclose(solved()["toeplitz"](k, n, pad) @ x, solved()["conv1d"](np.pad(x, pad), k), atol=1e-12)


def solved() -> dict[str, Any]:
    """The reference answers, run once."""
    if not _solved:
        _solved.update(runner.namespace(course.lectures(course.find_root(), ["03"])[0]))
    return _solved


_solved: dict[str, Any] = {}


# --- facts that the text states ---


def test_the_table_of_conventions_has_the_right_numbers() -> None:
    x, k = np.array([1.0, 2, 4, 7]), np.array([1.0, 2, 3])
    assert np.correlate(x, k, "valid").tolist() == [17, 31]
    assert np.correlate(x, k, "same").tolist() == [8, 17, 31, 18]
    assert np.convolve(x, k, "valid").tolist() == [11, 21]


def test_the_slides_two_dimensional_example() -> None:
    image = torch.tensor([[1.0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]])
    kernel = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert F.conv2d(image[None, None], kernel[None, None])[0, 0].tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


def test_a_laplacian_answers_zero_on_a_ramp_and_sobel_does_not() -> None:
    ramp = torch.linspace(0, 1, 9).expand(1, 1, 9, 9)
    laplacian = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    assert F.conv2d(ramp, laplacian[None, None]).abs().max() <= 1e-6
    torch.testing.assert_close(F.conv2d(ramp, sobel[None, None]), torch.full((1, 1, 7, 7), -1.0))


def test_a_convolution_by_its_index_loses_pixels_at_the_top_and_left() -> None:
    # y_i = sum over p of x_(i-p) w_p, where every term exists: i from m - 1 to n - 1.
    n, m = 7, 3
    inside = [i for i in range(n) if all(0 <= i - p < n for p in range(m))]
    assert inside == [2, 3, 4, 5, 6]


def test_scipy_mirrors_and_flips_where_torch_does_neither() -> None:
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(8, 9)), rng.normal(size=(3, 3))
    theirs = ndimage.convolve(image, kernel)
    ours = F.conv2d(torch.tensor(image)[None, None], torch.tensor(kernel.copy())[None, None])[0, 0].numpy()
    assert theirs.shape == (8, 9)
    assert ours.shape == (6, 7)
    np.testing.assert_allclose(theirs[1:-1, 1:-1], F.conv2d(torch.tensor(image)[None, None], torch.tensor(kernel[::-1, ::-1].copy())[None, None])[0, 0].numpy())


def test_the_counts_in_the_text() -> None:
    assert 4096**2 == 16_777_216
    assert round(4096**2 / (9 * 4096)) == 455
    assert 55 * 55 * 96 == 290_400
    assert 55 * 48 * 96 == 253_440
    assert 510 * 510 == 260_100
    assert (16 * 9 + 16, 32 * 16 * 9 + 32, 128 * 64 + 64 + 64 * 10 + 10) == (160, 4640, 8906)


def test_every_erratum_of_this_lecture_is_treated(lecture: course.Lecture) -> None:
    text = "\n".join(cell.source for cell in lecture.notebook.cells if cell.cell_type == "markdown")
    assert set(re.findall(r"erratum (E\d+)", text)) >= ERRATA
