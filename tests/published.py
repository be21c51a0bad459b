"""Published data sets in their own file formats, made up on the spot: what an experiment gets when it is given another data set."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from numpy.typing import NDArray
from torchvision import datasets


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def write_mnist(
    folder: Path, kind: type[datasets.MNIST], monkeypatch: pytest.MonkeyPatch, parts: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> None:
    """Write images of 28x28, shape (N, 28, 28), and labels, shape (N,), as MNIST's files; ``parts`` are ``train`` and ``t10k``."""
    folder.mkdir(parents=True)
    sums = []
    for part, (images, labels) in parts.items():
        for name, content in (
            (f"{part}-images-idx3-ubyte.gz", struct.pack(">4i", 0x803, len(images), 28, 28) + images.tobytes()),
            (f"{part}-labels-idx1-ubyte.gz", struct.pack(">2i", 0x801, len(labels)) + labels.tobytes()),
        ):
            packed = gzip.compress(content, 1)
            (folder / name).write_bytes(packed)
            sums.append((name, md5(packed)))
    monkeypatch.setattr(kind, "resources", sums)


def offer_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch, train: int = 150, test: int = 450) -> str:
    """Let ``data.load`` find an MNIST of scikit-learn's digits, three times enlarged, in ``folder``; its name."""
    file = sklearn.datasets.load_digits()
    images = np.pad(np.kron(file.images[: train + test] * 15.9, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    labels = file.target[: train + test].astype(np.uint8)
    parts = {"train": (images[:train], labels[:train]), "t10k": (images[train:], labels[train:])}
    write_mnist(folder / "MNIST" / "raw", datasets.MNIST, monkeypatch, parts)
    monkeypatch.setenv("DLCOURSE_DATA", str(folder))
    return "mnist"
