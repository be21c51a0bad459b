"""Comparing what came with what was expected, and saying where they differ.

Only plain data is compared: numbers, strings, None, arrays, tensors, and lists, tuples or dicts of them. It is copied into
base types first, so that an object with an ``__eq__`` of its own decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlcourse_utils.checks.outcome import CheckFailed

#: dtype name -> (rtol, atol) that honest rounding stays inside
_TOLERANCES = {"float16": (1e-2, 1e-3), "bfloat16": (2e-2, 1e-2), "float32": (1e-4, 1e-5), "complex64": (1e-4, 1e-5)}
_DEFAULT_TOLERANCE = (1e-7, 1e-9)


def as_array(value: Any, what: str = "the result") -> NDArray[Any]:
    """A number, list, array or tensor as a base numpy array (a copy), whatever device it is on.

    Raises:
        CheckFailed: ``value`` is none of these; the message says what it is.
    """
    torch = sys.modules.get("torch")
    if value is None:
        raise CheckFailed(f"{what} is None. A function that ends without `return` gives None.")
    if torch is not None and isinstance(value, torch.Tensor):
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        return np.array(tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy())
    if isinstance(value, bool | int | float | complex | np.generic | np.ndarray):
        array = np.array(value)
    elif isinstance(value, list | tuple):
        try:
            array = np.array([as_array(item, what) for item in value])
        except ValueError:
            raise CheckFailed(f"{what} is a {type(value).__name__} of parts with different shapes; expected one array.") from None
    else:
        raise CheckFailed(f"{what} is a {type(value).__name__}; expected numbers.")
    if array.dtype.kind not in "biufc":
        raise CheckFailed(f"{what} holds {array.dtype} values; expected numbers.")
    return array


def dtype_name(value: Any) -> str:
    """``float32`` for a float32 array or tensor, ``int`` for a Python int."""
    return str(value.dtype).removeprefix("torch.") if hasattr(value, "dtype") else type(value).__name__


def tolerances(*values: Any) -> tuple[float, float]:
    """The loosest (rtol, atol) that the values' dtypes call for."""
    return max((_TOLERANCES.get(dtype_name(value), _DEFAULT_TOLERANCE) for value in values), default=_DEFAULT_TOLERANCE)


def difference(got: Any, want: Any, rtol: float | None = None, atol: float | None = None, where: str = "") -> str | None:
    """How ``got`` differs from ``want`` in words, or None where they are close. Nested lists, tuples and dicts go part by part.

    NaN equals NaN. Default tolerances follow the dtypes: 1e-7 relative for float64, 1e-4 for float32.
    """
    prefix = f"part {where}: " if where else ""
    if isinstance(want, Mapping):
        if not isinstance(got, dict):
            return f"{prefix}expected a dict, got {_describe(got)}"
        if sorted(map(str, got)) != sorted(map(str, want)):
            return f"{prefix}expected the keys {sorted(map(str, want))}, got {sorted(map(str, got))}"
        return next((d for key in want if (d := difference(got[key], want[key], rtol, atol, f"{where}[{key!r}]"))), None)
    if isinstance(want, list | tuple) and not _is_numbers(want):
        if not isinstance(got, list | tuple):
            return f"{prefix}expected a list of {len(want)} parts, got {_describe(got)}"
        if len(got) != len(want):
            return f"{prefix}expected {len(want)} parts, got {len(got)}"
        return next((d for i, (g, w) in enumerate(zip(got, want, strict=True)) if (d := difference(g, w, rtol, atol, f"{where}[{i}]"))), None)
    if want is None or isinstance(want, str):
        same = type(got) is type(want) and got == want
        return None if same else f"{prefix}expected {want!r}, got {_describe(got)}"
    loosest = tolerances(got, want)
    rtol, atol = loosest[0] if rtol is None else rtol, loosest[1] if atol is None else atol
    return _array_difference(as_array(got, f"part {where}" if where else "the result"), as_array(want), rtol, atol, prefix)


def _array_difference(got: NDArray[Any], want: NDArray[Any], rtol: float, atol: float, prefix: str) -> str | None:
    if got.shape != want.shape:
        return f"{prefix}expected shape {want.shape}, got {got.shape}"
    if want.size == 0:
        return None
    close = np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(close, 0, np.nan_to_num(np.abs(got.astype(complex) - want.astype(complex)), nan=np.inf))
    index = np.unravel_index(int(error.argmax()), want.shape)
    place = f"at [{', '.join(map(str, index))}]: " if want.ndim else ""
    extent = f" ({int((~close).sum())} of {want.size} values differ)" if want.size > 1 else ""
    shown_want, shown_got = _pair(want[index].item(), got[index].item())
    return f"{prefix}{place}expected {shown_want}, got {shown_got}{extent}"


def same(got: Any, want: Any) -> bool:
    """Whether two plain values are equal, 2 and 2.0 and a numpy 2 being the same number."""
    try:
        return difference(got, want, rtol=0.0, atol=0.0) is None
    except CheckFailed:
        return False


def shown(value: Any) -> str:
    """A value in a few characters, for messages."""
    if isinstance(value, list | tuple | dict) or getattr(value, "ndim", 0) > 0:
        text = " ".join(repr(value.tolist() if hasattr(value, "tolist") else value).split())
        return text if len(text) <= 80 else f"{text[:77]}..."
    if isinstance(value, np.generic) or hasattr(value, "item"):
        value = value.item()
    return f"{value:.6g}" if isinstance(value, float) else repr(value)[:80]


def _pair(want: Any, got: Any) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart."""
    for digits in (4, 7, 10, 17):
        a, b = (f"{x:.{digits}g}" if isinstance(x, float | complex) and not isinstance(x, bool) else str(x) for x in (want, got))
        if a != b:
            return a, b
    return str(want), str(got)


def _is_numbers(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list is a plain table of numbers rather than a list of arrays."""
    return _regular(value) and all(isinstance(v, bool | int | float | complex | np.generic) or (isinstance(v, list) and _is_numbers(v)) for v in value)


def _regular(value: list[Any] | tuple[Any, ...]) -> bool:
    return len({len(v) if isinstance(v, list) else -1 for v in value}) <= 1


def _describe(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__} {shown(value)}" if isinstance(value, int | float | str | bool) else f"a {type(value).__name__}"
