"""How good generated digits are: one metric for lectures 07 to 09, in the features of one small frozen classifier.

Distances between pixels hardly tell a good sample from a blurred one; distances between a classifier's features do (M. Heusel et al.,
"GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, with ImageNet's Inception network). Ours is
a CNN for 8x8 digits, trained once by ``dlcourse_utils/instructor/digits_cnn.py`` on the training part of ``data.load("digits")``.
"""

from __future__ import annotations

import functools
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from IPython.display import HTML, display
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dlcourse_utils import data

#: As many samples as there are test images, so that every row of a table stands beside "real test images" on equal footing:
#: a Fréchet distance shrinks as the number of samples grows.
SAMPLES = 450

#: What the models of lectures 07 to 09 reach, written by ``dlcourse samples``.
TABLE = "sample-quality.json"
WEIGHTS = "digits-cnn.safetensors"
SHA256 = "7ff5379fe45b71f75857b278fd25a7880e363edf04b7cef3005d304d03712a8a"

Images = Tensor | ArrayLike


class Quality(NamedTuple):
    """How good a set of generated digits is.

    Attributes:
        frechet: Fréchet distance between the features of the samples and of the real images; 0 is best.
        accuracy: share of samples that are classified as the label they were asked for; nan where none was asked for.
        coverage: share of the rarest class among the samples; .1 is perfectly even, 0 means that a digit is missing.
        nearest: mean Euclidean distance, in pixel values, from a sample to the nearest real image. Real images that were not
            in the set give the yardstick: samples much nearer than those are copies.
    """

    frechet: float
    accuracy: float
    coverage: float
    nearest: float


class DigitsCNN(nn.Module):
    """Three convolutions, a layer of 32 features and ten logits: (N, 1, 8, 8) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 32),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def features(images: Images) -> Tensor:
    """The classifier's features of 8x8 digits, float32 of shape (N, 32), on the CPU.

    Args:
        images: shape (N, 64), (N, 8, 8) or (N, 1, 8, 8), black 0 and white 1; values beyond are clipped, as a screen would.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    with torch.inference_mode():
        found: Tensor = _classifier().features(_as_images(images))
    return found.clone()  # an ordinary tensor, free of inference mode


def classify(images: Images) -> Tensor:
    """The digit that the classifier sees in each image, int64 of shape (N,). Arguments and errors as in ``features``."""
    with torch.inference_mode():
        logits: Tensor = _classifier()(_as_images(images))
    return logits.argmax(1)


def quality(images: Images, *, real: Images, labels: Images | None = None) -> Quality:
    """How good generated digits are, beside real ones.

    Args:
        images: the samples, as for ``features``; ``SAMPLES`` of them where rows are compared.
        real: the images that the generator learned from.
        labels: shape (N,), the digits that were asked for, if any were.

    Raises:
        ValueError: a wrong shape, fewer than 2 images, or values that are not finite.
    """
    samples, train = _as_images(images), _as_images(real)
    if min(len(samples), len(train)) < 2:
        raise ValueError(f"{len(samples)} samples and {len(train)} real images: a covariance needs 2 of each at least.")
    seen = classify(samples)
    accuracy = float("nan")
    if labels is not None:
        wanted = torch.as_tensor(labels).cpu()
        if wanted.shape != seen.shape:
            raise ValueError(f"labels of shape {tuple(wanted.shape)} for {len(seen)} images: give one label an image.")
        accuracy = (seen == wanted).double().mean().item()
    coverage = torch.bincount(seen, minlength=10).min().item() / len(seen)
    nearest = torch.cdist(samples.flatten(1).double(), train.flatten(1).double()).amin(1).mean().item()
    return Quality(_frechet(samples, train), accuracy, coverage, nearest)


def ends(seed: int = 0) -> dict[str, Quality]:
    """The two ends of every table: real images that no model has seen, and noise, beside the training images of ``data.load("digits")``."""
    digits = data.load("digits")
    noise = np.random.default_rng(seed).uniform(size=(SAMPLES, 64))
    return {
        "real test images": quality(digits.x_test, real=digits.x_train, labels=digits.y_test),
        "noise": quality(noise, real=digits.x_train),
    }


def average(runs: Sequence[Quality]) -> Quality:
    """The mean of several runs of one model, figure by figure."""
    return Quality(*(fmean(figures) for figures in zip(*runs, strict=True)))


def measured() -> dict[str, Quality]:
    """What each generative model of lectures 07 to 09 reaches at equal data: the mean of three seeds, measured by ``dlcourse samples``."""
    table = json.loads((resources.files("dlcourse_utils") / "shipped" / TABLE).read_text(encoding="utf-8"))
    return {name: Quality(**{figure: math.nan if value is None else value for figure, value in row.items()}) for name, row in table["models"].items()}


def show(rows: Mapping[str, Quality]) -> None:
    """Display models in one table, between real test images and noise.

    Args:
        rows: name of the model -> the quality of its samples, in the order they are to stand in.
    """
    real, noise = ends().items()
    body = "".join(_row(name, found) for name, found in (real, *rows.items(), noise))
    titles = ("samples", "Fréchet distance (lower is better)", "label accuracy", "share of the rarest digit", "distance to the nearest training image")
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    display(HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"))  # type: ignore[no-untyped-call]


def _row(name: str, found: Quality) -> str:
    numbers = "".join(f"<td>{'–' if math.isnan(value) else format(value, '.3g')}</td>" for value in found)
    return f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>{numbers}</tr>'


def _frechet(samples: Tensor, real: Tensor) -> float:
    """The library's Fréchet distance: its formula is an exercise of lecture 08."""
    from torchmetrics.image.fid import FrechetInceptionDistance  # seconds to import, and few notebooks need it

    with torch.inference_mode():
        distance = FrechetInceptionDistance(feature=_Features(_classifier()))
        distance.update(real, real=True)
        distance.update(samples, real=False)
        return float(distance.compute())


class _Features(nn.Module):
    """The classifier as torchmetrics wants a feature extractor."""

    num_features = 32

    def __init__(self, classifier: DigitsCNN) -> None:
        super().__init__()
        self.layers = classifier.features

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def _as_images(images: Images) -> Tensor:
    x = torch.as_tensor(images).detach().to("cpu", torch.float32)
    if x.shape[1:] not in ((64,), (8, 8), (1, 8, 8)):
        raise ValueError(f"images of shape {tuple(x.shape)}: give digits of shape (N, 64), (N, 8, 8) or (N, 1, 8, 8).")
    if not x.isfinite().all():
        raise ValueError("images with values that are not finite: whatever made them diverged. Look at its output before it is measured.")
    return x.reshape(-1, 1, 8, 8).clamp(0, 1)


@functools.cache
def _classifier() -> DigitsCNN:
    """The frozen classifier.

    Raises:
        RuntimeError: the file of weights is not the one that this version of the package was made with.
    """
    from safetensors.torch import load

    content = (resources.files("dlcourse_utils") / "shipped" / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise RuntimeError(f"dlcourse_utils/shipped/{WEIGHTS} is damaged or of another version. Install the package again.")
    model = DigitsCNN()
    model.load_state_dict(load(content))
    return model.eval().requires_grad_(False)
