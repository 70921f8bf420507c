"""The state space in chunks where decays split into factors: nothing is computed for each pair of steps and each head.

What step i of a chunk reads of step j's input is decayed by exp(r_i − r_j), r being the logarithm of the decay since
the chunk's start. With k, the middle of a chunk's decay, and

    x̂_j = Δ_j exp(k − r_j) x_j,    ŷ_i = y_i / exp(r_i − k),    Ŝ = exp(k) S,

where S is the state before the chunk, the decays are gone from within it, and all heads that share b and c take part in
the same matrix products (the "linear attention" of Dao and Gu 2024, arXiv 2405.21060, section 4):

    ŷ = tril(c bᵀ) x̂ + c Ŝᵀ,    Ŝ' = exp(k' − k) (Ŝ + x̂ᵀ b),

k' being the middle of the next chunk. The factors must be numbers: `MAX_EXPONENT` bounds what a chunk may forget;
`ssd_masked.py` does what goes beyond.

The loop goes over chunks, not over steps: what one chunk needs stays in the cache from its first product to its last.

Axes: B batch; C chunks of a sequence; Q length of a chunk; H heads; P numbers per head; G groups of heads that share b
and c; N state size; Z batch and groups, B·G; R heads per group.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.dl.litmodule._nnmodule.ssd.blocks import blocks_in_cache

MAX_EXPONENT = 60.0
"""Largest exponent of a factor: exp(60) is 1e26, and what float32 holds ends at 3e38."""


def can_be_factored(reach: Tensor) -> bool:
    """Tells whether no head forgets so much within a chunk, by B×C×Q×H logarithms, that a factor is no number.

    Never where to read the answer costs more than it saves: on a GPU, which would be waited for, and in a compiled
    network, which would be cut in two.
    """
    if reach.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return float(reach[:, :, -1].detach().min()) >= -2 * MAX_EXPONENT


def ssd_factored(
    x: Tensor, log_dt: Tensor, reach: Tensor, b: Tensor, c: Tensor, d: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs the state space over chunks; see `ssd`.

    Args:
        x: Inputs, B×C×Q×H×P.
        log_dt: Logarithms of the step sizes, B×C×Q×H.
        reach: Logarithm of the decay since the chunk's start, B×C×Q×H.
        b: How inputs enter the state, B×C×Q×G×N.
        c: How outputs are read from it, B×C×Q×G×N.
        d: What each head passes on of its input, H.
        state: Before the first chunk, B×H×P×N.

    Returns:
        The outputs, B×C×Q×H×P, and the state after the last chunk.
    """
    batch, num_groups = len(x), b.shape[3]
    total = reach[:, :, -1]
    middle = total / 2
    outwards = reach - middle.unsqueeze(2)
    inwards = log_dt - outwards
    border = torch.zeros_like(middle[:, :1])
    gaps = torch.cat([border, total - middle], dim=1) + torch.cat([middle, border], dim=1)
    x, inwards, outwards = (_by_group(part, num_groups, axis=3) for part in (x, inwards, outwards))
    b, c = (_by_group(part, num_groups, axis=3).squeeze(3) for part in (b, c))
    y, last = FactoredChunks.apply(  # type: ignore[no-untyped-call]
        x,
        inwards,
        outwards,
        _by_group(gaps, num_groups, axis=2),
        b,
        c,
        d.view(num_groups, -1).repeat(batch, 1),
        state.reshape(len(x), -1, *state.shape[2:]),
    )
    y = y.unflatten(0, (batch, num_groups)).movedim(1, 3).flatten(3, 4)
    return y, last.reshape(state.shape)


class FactoredChunks(torch.autograd.Function):
    """All chunks of sequences whose heads share b and c, one after the other, with gradients written by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inwards: Tensor,
        outwards: Tensor,
        gaps: Tensor,
        b: Tensor,
        c: Tensor,
        d: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Returns the outputs, Z×C×Q×R×P, and the last state, Z×R×P×N.

        Args:
            ctx: Where what the gradient needs is kept.
            x: Inputs, Z×C×Q×R×P.
            inwards: Logarithm of what an input is multiplied with, Z×C×Q×R.
            outwards: Logarithm of what an output is multiplied with, Z×C×Q×R.
            gaps: Logarithm of the decay from the start to the first chunk's middle, from there to the next chunk's,
                and at last to the end, Z×(C+1)×R.
            b: How inputs enter the state, Z×C×Q×N.
            c: How outputs are read from it, Z×C×Q×N.
            d: What each head passes on of its input, Z×R.
            state: Before the first chunk, Z×R×P×N.
        """
        inwards, outwards = (part.exp().unsqueeze(-1) for part in (inwards, outwards))
        # A gap may lie below the least float32: half of it is multiplied with, twice.
        half_gaps = (gaps / 2).exp()[:, :, None, :, None]
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        states = x.new_empty(len(x), x.shape[1] + 1, b.shape[3], *x.shape[3:])  # At the chunks' middles; N before R×P.
        torch.mul(state.permute(0, 3, 1, 2), half_gaps[:, 0].square(), out=states[:, 0])
        for rows, chunk in _turns(x):
            x_chunk, b_chunk, c_chunk, before = (part[rows, chunk] for part in (x, b, c, states))
            before = before.flatten(2)
            entered = (x_chunk * inwards[rows, chunk]).flatten(2)
            scores = (c_chunk @ b_chunk.mT).tril_()
            read = (scores @ entered).baddbmm_(c_chunk, before).view_as(x_chunk)
            passed_on = x_chunk * d[rows, None, :, None]
            torch.addcmul(passed_on, read, outwards[rows, chunk], out=y[rows, chunk])
            after = torch.baddbmm(before, b_chunk.mT, entered).view_as(states[rows, chunk])
            torch.mul(after.mul_(half_gaps[rows, chunk + 1]), half_gaps[rows, chunk + 1], out=states[rows, chunk + 1])
        ctx.save_for_backward(x, inwards, outwards, half_gaps, b, c, d, states, y)
        return y, states[:, -1].permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
        """Returns the gradients of all arguments."""
        x, inwards, outwards, half_gaps, b, c, d, states, y = ctx.saved_tensors
        grad_x, grad_b, grad_c = (torch.empty_like(part, memory_format=torch.contiguous_format) for part in (x, b, c))
        grad_inwards, grad_outwards = (torch.empty_like(part.squeeze(-1)) for part in (inwards, outwards))
        grad_gaps, grad_d = torch.empty_like(half_gaps[:, :, 0, :, 0]), torch.zeros_like(d)
        # A copy, for it is changed below; `contiguous()` returns what is given where that is contiguous already.
        grad_states = grad_last.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
        for rows, chunk in reversed(_turns(x)):
            x_chunk, b_chunk, c_chunk, before, grad = (part[rows, chunk] for part in (x, b, c, states, grad_y))
            before = before.flatten(2)
            entered = (x_chunk * inwards[rows, chunk]).flatten(2)
            grad_read = (grad * outwards[rows, chunk]).flatten(2)
            torch.sum(grad_states[rows] * states[rows, chunk + 1], dim=(1, 3), out=grad_gaps[rows, chunk + 1])
            half_gap = half_gaps[rows, chunk + 1]
            grad_state = grad_states[rows].mul_(half_gap).mul_(half_gap).flatten(2)
            scores = (c_chunk @ b_chunk.mT).tril_()
            grad_scores = (grad_read @ entered.mT).tril_()
            grad_b[rows, chunk] = (grad_scores.mT @ c_chunk).baddbmm_(entered, grad_state.mT)
            grad_c[rows, chunk] = (grad_scores @ b_chunk).baddbmm_(grad_read, before.mT)
            grad_entered = (scores.mT @ grad_read).baddbmm_(b_chunk, grad_state).view_as(x_chunk)
            grad_entered.mul_(inwards[rows, chunk])
            grad_state.baddbmm_(c_chunk.mT, grad_read)
            skipped = (grad * x_chunk).sum(dim=-1)
            grad_d[rows] += skipped.sum(dim=1)
            grad_outwards[rows, chunk] = (grad * y[rows, chunk]).sum(dim=-1) - skipped * d[rows, None]
            torch.sum(grad_entered * x_chunk, dim=-1, out=grad_inwards[rows, chunk])
            torch.addcmul(grad_entered, grad, d[rows, None, :, None], out=grad_x[rows, chunk])
        torch.sum(grad_states * states[:, 0], dim=(1, 3), out=grad_gaps[:, 0])
        grad_state = grad_states.mul_(half_gaps[:, 0].square()).permute(0, 2, 3, 1)
        return grad_x, grad_inwards, grad_outwards, grad_gaps, grad_b, grad_c, grad_d, grad_state


def _turns(x: Tensor) -> list[tuple[slice, int]]:
    """Returns which sequences and which of their chunks are computed at a time, from Z×C×Q×R×P."""
    blocks = blocks_in_cache(len(x), x[0, 0].numel(), x.device)
    return [(rows, chunk) for rows in blocks for chunk in range(x.shape[1])]


def _by_group(part: Tensor, num_groups: int, axis: int) -> Tensor:
    """Makes of each group of heads a sequence of its own: groups share nothing."""
    sequences: Tensor = part.unflatten(axis, (num_groups, -1)).movedim(axis, 1).flatten(0, 1)
    return sequences
