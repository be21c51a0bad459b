"""Data sets load offline, split as they say, and say what to do when they are out of reach."""

from __future__ import annotations

import io
import pickle
import urllib.error
from pathlib import Path

import numpy as np
import published
import pytest
import sklearn.datasets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import datasets

from dlcourse_utils import data


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every address is unreachable, as on a train."""

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.delenv("DLCOURSE_DATA", raising=False)


def write_mnist(folder: Path, kind: type[datasets.MNIST], monkeypatch) -> None:
    """Six training and four test images; image i is filled with i * 51 and has label i."""
    filled = np.repeat(np.arange(6) * 51, 28 * 28).astype(np.uint8).reshape(6, 28, 28)
    labels = np.arange(6, dtype=np.uint8)
    published.write_mnist(folder, kind, monkeypatch, {"train": (filled, labels), "t10k": (filled[:4], labels[:4])})


def write_cifar(folder: Path, monkeypatch) -> None:
    """Two training batches of two images and a test batch of three in CIFAR-10's own format; red is 255, green 51, blue the row."""
    folder.mkdir(parents=True)
    sums = {}
    for name, n in (("data_batch_1", 2), ("data_batch_2", 2), ("test_batch", 3)):
        planes = np.stack([np.full((32, 32), 255), np.full((32, 32), 51), np.repeat(np.arange(32), 32).reshape(32, 32)])
        pixels = np.tile(planes.astype(np.uint8).ravel(), (n, 1))
        content = pickle.dumps({"data": pixels, "labels": list(range(n))})
        (folder / name).write_bytes(content)
        sums[name] = published.md5(content)
    meta = pickle.dumps({"label_names": ["aeroplane", "car", "bird"]})
    (folder / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, sums[name]] for name in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": published.md5(meta)})


def test_digits_are_1797_images_between_0_and_1():
    x_train, y_train, x_test, y_test = data.load("digits")
    assert (x_train.shape, x_test.shape) == ((1347, 64), (450, 64))
    assert (y_train.shape, y_test.shape) == ((1347,), (450,))
    assert x_train.dtype == np.float64
    assert y_train.dtype == np.int64
    assert (x_train.min(), x_train.max()) == (0.0, 1.0)
    assert set(y_test) == set(range(10))


def test_images_keep_their_rows_and_columns_when_not_flat():
    square, flat = data.load("digits", flat=False), data.load("digits")
    assert square.x_train.shape == (1347, 1, 8, 8)
    np.testing.assert_array_equal(square.x_train.reshape(1347, 64), flat.x_train)


def test_tail_split_keeps_the_end_of_the_file_for_testing():
    split, file = data.load("digits", split="tail", test=100), sklearn.datasets.load_digits()
    np.testing.assert_array_equal(split.x_test, file.data[-100:] / 16)
    np.testing.assert_array_equal(split.y_train, file.target[:-100])


@given(seed=st.integers(0, 2**31), test=st.integers(1, 1796))
@settings(max_examples=20, deadline=None)
def test_random_split_uses_every_digit_exactly_once(seed, test):
    split = data.load("digits", seed=seed, test=test)
    assert len(split.x_test) == len(split.y_test) == test
    file = sklearn.datasets.load_digits()
    used = np.column_stack([np.concatenate([split.x_train, split.x_test]), np.concatenate([split.y_train, split.y_test])])
    file_rows = np.column_stack([file.data / 16, file.target])
    np.testing.assert_array_equal(used[np.lexsort(used.T)], file_rows[np.lexsort(file_rows.T)])


def test_random_split_depends_on_the_seed_alone_and_leaves_the_global_generator():
    before = np.random.get_state()[1].copy()
    first, again, other = (data.load("digits", seed=seed).y_test for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_split_turns_into_tensors():
    split = data.load("digits").torch()
    assert [part.dtype for part in split] == [torch.float32, torch.int64, torch.float32, torch.int64]
    assert data.load("digits").torch(dtype=torch.float64).x_test.dtype == torch.float64


@pytest.mark.parametrize(("name", "kind"), [("mnist", datasets.MNIST), ("fashion-mnist", datasets.FashionMNIST)])
def test_mnist_is_read_from_its_own_files(tmp_path, monkeypatch, capsys, name, kind):
    write_mnist(tmp_path / kind.__name__ / "raw", kind, monkeypatch)
    split = data.load(name, root=tmp_path, test=2, split="tail", flat=False)
    assert (split.x_train.shape, split.x_test.shape) == ((6, 1, 28, 28), (2, 1, 28, 28))
    np.testing.assert_allclose(split.x_train[:, 0, 3, 5], [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_array_equal(split.y_test, [2, 3])
    assert capsys.readouterr().err == ""


def test_cifar10_is_read_from_its_own_files_with_channels_first(tmp_path, monkeypatch):
    write_cifar(tmp_path / "cifar-10-batches-py", monkeypatch)
    monkeypatch.setenv("DLCOURSE_DATA", str(tmp_path))
    split = data.load("cifar10", test=3, split="tail", flat=False)
    assert (split.x_train.shape, split.x_test.shape) == ((4, 3, 32, 32), (3, 3, 32, 32))
    np.testing.assert_allclose(split.x_test[0, :, 9, 7], [1, 0.2, 9 / 255])
    np.testing.assert_array_equal(split.y_train, [0, 1, 0, 1])


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_without_network_or_files_the_message_says_what_to_do(tmp_path, capsys, name):
    with pytest.raises(data.DataUnavailable, match="no route to host") as caught:
        data.load(name, root=tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "Connect to the internet" in message
    assert ".gz" in message
    assert "data.load('digits')" in message
    assert capsys.readouterr().err == ""


def test_a_download_keeps_its_bar_off_stderr_and_is_kept(tmp_path, monkeypatch, capsys):
    write_mnist(tmp_path / "server", datasets.MNIST, monkeypatch)

    class Answer(io.BytesIO):
        url, length = None, None

    def serve(request):
        return Answer((tmp_path / "server" / request.full_url.rsplit("/", 1)[-1]).read_bytes())

    with monkeypatch.context() as online:
        online.setattr("urllib.request.urlopen", serve)
        assert len(data.load("mnist", root=tmp_path / "home", test=4).x_train) == 6
    assert capsys.readouterr().err == ""
    assert len(data.load("mnist", root=tmp_path / "home", test=4).x_train) == 6


def test_a_spoiled_file_is_not_taken_for_data(tmp_path, monkeypatch):
    folder = tmp_path / "MNIST" / "raw"
    write_mnist(folder, datasets.MNIST, monkeypatch)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"an error page")
    with pytest.raises(data.DataUnavailable, match="t10k-labels"):
        data.load("mnist", root=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "imagenet"}, "digits, mnist, fashion-mnist, cifar10"),
        ({"split": "middle"}, "random, tail"),
        ({"test": 1797}, "1 to 1796"),
        ({"test": 0}, "1 to 1796"),
    ],
)
def test_bad_arguments_are_told_what_there_is(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.load(**arguments)


@given(n=st.integers(1, 8))
def test_booleans_count_in_binary(n):
    rows = data.booleans(n)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows @ 2 ** np.arange(n)[::-1], np.arange(2**n))


@given(n=st.integers(2, 60), d=st.integers(1, 9), margin=st.floats(1e-3, 10), seed=st.integers(0, 2**32))
def test_separable_points_have_the_margin_they_promise(n, d, margin, seed):
    points, labels = data.separable(n, d, margin=margin, rng=np.random.default_rng(seed))
    across = np.random.default_rng(seed).normal(size=d)  # the first thing drawn
    distances = labels * (points @ across) / np.linalg.norm(across)
    assert points.shape == (n, d)
    assert set(labels.tolist()) == {-1, 1}
    assert distances.min() >= margin * (1 - 1e-9)


def test_even_two_separable_points_are_of_two_classes():
    labels = [data.separable(2, 3, margin=0.1, rng=np.random.default_rng(seed))[1] for seed in range(20)]
    assert (np.sum(labels, axis=1) == 0).all()
    assert len({tuple(pair) for pair in labels}) == 2


@pytest.mark.parametrize("arguments", [{"n": 1}, {"d": 0}, {"margin": 0.0}, {"margin": float("nan")}])
def test_separable_refuses_what_cannot_be(arguments):
    with pytest.raises(ValueError, match="margin"):
        data.separable(**{"n": 4, "d": 2, "margin": 0.1} | arguments, rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", data.PHOTOS)
def test_every_photograph_lies_inside_the_packages(name):
    image = data.photo(name)
    assert image.ndim == 2
    assert image.dtype == np.float64
    assert 0 <= image.min() < image.max() <= 1


def test_an_unknown_photograph_is_answered_with_the_list():
    with pytest.raises(ValueError, match="camera"):
        data.photo("eagle")
