"""The device is the best there is, or the one that was asked for, or a clear refusal."""

from __future__ import annotations

import pytest
import torch

from dlcourse_utils import device


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine with the devices that a test gives it; a bare CPU at first."""
    monkeypatch.delenv("DLCOURSE_DEVICE", raising=False)

    def has(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    has()
    return has


@pytest.mark.parametrize(("there", "best"), [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 1}, "cuda"), ({"cuda": 1, "mps": True}, "cuda")])
def test_the_fastest_device_is_picked(machine, there, best):
    machine(**there)
    assert device.pick() == torch.device(best)


def test_the_environment_overrides_the_choice_and_an_argument_both(machine, monkeypatch):
    machine(cuda=2)
    monkeypatch.setenv("DLCOURSE_DEVICE", "cpu")
    assert device.pick() == torch.device("cpu")
    assert device.pick("cuda:1") == torch.device("cuda:1")


def test_an_empty_variable_is_no_choice(monkeypatch):
    monkeypatch.setenv("DLCOURSE_DEVICE", "")
    assert device.pick() == torch.device("cpu")


@pytest.mark.parametrize("asked", ["cuda", "mps", "cuda:3"])
def test_a_device_that_is_not_there_is_refused_with_what_is(machine, asked):
    machine(cuda=1 if asked == "cuda:3" else 0)
    with pytest.raises(device.DeviceUnavailable, match=rf"{asked}.*There is: .*cpu"):
        device.pick(asked)


@pytest.mark.parametrize("asked", ["gpu", "meta", "cuda:x"])
def test_a_misspelt_device_is_told_the_names(monkeypatch, asked):
    monkeypatch.setenv("DLCOURSE_DEVICE", asked)
    with pytest.raises(ValueError, match=f"DLCOURSE_DEVICE={asked}.*cpu"):
        device.pick()
