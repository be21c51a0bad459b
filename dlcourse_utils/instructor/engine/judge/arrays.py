"""Arrays and tensors as raw bytes with dtype, shape and layout, and back as exact base types.

The layout in memory is kept, for an answer that forgets about it is to be found out; what lies between the elements is not sent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from dlcourse_utils.instructor.engine.judge.frames import MOST_BYTES, Buffer, FrameError

NUMPY = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
_TORCH = {name: getattr(torch, name) for name in NUMPY} | {"bfloat16": torch.bfloat16}
_TORCH_NAMES = {dtype: name for name, dtype in _TORCH.items()}
_MOST_DIMENSIONS = 32
#: An array that takes more room than this many times its elements is sent without its gaps.
_MOST_GAPS = 4
#: Rows or columns of a sparse matrix.
_MOST_ROWS = 10**6
#: Bytes below which a copy is cheaper than a view.
_COPIED = 4096


def can_cross(array: NDArray[Any]) -> bool:
    """Whether an array holds plain numbers."""
    return array.dtype.name in NUMPY and array.dtype.isnative


def tensor_can_cross(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds plain numbers, side by side in main memory."""
    return tensor.is_cpu and tensor.dtype in _TORCH_NAMES and tensor.layout == torch.strided


def numbers(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor's memory as an array; bfloat16 as the integers of its bits."""
    plain = tensor.detach()
    if plain.is_complex() or plain.is_neg():
        plain = plain.resolve_conj().resolve_neg()
    return (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy()


def dtype_of(tensor: torch.Tensor) -> str:
    """The name of a tensor's dtype."""
    return _TORCH_NAMES[tensor.dtype]


def dtypes(name: str) -> tuple[np.dtype[Any], torch.dtype]:
    """The dtypes of that name in numpy and torch (int16 for bfloat16, which numpy lacks).

    Raises:
        FrameError: there is none.
    """
    if not isinstance(name, str) or name not in _TORCH:
        raise FrameError("an unknown dtype")
    return NUMPY.get(name, np.dtype("int16")), _TORCH[name]


def write(array: NDArray[Any]) -> tuple[list[Any], Buffer]:
    """(shape, strides in bytes, offset of the first element) and the bytes of an array, or a view of them: send it before the array changes."""
    if array.size == 0 or array.flags.c_contiguous:
        return [list(array.shape), None, 0], array.tobytes() if array.nbytes < _COPIED else array.reshape(-1).view(np.uint8).data
    reach = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    offset, size = -sum(r for r in reach if r < 0), sum(map(abs, reach)) + array.itemsize
    if size > _MOST_GAPS * array.nbytes:
        return [list(array.shape), None, 0], array.tobytes()
    room = np.zeros(size, np.uint8)
    np.ndarray(array.shape, array.dtype, room, offset, array.strides)[...] = array  # not its memory: there may be other values between
    return [list(array.shape), list(array.strides), offset], room.tobytes()


def read(dtype: np.dtype[Any], layout: Any, data: memoryview) -> NDArray[Any]:
    """The array that ``write`` wrote; a large one is where its bytes are.

    Raises:
        FrameError: layout and bytes do not fit each other, or it is too large.
    """
    parts: list[Any] = layout if type(layout) is list and len(layout) == 3 else [None] * 3
    shape, strides, offset = parts
    if type(offset) is not int or not _counts(shape) or not (strides is None or _counts(strides, len(shape), negative=True)):
        raise FrameError("an array without a layout")
    if len(shape) > _MOST_DIMENSIONS or math.prod(shape) * dtype.itemsize > MOST_BYTES:
        raise FrameError("an array larger than any may be")
    room = np.frombuffer(data, np.uint8) if len(data) >= _COPIED and not data.readonly else _copy(data, dtype.itemsize)
    if dtype == np.bool_:
        room = (room != 0).view(np.uint8)
    try:
        if strides is None and len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError("too few bytes")
        return np.ndarray(tuple(shape), dtype, room, offset, None if strides is None else tuple(strides))
    except (TypeError, ValueError, OverflowError):
        raise FrameError("an array whose bytes do not fit its shape") from None


def _copy(data: memoryview, least: int) -> NDArray[np.uint8]:
    room = np.empty(max(len(data), least), np.uint8)
    room[: len(data)] = np.frombuffer(data, np.uint8)
    return room


def as_tensor(array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """A tensor that was written as ``write(numbers(tensor))``.

    Raises:
        FrameError: no tensor can have the array's layout.
    """
    if any(stride < 0 for stride in array.strides):
        raise FrameError("a tensor that runs backwards")
    try:
        tensor = torch.from_numpy(array)
    except (TypeError, ValueError, RuntimeError):
        raise FrameError("no tensor can have that layout") from None
    return tensor.view(dtype) if tensor.dtype != dtype else tensor


def copy_of(thing: Any) -> Any:
    """A copy of an array's or a tensor's numbers, in its layout."""
    return thing.copy(order="K") if isinstance(thing, np.ndarray) else thing.detach().clone()


def same(thing: Any, other: Any) -> bool:
    """Whether two arrays or tensors have the same shape and numbers, bit by bit."""
    mine, yours = (each if isinstance(each, np.ndarray) else numbers(each) for each in (thing, other))
    return mine.shape == yours.shape and mine.tobytes() == yours.tobytes()


def put(thing: Any, new: Any) -> None:
    """Overwrite an array or tensor with the numbers of another; a tensor may change its shape, too."""
    if isinstance(thing, np.ndarray):
        thing[...] = new
    elif (new.shape, new.dtype) == (thing.shape, thing.dtype):
        with torch.no_grad():
            _once(thing, thing).copy_(_once(new, thing))
    else:
        thing.grad = None
        thing.data = new


def _once(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of each axis along which ``like`` was expanded, so that one place in memory stands for many, the first place."""
    for axis, stride in enumerate(like.stride()):
        tensor = tensor.narrow(axis, 0, 1) if stride == 0 and tensor.shape[axis] > 1 else tensor
    return tensor


def sparse_parts(matrix: Any) -> list[Any]:
    """(form, whether it is an array rather than a matrix, shape, values, rows, columns) of a sparse matrix of scipy's."""
    by_place = matrix.tocoo()
    return [matrix.format, isinstance(matrix, scipy.sparse.sparray), tuple(map(int, by_place.shape)), by_place.data, *by_place.coords]


def sparse(form: Any, is_array: Any, shape: Any, values: Any, *places: Any) -> Any:
    """The sparse matrix that has these parts.

    Raises:
        FrameError: they do not fit each other, or written out it would be larger than any array may be.
    """
    if not (_counts(list(shape)) and isinstance(values, np.ndarray) and all(isinstance(each, np.ndarray) for each in places)):
        raise FrameError("a sparse matrix without numbers")
    if len(shape) != 2 or max(shape) > _MOST_ROWS or math.prod(shape) * values.itemsize > MOST_BYTES:
        raise FrameError("a sparse matrix larger than any may be")
    kind = scipy.sparse.coo_array if is_array else scipy.sparse.coo_matrix
    try:
        return kind((values, places), shape=shape).asformat(form)
    except (TypeError, ValueError):
        raise FrameError("a sparse matrix whose parts do not fit") from None


def _counts(values: Any, length: int | None = None, *, negative: bool = False) -> bool:
    if type(values) is not list or length not in (None, len(values)):
        return False
    least = -(2**62) if negative else -1
    return all(type(value) is int and least < value < 2**62 for value in values)
