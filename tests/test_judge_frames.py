"""What comes from a student's process is read as plain data, or refused: nothing in a frame can crash the judge, hang it or take its memory."""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlcourse_utils.instructor.engine.judge import arrays
from dlcourse_utils.instructor.engine.judge.frames import MOST_BYTES, MOST_HEADER, Channel, FrameError, Gone, pack
from dlcourse_utils.instructor.engine.judge.shared import Shared
from dlcourse_utils.instructor.engine.judge.values import Reader, Writer

FAST = settings(max_examples=200, deadline=None)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.complex_numbers() | st.binary(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=12,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.sampled_from([*"ltszSdCRaxnicyDVLqEWhHGPmoFKM", "float32", "bool", "int64", "0x1f"]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=30,
)


def no_references(*_: Any) -> Any:
    raise FrameError("no references here")


def crossed(value: Any) -> Any:
    writer = Writer(Shared(), no_references)
    tree = json.loads(json.dumps(writer.write(value)))
    return Reader(Shared(), [memoryview(data) for data in writer.buffers], no_references).read(tree)


@FAST
@given(VALUES)
def test_plain_data_arrives_as_it_was(value):
    assert repr(crossed(value)) == repr(value)


@FAST
@given(hnp.arrays(st.sampled_from(list(arrays.NUMPY.values())), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)), st.data())
def test_an_array_keeps_values_dtype_and_layout(array, data):
    view = array.transpose(data.draw(st.permutations(range(array.ndim)))) if array.ndim else array
    view = view[::-1] if array.ndim and data.draw(st.booleans()) else view
    arrived = crossed(view)
    assert arrived.tobytes() == view.tobytes()
    assert (arrived.dtype, arrived.shape) == (view.dtype, view.shape)
    assert arrived.flags.c_contiguous == view.flags.c_contiguous


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.complex64, torch.int64])
def test_a_tensor_keeps_values_dtype_and_layout(dtype):
    tensor = torch.randint(0, 2, (3, 4, 2), generator=torch.Generator().manual_seed(0)).to(dtype)
    for view in (tensor, tensor.mT, tensor[:, 1], tensor[::2], tensor[:1].expand(5, 4, 2), tensor[0, 0, 0], tensor[:0]):
        arrived = crossed(view)
        assert type(arrived) is torch.Tensor
        assert arrived.dtype == dtype
        assert arrived.is_contiguous() == view.is_contiguous()
        assert torch.equal(arrived, view)


def test_what_lies_between_the_elements_of_a_view_does_not_cross():
    both = np.stack([np.arange(4.0), np.full(4, 77.0)], axis=1)
    writer = Writer(Shared(), no_references)
    writer.write(both[:, 0])
    assert not any(np.float64(77).tobytes() in data for data in writer.buffers)


@pytest.mark.parametrize("kind", ["csr_array", "coo_matrix", "dia_array", "lil_matrix"])
def test_a_sparse_matrix_arrives_as_it_was(kind):
    matrix = getattr(scipy.sparse, kind)(np.diag([1.0, 2.0, 0.0])[:2])
    arrived = crossed(matrix)
    assert type(arrived) is type(matrix)
    assert np.array_equal(arrived.toarray(), matrix.toarray())


@pytest.mark.parametrize("shape", [(10**9, 10**9), (-1, 2), (1, 2), (3,), 5, None])
def test_a_sparse_matrix_that_cannot_be_is_refused(shape):
    writer = Writer(Shared(), no_references)
    tree = ["W", "csr", True, *(writer.write(value) for value in (shape, np.ones(1), np.array([1]), np.array([2])))]
    with pytest.raises(FrameError):
        Reader(Shared(), [memoryview(data) for data in writer.buffers], no_references).read(tree)


class LyingFloat(float):
    def __eq__(self, other):
        return True

    __hash__ = float.__hash__


class LyingArray(np.ndarray):
    pass


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (LyingFloat(2.5), float),
        (np.ones(2).view(LyingArray), np.ndarray),
        (torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter),
        (torch.ones(2).as_subclass(type("Liar", (torch.Tensor,), {})), torch.Tensor),
        (type("Liar", (list,), {"__eq__": lambda self, other: True})([1]), list),
        (type("Liar", (int,), {"__eq__": lambda self, other: True})(3), int),
        (Counter("aab"), Counter),
        (np.float32(1.5), np.float32),
    ],
)
def test_a_subclass_arrives_as_its_base(value, base):
    assert type(crossed(value)) is base


@FAST
@given(JSON, st.lists(st.binary(max_size=40), max_size=3))
def test_no_tree_breaks_the_reader(tree, buffers):
    reader = Reader(Shared(), [memoryview(data) for data in buffers], no_references)
    try:
        reader.read(tree)
        reader.change(tree)
    except FrameError:
        pass


def drain(channel: Channel) -> None:
    while True:
        channel.receive(1.0)


@FAST
@given(st.binary(max_size=200))
def test_no_bytes_break_the_channel(data):
    here, there = socket.socketpair()
    with here, there:
        there.sendall(data)
        there.close()
        with pytest.raises((FrameError, Gone)):
            drain(Channel(here))


@pytest.mark.parametrize("sizes", [(MOST_HEADER + 1, 0, 0), (2, 2**60, 0), (2, 1, MOST_BYTES + 1), (2**63, 0, 0)], ids=["header", "count", "buffers", "huge"])
def test_a_frame_too_large_is_refused_before_it_is_read(sizes):
    here, there = socket.socketpair()
    with here, there:
        there.sendall(struct.pack("!QQQ", *sizes))
        with pytest.raises(FrameError):
            Channel(here).receive(5.0)


def test_a_frame_that_never_ends_is_given_up():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"".join(pack([1, 2], [b"abc"]))[:-1])
        with pytest.raises(Gone, match="in time"):
            Channel(here).receive(0.05)


def test_few_bytes_do_not_become_many_arrays():
    view = ["a", None, "float64", [[2**12, 2**12], [0, 0], 0]]  # 128 MiB, by eight bytes
    buffers = [memoryview(bytes(8))] * 3
    with pytest.raises(FrameError, match="more numbers"):
        Reader(Shared(), buffers, no_references).read(["l", *([*view, number, True] for number in range(3))])
    with pytest.raises(FrameError, match="not there"):
        Reader(Shared(), buffers, no_references).read(["l", [*view, 0, True], [*view, 0, True]])


@pytest.mark.parametrize(
    "tree",
    [
        ["a", None, "float64", [[10**9], [0], 0], 0, True],
        ["a", None, "float64", [[2], [8], 8], 0, True],
        ["a", None, "float64", [[2], [-8], 0], 0, True],
        ["a", None, "object", [[1], None, 0], 0, True],
        ["x", None, "float64", [[-1], None, 0], 0, False, False, None],
        ["x", None, "float64", [[1], None, 0], 5, False, False, None],
        ["d", [["l"], 1]],
        ["i", "0x" + "f" * 10**6],
    ],
)
def test_numbers_that_do_not_fit_their_bytes_are_refused(tree):
    with pytest.raises(FrameError):
        Reader(Shared(), [memoryview(b"12345678")], no_references).read(tree)


def test_nesting_and_number_of_values_are_bounded():
    deep: Any = 1
    for _ in range(500):
        deep = ["l", deep]
    with pytest.raises(FrameError):
        Reader(Shared(), [], no_references).read(deep)
    with pytest.raises(FrameError):
        Reader(Shared(), [], no_references).read(["l", *[0] * 1_000_001])
