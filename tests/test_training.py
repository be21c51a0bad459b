"""Training learns, repeats itself, stops when it should, and says what went wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlcourse_utils import training


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("DLCOURSE_DEVICE", "cpu")
    monkeypatch.delenv("DLCOURSE_PROGRESS", raising=False)


def line(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of y = 2x - 1."""
    x = torch.linspace(-1, 1, n)[:, None]
    return x, 2 * x - 1


def linear() -> nn.Linear:
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def sgd(rate: float):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def weights(model: nn.Module) -> list[float]:
    return torch.cat([p.detach().ravel() for p in model.parameters()]).tolist()


def test_fit_finds_the_line():
    model = linear()
    history = training.fit(model, F.mse_loss, *line(), epochs=60, batch_size=8, optimizer=sgd(0.3), progress=False)
    assert weights(model) == pytest.approx([2, -1], abs=1e-3)
    assert len(history.train_loss) == 60
    assert history.train_loss[-1] < 1e-5 < history.train_loss[0]
    assert history.validation_loss == []
    assert history.best_epoch == 59
    assert history.seconds > 0


def test_one_full_batch_step_is_the_textbook_step():
    model, (x, y) = linear(), line()
    history = training.fit(model, F.mse_loss, x, y, epochs=1, optimizer=sgd(0.1), progress=False)
    assert weights(model) == pytest.approx([0.1 * 2 * (x * y).mean().item(), 0.1 * 2 * y.mean().item()], rel=1e-5)
    assert history.train_loss == [pytest.approx((y**2).mean().item())]


def test_a_short_last_batch_counts_by_its_size():
    model, x = linear(), torch.ones(5, 1)
    y = torch.tensor([[1.0], [1.0], [1.0], [1.0], [3.0]])
    history = training.fit(model, F.mse_loss, x, y, epochs=1, batch_size=4, optimizer=sgd(0.0), progress=False)
    assert history.train_loss == [pytest.approx((4 * 1 + 9) / 5)]


def test_every_example_is_seen_once_an_epoch_in_an_order_of_the_seed():
    def orders(seed: int) -> list[list[float]]:
        seen: list[list[float]] = []

        def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            seen.append(y.ravel().tolist())
            return F.mse_loss(out, y)

        training.fit(linear(), loss, torch.zeros(10, 1), torch.arange(10.0)[:, None], epochs=2, batch_size=10, seed=seed, progress=False)
        return seen

    first = orders(1)
    assert [sorted(epoch) for epoch in first] == [list(range(10))] * 2
    assert first[0] != first[1]
    assert first == orders(1) != orders(2)


def test_shuffling_leaves_the_global_generator_alone():
    model, before = linear(), torch.get_rng_state()
    training.fit(model, F.mse_loss, *line(), epochs=3, batch_size=8, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_numpy_data_takes_the_dtype_of_the_model():
    x, y = (part.numpy().astype(np.float64) for part in line())
    model = linear()
    training.fit(model, F.mse_loss, x, y, epochs=1, validation=(x, y), progress=False)
    assert model.weight.dtype == torch.float32


def test_labels_stay_integers():
    training.fit(nn.Linear(2, 3), F.cross_entropy, np.random.default_rng(0).normal(size=(6, 2)), np.arange(6) % 3, epochs=1, progress=False)


def test_early_stopping_restores_the_best_weights():
    """The validation targets lie half-way to the training targets, so the loss on them falls and then rises."""
    x, y = line()
    model = linear()
    history = training.fit(model, F.mse_loss, x, y, epochs=500, optimizer=sgd(0.05), validation=(x, y / 2), patience=4, progress=False)
    assert len(history.validation_loss) == history.best_epoch + 1 + 4
    assert history.validation_loss[history.best_epoch] == min(history.validation_loss)
    with torch.no_grad():
        assert F.mse_loss(model(x), y / 2).item() == pytest.approx(min(history.validation_loss), rel=1e-5)


def test_without_patience_the_last_weights_stay():
    x, y = line()
    model = linear()
    history = training.fit(model, F.mse_loss, x, y, epochs=100, optimizer=sgd(0.3), validation=(x, y / 2), progress=False)
    assert len(history.validation_loss) == 100
    assert history.best_epoch < 99
    with torch.no_grad():
        assert F.mse_loss(model(x), y / 2).item() == pytest.approx(history.validation_loss[-1], rel=1e-5)


def test_training_and_validation_run_in_their_modes_and_the_mode_is_given_back():
    class Spy(nn.Linear):
        modes: list[bool]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.modes.append(self.training)
            return super().forward(x)

    model = Spy(1, 1)
    model.modes = []
    model.eval()
    training.fit(model, F.mse_loss, *line(), epochs=2, validation=line(), progress=False)
    assert model.modes == [True, False, True, False]
    assert not model.training


def test_an_optimizer_that_is_given_is_the_one_that_steps():
    model = linear()
    optimizer = torch.optim.SGD([model.bias], lr=0.1)
    training.fit(model, F.mse_loss, *line(), epochs=3, optimizer=optimizer, progress=False)
    slope, intercept = weights(model)
    assert slope == 0
    assert intercept < 0


def test_a_loss_that_explodes_names_the_learning_rate_and_gives_the_mode_back():
    model = linear().eval()
    with pytest.raises(training.TrainingDiverged, match=r"Lower the learning rate \(it is 1000\)"):
        training.fit(model, F.mse_loss, *line(), epochs=100, optimizer=sgd(1000.0), progress=False)
    assert not model.training


def test_a_validation_loss_that_is_no_number_is_told_apart():
    x, y = line()
    with pytest.raises(training.TrainingDiverged, match="validation loss became nan in epoch 1"):
        training.fit(linear(), F.mse_loss, x, y, epochs=2, validation=(x, y * float("nan")), progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": torch.zeros(3, 1)}, "40 inputs and 3 targets"),
        ({"x": torch.zeros(0, 1), "y": torch.zeros(0, 1)}, "0 inputs"),
        ({"epochs": 0}, "at least 1"),
        ({"batch_size": 0}, "at least 1"),
        ({"patience": 0, "validation": line()}, "at least 1"),
        ({"patience": 3}, "needs validation"),
    ],
)
def test_bad_arguments_are_refused_before_training(changes, message):
    x, y = line()
    with pytest.raises(ValueError, match=message):
        training.fit(linear(), F.mse_loss, **{"x": x, "y": y, "epochs": 1, "progress": False} | changes)


def test_seeding_repeats_python_numpy_and_torch():
    def draw() -> tuple[float, float, float]:
        training.seed_everything(7)
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    assert draw() == draw()


def test_the_bar_is_on_stdout_and_gone_at_the_end(capsys):
    assert list(training.progress(range(3), "epochs")) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert err == ""
    assert "epochs" in out
    assert out.rsplit("\r", 2)[-2].strip() == ""


def test_the_bar_can_be_silenced(capsys, monkeypatch):
    monkeypatch.setenv("DLCOURSE_PROGRESS", "off")
    assert list(training.progress(range(3), "epochs")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_fit_shows_its_bar_only_when_asked(capsys):
    training.fit(linear(), F.mse_loss, *line(), epochs=2, progress=False)
    assert capsys.readouterr().out == ""
    training.fit(linear(), F.mse_loss, *line(), epochs=2)
    assert "0/2" in capsys.readouterr().out
