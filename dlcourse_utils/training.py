"""Training: seeds, progress bars, and one loop for every model of the course."""

from __future__ import annotations

import copy
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from tqdm.auto import tqdm

from dlcourse_utils import device as devices

Item = TypeVar("Item")
Loss = Callable[[Tensor, Tensor], Tensor]
Data = Tensor | ArrayLike

#: Set this environment variable to ``off`` and no bar is drawn: for notebooks that are executed to be kept.
VARIABLE = "DLCOURSE_PROGRESS"


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number."""


@dataclass
class History:
    """What a training run was like.

    Attributes:
        train_loss: mean loss over the training examples, one value an epoch, measured while the weights move.
        validation_loss: loss on the validation examples after each epoch; empty without them.
        best_epoch: index, from 0, of the epoch whose weights the model has now if it stopped early; the one of lowest
            validation loss, or the last one where nothing was validated.
        seconds: wall-clock time.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (every device), so that a run can be repeated."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def progress(items: Iterable[Item], desc: str = "", total: int | None = None) -> Iterator[Item]:
    """Go through ``items`` under a progress bar that vanishes at the end. It never writes to stderr, where a test cell would lose its points.

    A notebook shows a widget, a terminal a line of text, and ``DLCOURSE_PROGRESS=off`` nothing.
    """
    bar = tqdm(items, desc=desc, total=total, leave=False, file=sys.stdout, dynamic_ncols=True, disable=os.environ.get(VARIABLE) == "off")
    return _walk(bar)


def _walk(bar: tqdm) -> Iterator[Item]:
    try:
        yield from bar
    finally:  # left half-way, by an error or a break, it vanishes too
        bar.total = bar.n
        bar.close()


_bar = progress  # in ``fit`` an argument has that name


def fit(
    model: nn.Module,
    loss: Loss,
    x: Data,
    y: Data,
    *,
    epochs: int,
    batch_size: int | None = None,
    optimizer: Optimizer | Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
    validation: tuple[Data, Data] | None = None,
    patience: int | None = None,
    seed: int = 0,
    progress: bool = True,
    device: str | torch.device | None = None,
) -> History:
    """Train ``model`` in place by gradient descent and say how it went.

    Args:
        model: moved to ``device``, with the data; its train or eval mode is as before afterwards.
        loss: ``loss(model(x), y)`` is the mean loss of a batch, a scalar.
        x: inputs, shape (N, ...). Floating-point data takes the model's dtype.
        y: targets, shape (N, ...).
        epochs: how often every example is seen.
        batch_size: None takes all examples at once.
        optimizer: one that holds the model's parameters, or a callable that makes one of them; None is Adam at 1e-3.
        validation: inputs and targets to measure after every epoch.
        patience: stop after this many epochs without a lower validation loss, and restore the weights that had the lowest.
        seed: of the order of the batches, drawn from a generator of its own: the global ones are not touched.
        progress: show a bar over the epochs.
        device: None is ``device.pick()``.

    Raises:
        ValueError: the sizes do not fit, or patience comes without validation data.
        TrainingDiverged: the loss became infinite or not a number.
    """
    where = devices.pick(device)
    model.to(where)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    x, y = _tensor(x, where, dtype), _tensor(y, where, dtype)
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"There are {len(x)} inputs and {len(y)} targets. There must be one target an input, and at least one of each.")
    if epochs < 1 or (batch_size is not None and batch_size < 1) or (patience is not None and patience < 1):
        raise ValueError(f"epochs={epochs}, batch_size={batch_size}, patience={patience}: each must be at least 1.")
    if patience is not None and validation is None:
        raise ValueError("patience needs validation=(inputs, targets): early stopping watches the loss on examples that are not trained on.")
    held_out = None if validation is None else tuple(_tensor(part, where, dtype) for part in validation)
    if optimizer is None:
        optimizer = Adam(model.parameters(), lr=1e-3)
    elif not isinstance(optimizer, Optimizer):
        optimizer = optimizer(model.parameters())

    history, best, best_weights = History(), math.inf, None
    generator = torch.Generator().manual_seed(seed)
    was_training, start = model.training, time.perf_counter()
    try:
        for epoch in _bar(range(epochs), "epochs") if progress else range(epochs):
            history.train_loss.append(_epoch(model, loss, x, y, batch_size or len(x), optimizer, generator, epoch))
            if held_out is None:
                history.best_epoch = epoch
                continue
            model.eval()
            with torch.no_grad():
                value = loss(model(held_out[0]), held_out[1]).item()
            _must_be_finite(value, "validation loss", epoch, optimizer)
            history.validation_loss.append(value)
            if value < best:
                best, history.best_epoch = value, epoch
                best_weights = copy.deepcopy(model.state_dict()) if patience is not None else None
            elif patience is not None and epoch - history.best_epoch >= patience:
                break
        if best_weights is not None:
            model.load_state_dict(best_weights)
    finally:
        model.train(was_training)
        history.seconds = time.perf_counter() - start
    return history


def _epoch(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, batch_size: int, optimizer: Optimizer, generator: torch.Generator, epoch: int) -> float:
    """One pass over the examples in a fresh order; the mean loss."""
    model.train()
    total = 0.0
    for batch in torch.split(torch.randperm(len(x), generator=generator).to(x.device), batch_size):
        optimizer.zero_grad()
        value = loss(model(x[batch]), y[batch])
        number = value.item()
        _must_be_finite(number, "loss", epoch, optimizer)
        torch.autograd.backward(value)
        optimizer.step()
        total += number * len(batch)
    return total / len(x)


def _must_be_finite(value: float, what: str, epoch: int, optimizer: Optimizer) -> None:
    if not math.isfinite(value):
        rate = optimizer.param_groups[0]["lr"]
        raise TrainingDiverged(
            f"The {what} became {value} in epoch {epoch + 1}. Lower the learning rate (it is {float(rate):g}), or look for a log or a division of 0."
        )


def _tensor(data: Data, device: torch.device, dtype: torch.dtype) -> Tensor:
    tensor = torch.as_tensor(data)
    return tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)
