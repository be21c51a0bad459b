"""Gradients across: a tensor that was computed on the other side is here a node whose backward pass asks for a vector-Jacobian product there.

A node's inputs here are those of this side's tensors that it was computed from: leaves that both sides know, and results of this side's own.
The product is an ordinary question, whose answer may itself be such a node; so second derivatives need nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd.graph import GradientEdge

#: torch's own, taken before any check closes its door.
_grad = torch.autograd.grad


class Node:
    """A result of the other side's; when the last tensor that needs it is gone, so is its graph there."""

    def __init__(self, number: int, product: Callable[[int, torch.Tensor], Sequence[torch.Tensor | None]], drop: Callable[[int], None]) -> None:
        self.number = number
        self.product = product
        self._drop = drop

    def __del__(self) -> None:
        self._drop(self.number)


class _Crossed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, node: Node, value: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.node = node
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        products = list(ctx.node.product(ctx.node.number, gradients[0]))
        wanted = len(ctx.needs_input_grad) - 2
        return (None, None, *(products + [None] * wanted)[:wanted])


def join(node: Node, value: torch.Tensor, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """A tensor with ``value``, computed from ``inputs`` on the other side; it requires a gradient in any case."""
    with torch.enable_grad():
        inputs = [*inputs] if any(tensor.requires_grad for tensor in inputs) else [*inputs, torch.zeros((), requires_grad=True)]
        result: torch.Tensor = _Crossed.apply(node, value, *inputs)
    return result


def node_of(tensor: torch.Tensor) -> Node | None:
    """The node that a tensor is the result of, if it came from the other side as it is."""
    return getattr(tensor.grad_fn, "node", None) if isinstance(tensor.grad_fn, torch.autograd.function.BackwardCFunction) else None


def sources(tensor: torch.Tensor) -> tuple[list[torch.Tensor], list[tuple[Node, GradientEdge]]]:
    """What a tensor was computed from: leaves, and results of the other side's with their places in the graph."""
    leaves: list[torch.Tensor] = []
    nodes: list[tuple[Node, GradientEdge]] = []
    seen, stack = set(), [tensor.grad_fn]
    while stack:
        function = stack.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        node = getattr(function, "node", None)
        if isinstance(node, Node):
            nodes.append((node, GradientEdge(function, 0)))
        elif hasattr(function, "variable"):
            leaves.append(function.variable)
        else:
            stack += [following for following, _ in function.next_functions]
    return leaves, nodes


def product(result: torch.Tensor, inputs: Sequence[Any], gradient: torch.Tensor) -> list[torch.Tensor | None]:
    """The vector-Jacobian products of ``result`` with ``gradient`` for each of ``inputs`` (tensors or edges of the graph), None where there is none.

    With gradients switched on, they can be differentiated again.
    """
    again = torch.is_grad_enabled()
    return list(_grad(result, list(inputs), gradient, retain_graph=True, create_graph=again, allow_unused=True)) if inputs else []


def is_transformed(value: Any) -> bool:
    """Whether a value is a tensor inside ``torch.func.grad`` or its like, which has no numbers of its own."""
    return isinstance(value, torch.Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value)


def call_transformed(call: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Call a function of the other side's, with plain numbers, from inside ``torch.func.grad`` or ``torch.func.vjp``."""
    places = [place for place, value in enumerate(args) if isinstance(value, torch.Tensor)]

    def plainly(*tensors: torch.Tensor) -> Any:
        given = list(args)
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        return call(*given)

    return _Transformed.apply(plainly, *(args[place] for place in places))


class _Transformed(torch.autograd.Function):
    @staticmethod
    def forward(call: Callable[..., Any], *tensors: torch.Tensor) -> Any:
        return call(*(tensor.detach() for tensor in tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found = _TransformedProduct.apply(ctx.call, len(ctx.saved_tensors), *ctx.saved_tensors, *gradients)
        return (None, *found)


class _TransformedProduct(torch.autograd.Function):
    @staticmethod
    def forward(call: Callable[..., Any], count: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in tensors[:count]]
            result = call(*leaves)
            results = result if isinstance(result, tuple) else (result,)
            found = _grad(results, leaves, tensors[count:], allow_unused=True, materialize_grads=True)
        return tuple(found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing to keep: there are no second derivatives this way."""
