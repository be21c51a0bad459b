"""Trains the classifier behind ``dlcourse_utils.metrics`` and writes its weights: ``python -m dlcourse_utils.instructor.digits_cnn [FILE]``.

Run it again only when the classifier is meant to change: every Fréchet distance of lectures 07 to 09 changes with it.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from dlcourse_utils import data, metrics, training


def train(seed: int = 0) -> tuple[metrics.DigitsCNN, float]:
    """A classifier of the digits, on the CPU, and its accuracy on the test images."""
    training.seed_everything(seed)
    x_train, y_train, x_test, y_test = data.load("digits", flat=False).torch()
    model = metrics.DigitsCNN()
    training.fit(
        model, _smoothed, x_train, y_train, epochs=40, batch_size=64, seed=seed, device="cpu",
        optimizer=lambda weights: torch.optim.AdamW(weights, lr=1e-3, weight_decay=1e-2),
    )  # fmt: skip
    with torch.inference_mode():
        accuracy = (model.eval()(x_test).argmax(1) == y_test).double().mean().item()
    return model, accuracy


def _smoothed(logits: Tensor, labels: Tensor) -> Tensor:
    """Smoothed labels keep the features of one digit apart from each other: sure answers would pull them together into ten points."""
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


def main(target: Path) -> None:
    """Write the weights to ``target`` and say their checksum, which ``metrics.SHA256`` must hold."""
    model, accuracy = train()
    content = save({name: weight.contiguous() for name, weight in model.state_dict().items()})
    target.write_bytes(content)
    print(f"{target}: test accuracy {accuracy:.3f}, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "shipped" / metrics.WEIGHTS)
