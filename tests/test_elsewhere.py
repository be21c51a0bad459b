"""The pretended device refuses what a real one refuses, and lets pass what a real one lets pass."""

from __future__ import annotations

import elsewhere
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dlcourse_utils import data, device


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch):
    with elsewhere.pretend(monkeypatch):
        yield device.pick()


def test_what_is_moved_says_so_and_what_stays_does_not(away: torch.device):
    here = torch.ones(3)
    there = here.to(away)
    assert (here.device.type, there.device.type, there.cpu().device.type) == ("cpu", "cuda", "cpu")
    assert (there * 2).sum().device == (there[:2].mT if there.ndim == 2 else there[:2]).device == away
    assert data.load("digits").torch(away).x_test.device == away


def test_the_two_places_do_not_mix(away: torch.device):
    there = torch.ones(3, device=away)
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        nn.Linear(3, 2)(there)
    with pytest.raises(TypeError, match=r"\.cpu\(\)"):
        there.numpy()
    assert (there + torch.tensor(1.0)).device == away  # a single number may come from the CPU


def test_an_index_may_come_from_the_cpu_and_not_the_other_way_round(away: torch.device):
    there, order = torch.arange(4.0, device=away), torch.tensor([2, 0])
    assert there[order].device == away
    with pytest.raises(RuntimeError, match="same device"):
        torch.arange(4.0).index_select(0, order.to(away))


def test_a_generator_draws_for_its_own_place(away: torch.device):
    gen = torch.Generator(away).manual_seed(1)
    assert torch.randn(2, generator=gen, device=gen.device).device == away
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(2, generator=gen)
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(2, generator=torch.Generator(), device=away)


@pytest.mark.parametrize("fused", [False, True])
def test_a_network_learns_there(away: torch.device, fused: bool):
    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)).to(away), torch.randn(8, 3, device=away)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    losses = []
    for _ in range(20):
        loss = F.mse_loss(model(x), x[:, :1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(p.device == away for p in model.parameters())
