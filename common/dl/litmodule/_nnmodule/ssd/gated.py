"""What surrounds the state space in a Mamba2 block, in few passes over the memory, with gradients written by hand.

A few rows at a time go through all operations while they lie in the cache, and gradients of parts are written to where
the whole's is wanted: autograd would copy the parts together.

Axes: B batch; L length; K length of the convolution; X channels; T rows, B·L; E inner width; G groups.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from common.dl.litmodule._nnmodule.ssd.blocks import blocks_in_cache

EPSILON = 1e-5
"""Is added to a mean square before its root is taken."""

silu_backward = torch.ops.aten.silu_backward


class SplitLinear(torch.autograd.Function):
    """Multiplies with a matrix and splits the products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        """Returns …×(part of the rows of the matrix) from …×D and a matrix of as many columns."""
        ctx.save_for_backward(x, weight)
        ctx.sizes = sizes
        parts: tuple[Tensor, ...] = functional.linear(x, weight).split(sizes, dim=-1)
        return parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """Returns the gradients of the numbers and the matrix."""
        x, weight = ctx.saved_tensors
        rows, grad_weight = x.flatten(0, -2), torch.empty_like(weight)
        grad_x = torch.empty_like(rows)
        parts = (weight.split(ctx.sizes), grad_weight.split(ctx.sizes))
        for number, (grad, part, part_grad) in enumerate(zip(grads, *parts, strict=True)):
            grad_rows = grad.flatten(0, -2)
            grad_x.addmm_(grad_rows, part, beta=min(number, 1))
            torch.mm(grad_rows.mT, rows, out=part_grad)
        return grad_x.view_as(x), grad_weight, None


class GatedConvolution(torch.autograd.Function):
    """Convolves each channel with a kernel of its own, causally, applies SiLU, and splits the channels.

    On the CPU a Conv2d over channels that lie side by side takes a tenth of a Conv1d's time, but its gradients of
    kernels and biases take longer than all that is done here.
    """

    @staticmethod
    def forward(
        ctx: Any, window: Tensor, channels: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]
    ) -> tuple[Tensor, ...]:
        """Returns B×L×(part of X) from the steps before, B×(K−1)×X, B×L×X, the kernels X×K and the biases X."""
        seen = torch.cat([window, channels], dim=1)
        y = _convolve(seen, weight, bias)
        ctx.save_for_backward(seen, weight, y)
        ctx.sizes = sizes
        parts: tuple[Tensor, ...] = functional.silu(y).split(sizes, dim=-1)
        return parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        """Returns the gradients of the steps before, the inputs, the kernels and the biases."""
        seen, weight, y = ctx.saved_tensors
        (num_channels, kernel_size), length = weight.shape, y.shape[1]
        # Zeros follow, as if the sequence went on without an effect: so the gradient is a causal convolution backwards.
        padded = y.new_empty(len(y), length + kernel_size - 1, num_channels)
        padded[:, length:] = 0
        grad_weight = torch.zeros_like(weight)
        for block in blocks_in_cache(length, y[:, 0].numel(), y.device):
            grad_y = padded[:, block]
            silu_backward.grad_input(torch.cat([grad[:, block] for grad in grads], -1), y[:, block], grad_input=grad_y)
            for offset in range(kernel_size):
                at_offset = seen[:, block.start + offset : block.stop + offset]
                grad_weight[:, offset] += (grad_y * at_offset).sum(dim=(0, 1))
        grad_channels = _convolve(padded, weight.flip(1), None)
        grad_window = padded[:, :0]
        if ctx.needs_input_grad[0] and kernel_size > 1:
            first = functional.pad(padded[:, : kernel_size - 1], (0, 0, kernel_size - 1, 0))
            grad_window = _convolve(first, weight.flip(1), None)
        return grad_window, grad_channels, grad_weight, padded.flatten(0, 1).sum(dim=0), None


def _convolve(channels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Returns what the kernels make of all places that they fit in."""
    image = channels.transpose(1, 2).unsqueeze(2)
    kernels = weight[:, None, None].contiguous(memory_format=torch.channels_last)
    return functional.conv2d(image, kernels, bias, groups=len(weight)).squeeze(2).transpose(1, 2)


class GatedNorm(torch.autograd.Function):
    """Multiplies with the gate's SiLU, divides by the root mean square of each group's channels, and weighs them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor | None, weight: Tensor, num_groups: int) -> Tensor:
        """Returns T×E from numbers and gates, T×E each, or no gates, and the weights of the channels, E."""
        y, scales = torch.empty_like(x), x.new_empty(len(x), num_groups, dtype=_wide(x).dtype)
        openings = None if gate is None else x.new_empty(x.shape, dtype=scales.dtype)
        for block in blocks_in_cache(len(x), x.shape[1], x.device):
            gated = _wide(x[block])
            if gate is not None and openings is not None:
                torch.sigmoid(_wide(gate[block]), out=openings[block])
                gated = (gated * gate[block]).mul_(openings[block])
            grouped = gated.unflatten(1, (num_groups, -1))
            mean_square = torch.linalg.vector_norm(grouped, dim=2).square_().div_(grouped.shape[2])
            scales[block] = mean_square.add_(EPSILON).rsqrt_()
            torch.mul((grouped * scales[block].unsqueeze(2)).flatten(1), weight, out=y[block])
        ctx.save_for_backward(x, gate, openings, weight, scales)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        """Returns the gradients of the numbers, the gates and the weights.

        With the gated numbers u, the scale s of their group of e channels and y = s u w,

            ∂u = s w ∂y − u s³ Σ(w u ∂y) / e.
        """
        x, gate, openings, weight, scales = ctx.saved_tensors
        num_groups = scales.shape[1]
        wide_weight = _wide(weight).view(num_groups, -1)
        grad_x, grad_gate = torch.empty_like(x), None if gate is None else torch.empty_like(gate)
        grad_weight = torch.zeros_like(wide_weight)
        for block in blocks_in_cache(len(x), x.shape[1], x.device):
            part_x, part_grad = (_wide(part[block]) for part in (x, grad))
            opened = None if gate is None else openings[block] * gate[block]
            gated = part_x if opened is None else part_x * opened
            grouped, grad_grouped = (part.unflatten(1, (num_groups, -1)) for part in (gated, part_grad))
            scale, along = scales[block], grouped * grad_grouped
            grad_weight += torch.einsum("tg,tge->ge", scale, along)
            pull = torch.einsum("tge,ge->tg", along, wide_weight).mul_(scale.pow(3)).div_(grouped.shape[2])
            grad_gated = (grad_grouped * wide_weight).mul_(scale.unsqueeze(2))
            grad_gated = grad_gated.addcmul_(grouped, pull.unsqueeze(2), value=-1).flatten(1)
            if opened is None or grad_gate is None:
                grad_x[block] = grad_gated
            else:
                torch.mul(grad_gated, opened, out=grad_x[block])
                slope = torch.addcmul(opened, opened, openings[block], value=-1).add_(openings[block])
                torch.mul(grad_gated.mul_(part_x), slope, out=grad_gate[block])
        return grad_x, grad_gate, grad_weight.flatten().to(weight.dtype), None


def _wide(part: Tensor) -> Tensor:
    """Returns float32 for what is narrower: squares are summed in it."""
    return part.to(torch.promote_types(part.dtype, torch.float32))
