"""What surrounds the state space in a Mamba2 block, in few passes over the memory, with gradients written by hand.

A few rows at a time go through all operations while they lie in the cache.

Axes: B batch; L length; K length of the convolution; X channels; T rows, B·L; E inner width; G groups.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from common.dl.litmodule._nnmodule.in_cache import blocks_in_cache

EPSILON = 1e-5
"""Is added to a mean square before its root is taken."""


class GatedConvolution(torch.autograd.Function):
    """Convolves each channel with a kernel of its own, causally, then applies SiLU.

    On the CPU a Conv2d over channels that lie side by side takes a tenth of a Conv1d's time, but its gradients of
    kernels and biases take longer than all that is done here.
    """

    @staticmethod
    def forward(ctx: Any, channels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Returns B×L×X from B×(K−1+L)×X, the kernels X×K and the biases X."""
        y = _convolve(channels, weight, bias, padding=0)
        ctx.save_for_backward(channels, weight, y)
        return functional.silu(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the gradients of the inputs, the kernels and the biases."""
        channels, weight, y = ctx.saved_tensors
        grad_y, grad_weight = torch.empty_like(y), torch.zeros_like(weight)
        for block in blocks_in_cache(y.shape[1], y[:, 0].numel(), y.device):
            part = torch.ops.aten.silu_backward(grad[:, block], y[:, block])
            grad_y[:, block] = part
            for offset in range(weight.shape[1]):
                seen = channels[:, block.start + offset : block.stop + offset]
                grad_weight[:, offset] += (part * seen).sum(dim=(0, 1))
        grad_channels = _convolve(grad_y, weight.flip(1), None, padding=weight.shape[1] - 1)
        return grad_channels, grad_weight, grad_y.sum(dim=(0, 1))


def _convolve(channels: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    image = channels.transpose(1, 2).unsqueeze(2)
    kernels = weight[:, None, None].contiguous(memory_format=torch.channels_last)
    y = functional.conv2d(image, kernels, bias, padding=(0, padding), groups=len(weight))
    return y.squeeze(2).transpose(1, 2)


class GatedNorm(torch.autograd.Function):
    """Multiplies with the gate's SiLU, divides by the root mean square of each group's channels, and weighs them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, weight: Tensor, num_groups: int) -> Tensor:
        """Returns T×E from numbers and gates, T×E each, and the weights of the channels, E."""
        ctx.save_for_backward(x, gate, weight)
        ctx.num_groups = num_groups
        y = torch.empty_like(x)
        for block in blocks_in_cache(len(x), x.shape[1], x.device):
            normed, _ = _normed(_wide(x[block]) * functional.silu(_wide(gate[block])), num_groups)
            y[block] = normed.flatten(1) * weight
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Returns the gradients of the numbers, the gates and the weights."""
        x, gate, weight = ctx.saved_tensors
        grad_x, grad_gate, grad_weight = torch.empty_like(x), torch.empty_like(gate), torch.zeros_like(weight)
        for block in blocks_in_cache(len(x), x.shape[1], x.device):
            part_x, part_gate, part_grad = (_wide(part[block]) for part in (x, gate, grad))
            opened = functional.silu(part_gate)
            normed, scale = _normed(part_x * opened, ctx.num_groups)
            grad_weight += (part_grad * normed.flatten(1)).sum(dim=0)
            grad_normed = (part_grad * weight).view_as(normed)
            along = (grad_normed * normed).mean(dim=2, keepdim=True)
            grad_gated = normed.mul_(-along).add_(grad_normed).mul_(scale).flatten(1)
            torch.mul(grad_gated, opened, out=grad_x[block])
            grad_gate[block] = torch.ops.aten.silu_backward(grad_gated.mul_(part_x), part_gate)
        return grad_x, grad_gate, grad_weight, None


def _wide(part: Tensor) -> Tensor:
    """Returns float32 for what is narrower: squares are summed in it."""
    return part.to(torch.promote_types(part.dtype, torch.float32))


def _normed(gated: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    """Returns normalised channels, T×G×(E/G), and what they were multiplied with, T×G×1."""
    grouped = gated.unflatten(1, (num_groups, -1))
    scale = grouped.square().mean(dim=2, keepdim=True).add_(EPSILON).rsqrt_()
    return grouped.mul_(scale), scale
