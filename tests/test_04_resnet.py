"""Lecture 04: its experiments hold on seeds that they were not tuned on, its parts equal those of torch and torchvision, and what it teaches is true."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import elsewhere
import numpy as np
import pytest
import torch
import torchvision
from seeds import fresh_seeds
from torch import nn

from dlcourse_utils import data, device, training
from dlcourse_utils.instructor import course, runner

#: Errata of the inventory that this lecture has to treat.
ERRATA = {"E17", "E26", "E43"}


@pytest.fixture(scope="module")
def lecture() -> course.Lecture:
    return course.lectures(course.find_root(), ["04"])[0]


@pytest.fixture(scope="module")
def names(lecture: course.Lecture) -> dict[str, Any]:
    return runner.namespace(lecture, ["experiment-degradation", "experiment-depth", "experiment-bn-only", "experiment-probes", "widget-gradients"])


@pytest.fixture(autouse=True, scope="module")
def no_bars() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLCOURSE_PROGRESS", "off")
        yield


# --- the experiments' bands, as the notebook states them ---


@fresh_seeds
def test_the_deep_plain_network_has_the_higher_training_error_and_the_residual_one_trains(names: dict[str, Any], seed: int) -> None:
    train = {name: run["train"] for name, run in names["degradation_experiment"](seed).items()}
    assert train["plain, 32 layers"] - train["plain, 4 layers"] >= 0.15
    assert train["residual, 32 layers"] <= 0.15


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["as MNIST", "as CIFAR-10"])
def test_larger_images_are_made_grey_and_learnt_from(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    x, y = np.random.default_rng(0).random((40, *shape)), np.arange(40) % 10
    monkeypatch.setattr(data, "load", lambda name, **_: data.Split(x[:20], y[:20], x[20:], y[20:]))
    split = names["images"]("larger", limit=15)
    assert split.x_train.shape == (15, 1, *shape[1:])
    assert split.x_test.shape == (20, 1, *shape[1:])
    assert set(names["degradation_experiment"](0, split)) == {"plain, 4 layers", "plain, 32 layers", "residual, 32 layers"}
    assert names["plain_or_res"](8)(split.x_test).shape == (20, 10)


@fresh_seeds
def test_with_batch_norm_too_only_the_residual_network_trains_and_its_batch_norm_needs_the_running_averages(names: dict[str, Any], seed: int) -> None:
    runs = names["depth_experiment"](seed)
    modes = runs.pop("modes")
    last = {name: run["loss"][-1] for name, run in runs.items()}
    assert last["plain, 32 layers"] - last["plain, 14 layers"] >= 0.5
    assert last["residual, 32 layers"] <= 0.25 * last["plain, 32 layers"]
    assert modes["evaluation mode"] >= 0.94
    assert modes["training mode, one kind a batch"] <= 0.6
    assert modes["no normalisation"] <= 0.7


@fresh_seeds
def test_scales_and_shifts_beat_as_many_weights_but_not_a_linear_classifier(names: dict[str, Any], seed: int) -> None:
    runs = names["bn_only_experiment"](seed)
    accuracy = {name: run["accuracy"] for name, run in runs.items()}
    assert [run["parameters"] for run in runs.values()] == [480, 480, 650, 650]
    assert accuracy["scales and shifts"] >= 0.75
    assert accuracy["scales and shifts"] - accuracy["as many random weights"] >= 0.1
    assert accuracy["linear, on pixels"] >= accuracy["scales and shifts"]


@fresh_seeds
def test_probes_rise_with_depth_in_the_trained_network_and_fall_in_the_random_one(names: dict[str, Any], seed: int) -> None:
    found = names["probe_experiment"](seed)
    trained, random = found["trained"], found["random"]
    assert trained[-1] - trained[0] >= 0.1
    assert random[-1] - random[0] <= -0.03
    assert trained[-1] - random[-1] >= 0.3
    assert random[0] - found["pixels"][0] >= 0.15


def test_gradients_explode_in_the_plain_network_only_as_the_last_section_says(names: dict[str, Any]) -> None:
    first_to_last = {residual: (norms := names["gradient_norms"](56, residual, True))[0] / norms[-1] for residual in (False, True)}
    assert 3e2 <= first_to_last[False] <= 1e4
    assert 0.1 <= first_to_last[True] <= 10
    without = {residual: np.array(names["gradient_norms"](56, residual, False)) for residual in (False, True)}
    assert without[False].max() < 1e-3
    assert without[True].min() > 10


@pytest.mark.parametrize("experiment", ["degradation", "depth", "bn_only", "probe"])
def test_the_experiments_run_on_any_device(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, experiment: str) -> None:
    monkeypatch.setattr(training, "progress", lambda rounds, desc: itertools.islice(rounds, 2))
    with elsewhere.pretend(monkeypatch):
        monkeypatch.setitem(names, "where", device.pick())
        split = data.Split(*(part[:64] for part in names["digits"])).torch(device.pick())
        assert names[f"{experiment}_experiment"](0, split)


# --- equal to the field's own code ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_norm_is_that_of_torch_over_training_and_evaluation(names: dict[str, Any], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    own, field = names["BatchNorm2d"](4, eps=1e-3, momentum=0.2).to(dtype), nn.BatchNorm2d(4, eps=1e-3, momentum=0.2).to(dtype)
    for learning in (True, True, True, False):
        own.train(learning)
        field.train(learning)
        x = 3 + 2 * torch.randn(5, 4, 3, 6, generator=generator, dtype=dtype)
        torch.testing.assert_close(own(x), field(x))
        torch.testing.assert_close(own.running_mean, field.running_mean)
        torch.testing.assert_close(own.running_var, field.running_var)


def test_the_backward_pass_of_batch_norm_is_that_of_autograd(names: dict[str, Any]) -> None:
    x, g = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    norm = nn.BatchNorm1d(3, eps=0.1).double()
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(3))
    x.requires_grad_()
    want = torch.autograd.grad(norm(x), (x, norm.weight, norm.bias), g)
    got = names["bn_backward"](g, x.detach(), norm.weight.detach(), 0.1)
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(got[0].sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("cin", "cout", "stride"), [(6, 6, 1), (4, 8, 2), (5, 5, 2), (3, 7, 1)])
def test_a_block_is_that_of_torchvision_on_the_same_weights(names: dict[str, Any], cin: int, cout: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(4)
    own = names["BasicBlock"](cin, cout, stride).double()
    downsample = None if isinstance(own.shortcut, nn.Identity) else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))
    field = torchvision.models.resnet.BasicBlock(cin, cout, stride, downsample).double()
    for value in own.parameters():
        nn.init.normal_(value, std=0.3, generator=generator)
    renamed = {name.replace("shortcut", "downsample"): value for name, value in own.state_dict().items()}
    counters = {name: value for name, value in field.state_dict().items() if name.endswith("num_batches_tracked")}
    field.load_state_dict(renamed | counters)
    for learning in (True, False):
        own.train(learning)
        field.train(learning)
        x = torch.randn(2, cin, 7, 6, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(own(x), field(x))


def test_resnet34_is_that_of_torchvision_layer_by_layer(names: dict[str, Any]) -> None:
    with torch.device("meta"):
        field = torchvision.models.resnet34()
    layers = [
        ("fc", m.in_features, m.out_features, 1)
        if isinstance(m, nn.Linear)
        else (f"{m.kernel_size[0]}x{m.kernel_size[0]}", m.in_channels, m.out_channels, m.stride[0])
        for m in field.modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    assert names["resnet34_spec"]() == layers
    assert names["count"](layers) == sum(p.numel() for p in field.parameters()) == 21_797_672
    assert names["count"]([layer for layer in layers if layer[0] == "1x1"]) == 173_824


@pytest.mark.parametrize("depth", [8, 14, 56])
def test_plain_and_residual_networks_have_equal_parameters_and_as_many_layers_as_they_say(names: dict[str, Any], depth: int) -> None:
    plain, residual = (names["plain_or_res"](depth, 8, flag) for flag in (False, True))
    assert [p.shape for p in plain.parameters()] == [p.shape for p in residual.parameters()]
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in residual.modules()) == depth


# --- facts ---


def test_the_paths_through_residual_blocks_are_the_binomials_and_the_long_product_is_one_of_them() -> None:
    rng = np.random.default_rng(0)
    J = rng.normal(size=(5, 4, 4))
    product, by_length = np.eye(4), [np.zeros((4, 4)) for _ in range(6)]
    for block in J:
        product = (np.eye(4) + block) @ product
    for chosen in range(2**5):
        path = np.eye(4)
        for k in range(5):
            path = J[k] @ path if chosen >> k & 1 else path
        by_length[chosen.bit_count()] += path
    np.testing.assert_allclose(sum(by_length), product)
    np.testing.assert_allclose(by_length[5], J[4] @ J[3] @ J[2] @ J[1] @ J[0])
    assert [sum(chosen.bit_count() == k for chosen in range(2**5)) for k in range(6)] == [math.comb(5, k) for k in range(6)]


def test_grouped_convolutions_have_as_many_weights_as_the_text_says(lecture: course.Lecture) -> None:
    assert nn.Conv2d(128, 128, 3, groups=32, bias=False).weight.numel() == 4608
    assert nn.Conv2d(128, 128, 3, bias=False).weight.numel() == 147_456
    text = lecture.source.read_text(encoding="utf-8")
    assert "4608" in text
    assert r"147\,456" in text


def test_the_bias_before_a_batch_norm_changes_nothing(names: dict[str, Any]) -> None:
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    norm = names["BatchNorm2d"](3).double()
    torch.testing.assert_close(norm(x), norm(x + torch.tensor([1.0, -7.0, 3.0])[:, None, None]))


def test_a_normalised_gradient_is_at_right_angles_to_the_normalised_values(names: dict[str, Any]) -> None:
    x, g = torch.randn(2, 8, 2, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    gx, _, _ = names["bn_backward"](g, x, torch.ones(2, dtype=torch.float64), 0.0)
    torch.testing.assert_close(((x - x.mean(0)) * gx).sum(0), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


def test_every_erratum_of_this_lecture_is_treated_once_where_a_student_reads_it(lecture: course.Lecture) -> None:
    text = "\n".join(cell.source for cell in lecture.notebook.cells if course.role(cell) == "text")
    assert sorted(re.findall(r"erratum (E\d\d)\)", text)) == sorted(ERRATA)


def test_the_exercises_are_those_of_the_curriculum_and_the_title_adds_them_up(lecture: course.Lecture) -> None:
    ids = ["batch_norm2d", "bn_backward", "basic_block", "plain_or_res", "resnet34_spec", "count", "dense_concat", "freeze_all_but_bn"]
    assert [exercise.id for exercise in lecture.exercises] == ids
    assert sum(exercise.points for exercise in lecture.exercises) == 25
    assert f"exercises: {sum(exercise.minutes for exercise in lecture.exercises)} minutes, 25 points" in lecture.notebook.cells[0].source
