"""Where tensors live: a CUDA GPU, Apple's MPS, or the CPU, whichever this machine has."""

from __future__ import annotations

import os

import torch

#: Set this environment variable to ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` to choose for every notebook at once.
VARIABLE = "DLCOURSE_DEVICE"


class DeviceUnavailable(RuntimeError):
    """The device that was asked for is not in this machine."""


def pick(prefer: str | torch.device | None = None) -> torch.device:
    """The device to compute on: ``prefer``, else ``DLCOURSE_DEVICE``, else the first there is of cuda, mps and cpu.

    Raises:
        ValueError: the name is not of the form ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        DeviceUnavailable: that device is not in this machine.
    """
    asked, source = (prefer, "prefer") if prefer is not None else (os.environ.get(VARIABLE) or None, VARIABLE)
    if asked is None:
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if _count(kind)))
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise ValueError(f"{source}={asked}: no such kind of device. Choose cpu, cuda, cuda:1 (the second GPU) or mps.") from None
    if device.type not in ("cuda", "mps", "cpu"):
        raise ValueError(f"{source}={asked}: the course runs on cpu, cuda and mps only. Choose one of them.")
    if (device.index or 0) >= _count(device.type):
        there = ", ".join(kind for kind in ("cuda", "mps", "cpu") if _count(kind))
        raise DeviceUnavailable(
            f"{source}={asked}: this machine has no such device that torch can use. There is: {there}. Choose that, or leave the choice to pick()."
        )
    return device


def _count(kind: str) -> int:
    """How many devices of a kind torch can use here."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return 1
