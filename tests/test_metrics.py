"""The metric of generated digits orders what anyone would order, and says what is wrong with its input."""

from __future__ import annotations

import math
import re
from importlib import resources

import numpy as np
import pytest
import torch

from dlcourse_utils import data, metrics
from dlcourse_utils.instructor import digits_cnn


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def quality(digits, images, labels=None):
    return metrics.quality(images, real=digits.x_train, labels=labels)


def test_classifier_reads_digits_that_it_has_not_seen(digits):
    assert (metrics.classify(digits.x_test).numpy() == digits.y_test).mean() >= 0.98


@pytest.mark.proof
def test_script_makes_a_classifier_of_that_kind_again():
    # bit for bit it does so only on one kind of machine
    model, accuracy = digits_cnn.train()
    assert accuracy >= 0.975
    assert {name: weight.shape for name, weight in model.state_dict().items()} == {
        name: weight.shape for name, weight in metrics.DigitsCNN().state_dict().items()
    }


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8)])
def test_images_in_every_layout_have_the_same_features(digits, shape):
    images = torch.as_tensor(digits.x_test[:5])
    torch.testing.assert_close(metrics.features(images.reshape(5, *shape)), metrics.features(digits.x_test[:5]))
    assert metrics.features(images).shape == (5, 32)


def test_real_test_images_stand_between_the_training_images_and_everything_false(digits):
    rng = np.random.default_rng(0)
    gaussian = rng.multivariate_normal(digits.x_train.mean(0), np.cov(digits.x_train.T), metrics.SAMPLES)
    noise = rng.uniform(size=(metrics.SAMPLES, 64))
    order = [quality(digits, images).frechet for images in (digits.x_train, digits.x_test, gaussian, noise)]
    assert order[0] == pytest.approx(0, abs=1e-3)
    assert order[1] < 2
    assert order[2] > 4 * order[1]
    assert order[3] > 2 * order[2]


def test_a_missing_class_shows_in_coverage_and_distance(digits):
    kept = digits.y_test != 7
    whole, part = quality(digits, digits.x_test), quality(digits, digits.x_test[kept])
    assert part.coverage < 0.005 < 0.05 < whole.coverage
    assert part.frechet > 3 * whole.frechet


def test_one_image_a_class_is_sure_of_its_labels_but_far_from_the_real_ones(digits):
    labels = np.arange(metrics.SAMPLES) % 10
    prototypes = np.stack([digits.x_train[digits.y_train == label].mean(0) for label in range(10)])
    measured = quality(digits, prototypes[labels], labels)
    assert measured.accuracy == 1
    assert measured.frechet > 5


def test_copies_of_training_images_show_in_the_distance_to_the_nearest(digits):
    copies, unseen = quality(digits, digits.x_train[:450] + 0.01), quality(digits, digits.x_test)
    assert copies.nearest < 0.2 * unseen.nearest


def test_accuracy_counts_the_labels_that_were_asked_for(digits):
    right = quality(digits, digits.x_test, digits.y_test)
    wrong = quality(digits, digits.x_test, (digits.y_test + 1) % 10)
    assert right.accuracy >= 0.98
    assert wrong.accuracy <= 0.02
    assert math.isnan(quality(digits, digits.x_test).accuracy)


def test_values_beyond_black_and_white_are_clipped(digits):
    louder = np.where(digits.x_test[:20] > 0.5, 3.0, -1.0)
    assert metrics.features(louder).equal(metrics.features(louder.clip(0, 1)))


def test_arguments_and_global_generators_stay_as_they_are(digits):
    images = torch.as_tensor(digits.x_test[:20] * 2)
    before, state = images.clone(), torch.get_rng_state()
    quality(digits, images)
    assert images.equal(before)
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 63)), r"shape \(4, 63\)"),
        (np.zeros((4, 1, 28, 28)), r"\(N, 1, 8, 8\)"),
        (np.full((4, 64), np.nan), "not finite"),
        (np.zeros((1, 64)), "2 of each"),
    ],
)
def test_images_that_cannot_be_measured_are_refused_in_plain_words(digits, images, message):
    with pytest.raises(ValueError, match=message):
        quality(digits, images)


def test_labels_that_do_not_fit_are_refused(digits):
    with pytest.raises(ValueError, match="one label an image"):
        quality(digits, digits.x_test, digits.y_test[:3])


def test_damaged_weights_are_noticed(monkeypatch, tmp_path):
    folder = tmp_path / "shipped"
    folder.mkdir()
    content = bytearray((resources.files("dlcourse_utils") / "shipped" / metrics.WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / metrics.WEIGHTS).write_bytes(content)
    monkeypatch.setattr(metrics.resources, "files", lambda package: tmp_path)
    metrics._classifier.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="damaged"):
            metrics.classify(np.zeros((1, 64)))
    finally:
        metrics._classifier.cache_clear()


def test_a_table_stands_between_real_images_and_noise(monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr(metrics, "display", lambda table: shown.append(table.data))
    metrics.show({"a <model>": metrics.Quality(3.14159, float("nan"), 0.05, 1.0)})
    names = re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', shown[0])
    assert names == ["real test images", "a &lt;model&gt;", "noise"]
    assert "<td>3.14</td><td>–</td><td>0.05</td><td>1</td>" in shown[0]
