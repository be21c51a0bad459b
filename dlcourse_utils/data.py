"""Data for the lectures. The default path needs no network: it reads what lies inside the installed packages.

Sources: the digits of scikit-learn (E. Alpaydin and C. Kaynak, 1998, UCI "Optical Recognition of Handwritten Digits"),
photographs of scikit-image and scikit-learn, generated points; and, for those with a network, MNIST (LeCun, Cortes, Burges, 1998),
Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017) and CIFAR-10 (Krizhevsky, 2009) through torchvision.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import skimage.color
import skimage.data
import skimage.util
import sklearn.datasets
import torch
from numpy.typing import NDArray

Array = TypeVar("Array")
_Images = tuple[NDArray[Any], NDArray[Any]]

NAMES = ("digits", "mnist", "fashion-mnist", "cifar10")

#: The photographs that ship inside the wheels of scikit-image and scikit-learn.
PHOTOS = (
    "astronaut", "brick", "camera", "cat", "cell", "china", "clock", "coffee", "coins", "flower", "grass", "gravel",
    "horse", "hubble_deep_field", "immunohistochemistry", "microaneurysms", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip

#: Seconds without an answer after which a download counts as failed; a network that swallows packets must not hang a notebook.
_TIMEOUT = 20.0


class DataUnavailable(RuntimeError):
    """A data set is neither on this machine nor within reach; the message says what was tried and what to do."""


class Split(NamedTuple, Generic[Array]):
    """Inputs and labels to learn from, and inputs and labels to be judged on. It unpacks like a tuple of four."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array

    def torch(self, device: str | torch.device | None = None, dtype: torch.dtype = torch.float32) -> Split[torch.Tensor]:
        """The same split as tensors: inputs of ``dtype``, labels int64, on ``device`` (None: the CPU)."""
        return Split(
            torch.as_tensor(self.x_train, dtype=dtype, device=device),
            torch.as_tensor(self.y_train, dtype=torch.int64, device=device),
            torch.as_tensor(self.x_test, dtype=dtype, device=device),
            torch.as_tensor(self.y_test, dtype=torch.int64, device=device),
        )


def load(
    name: str = "digits",
    *,
    flat: bool = True,
    split: Literal["random", "tail"] = "random",
    test: int = 450,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
) -> Split[NDArray[Any]]:
    """Labelled images, split into a training and a test part.

    Args:
        name: ``digits`` (1797 images of 8x8, offline), ``mnist`` or ``fashion-mnist`` (70 000 of 28x28), ``cifar10`` (60 000 of 3x32x32).
        flat: True gives inputs of shape (N, C*H*W), False (N, C, H, W).
        split: ``random`` draws the test images by ``seed``; ``tail`` takes the last ones in file order. The digits stand in the order
            of their writers, so the tail is written by people the model has not seen: harder by 4 to 5 points of accuracy.
            Data sets that come with a test part of their own keep it; the test images are taken from that part.
        test: how many test images.
        seed: of the random split. The global generators stay as they are.
        root: folder of the downloaded sets; None means the environment variable ``DLCOURSE_DATA``, else ``./data``.

    Returns:
        Inputs float64 in [0, 1], labels int64 of shape (N,). CIFAR-10 takes 1.5 GB in this form.

    Raises:
        ValueError: no such name or split, or more test images than there are.
        DataUnavailable: the data set is not on this machine and could not be downloaded.
    """
    if name not in NAMES:
        raise ValueError(f"There is no data set {name!r}. There are: {', '.join(NAMES)}.")
    if split not in ("random", "tail"):
        raise ValueError(f"There is no split {split!r}. There are: random, tail.")
    if name == "digits":
        bunch = sklearn.datasets.load_digits()
        x, y = bunch.images[:, None], bunch.target
        order = _test_last(len(x), split, test, seed, spare=1)
        learn, judge, white = (x[order[:-test]], y[order[:-test]]), (x[order[-test:]], y[order[-test:]]), 16.0
    else:
        learn, (x, y) = _published(name, Path(root or os.environ.get("DLCOURSE_DATA") or "data"))
        chosen = _test_last(len(x), split, test, seed)[-test:]
        judge, white = (x[chosen], y[chosen]), 255.0
    return Split(*(part for x, y in (learn, judge) for part in (_inputs(x, white, flat), y.astype(np.int64))))


def booleans(n: int) -> NDArray[np.float64]:
    """Every row of ``n`` zeros and ones, counting upwards with the first column as the highest bit: shape (2**n, n)."""
    if not 1 <= n <= 20:
        raise ValueError(f"n={n}: choose 1 to 20 inputs; there are 2**n rows.")
    return ((np.arange(2**n)[:, None] >> np.arange(n)[::-1]) & 1).astype(np.float64)


def separable(n: int, d: int, *, margin: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points of two classes with a gap between them: some plane through the origin keeps every point at least ``margin`` away.

    The direction across the gap is drawn uniformly, the points are standard normal and then moved apart along it. Both classes occur.

    Returns:
        Points of shape (n, d) and labels -1 or +1 of shape (n,).

    Raises:
        ValueError: fewer than two points, no dimension, or a margin that is not positive.
    """
    if n < 2 or d < 1 or not margin > 0:
        raise ValueError(f"n={n}, d={d}, margin={margin}: it takes two points, one dimension and a margin above 0.")
    across = rng.normal(size=d)
    across /= np.linalg.norm(across)
    labels = rng.permutation(np.concatenate([[-1, 1], rng.choice([-1, 1], size=n - 2)]))
    points = rng.normal(size=(n, d))
    along = points @ across
    return points + np.outer(labels * (margin + np.abs(along)) - along, across), labels


def photo(name: str = "camera") -> NDArray[np.float64]:
    """A photograph in grey, shape (H, W), from 0 (black) to 1 (white).

    Raises:
        ValueError: no such photograph; the message lists ``PHOTOS``.
    """
    if name not in PHOTOS:
        raise ValueError(f"There is no photograph {name!r} inside the packages. There are: {', '.join(PHOTOS)}.")
    image = sklearn.datasets.load_sample_image(f"{name}.jpg") if name in ("china", "flower") else getattr(skimage.data, name)()
    grey = skimage.color.rgb2gray(image[..., :3]) if image.ndim == 3 else image
    return np.asarray(skimage.util.img_as_float(grey), dtype=np.float64).clip(0.0, 1.0)  # type: ignore[no-untyped-call]


def _test_last(n: int, split: str, test: int, seed: int, spare: int = 0) -> NDArray[np.int64]:
    """An order of ``n`` images in which the last ``test`` are the test images; ``spare`` must be left over for training."""
    if not 1 <= test <= n - spare:
        raise ValueError(f"test={test}: there is room for 1 to {n - spare} test images.")
    return np.random.default_rng(seed).permutation(n) if split == "random" else np.arange(n)


def _inputs(x: NDArray[Any], white: float, flat: bool) -> NDArray[np.float64]:
    """Pixels (N, C, H, W) from 0 to ``white`` as float64 in [0, 1], one row an image if ``flat``."""
    x = x.astype(np.float64) / white
    return x.reshape(len(x), -1) if flat else x


def _published(name: str, root: Path) -> tuple[_Images, _Images]:
    """The training and the test part of a data set of torchvision: pixels uint8 (N, C, H, W), labels (N,)."""
    from torchvision import datasets  # slow to import, and most notebooks do without

    kind = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}[name]
    parts = []
    for train in (True, False):
        try:
            with _patient_download():
                part = kind(root, train=train, download=True)
        except (OSError, RuntimeError, EOFError, ValueError) as error:  # what urllib, gzip and torchvision raise
            place = root / (f"{kind.__name__}/raw" if name != "cifar10" else "")
            files = [file for file, _ in kind.resources] if name != "cifar10" else [kind.filename]
            raise DataUnavailable(
                f"{name} could not be read from {place}, nor downloaded into it: {error}\n"
                f"Connect to the internet and run this again; or put {', '.join(files)} into {place}; or use data.load('digits'), which needs no network."
            ) from error
        x = np.asarray(part.data)
        parts.append((x.transpose(0, 3, 1, 2) if x.ndim == 4 else x[:, None], np.asarray(part.targets)))
    return parts[0], parts[1]


@contextlib.contextmanager
def _patient_download() -> Iterator[None]:
    """Bars of torchvision go to stdout, as nothing may reach stderr in a notebook; a silent server is given up on after ``_TIMEOUT``."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        with contextlib.redirect_stderr(sys.stdout):
            yield
    finally:
        socket.setdefaulttimeout(before)
