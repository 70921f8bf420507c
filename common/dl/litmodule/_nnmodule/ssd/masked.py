"""The state space in chunks for any decays: how much of a step's input a later step receives is made for each head.

The three parts that take the time, within chunks, across, within, have gradients written by hand. Autograd keeps each
intermediate result, Q×Q numbers per head and chunk among them, and passes over each in main memory. Here a few chunks
at a time go through all operations while they lie in the cache, and the backward pass computes the Q×Q numbers anew, as
FlashAttention does (Dao et al. 2022, arXiv 2205.14135, section 3.1). The gradients of decays need none of them: where
y_i = Σ_j W_ij x_j and W_ij = exp(r_i − e_j) S_ij,

    ∂/∂r_i = Σ_j W_ij ∂W_ij = ⟨y_i, ∂y_i⟩,    ∂/∂e_j = −Σ_i W_ij ∂W_ij = −⟨x_j, ∂x_j⟩.

Axes: B batch; C chunks of a sequence; M chunks of all sequences, B·C; Q length of a chunk; H heads; P numbers per head;
G groups; R heads per group; N state size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.dl.litmodule._nnmodule.ssd.blocks import blocks_in_cache


def ssd_masked(
    x: Tensor, log_dt: Tensor, reach: Tensor, b: Tensor, c: Tensor, d: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs the state space over chunks; arguments and results are those of `ssd_factored`."""
    batch, num_chunks, _, num_heads, _ = x.shape
    x = x.flatten(0, 1)
    b, c = (part.flatten(0, 1).transpose(1, 2).contiguous() for part in (b, c))  # M G Q N
    reach, log_dt = (part.flatten(0, 1).transpose(1, 2).contiguous() for part in (reach, log_dt))  # M H Q
    entry = reach - log_dt
    total = reach[:, :, -1]
    left: Tensor = (total.unsqueeze(2) - entry).exp().transpose(1, 2).contiguous()
    added: Tensor = AddedStates.apply(x, left, b)  # type: ignore[no-untyped-call]
    before, last = StateScan.apply(  # type: ignore[no-untyped-call]
        added.view(batch, num_chunks, num_heads, -1), total.unflatten(0, (batch, -1)), state.flatten(2)
    )
    y: Tensor = ChunkOutputs.apply(x, reach, entry, b, c, before.view(added.shape), d)  # type: ignore[no-untyped-call]
    return y.unflatten(0, (batch, -1)), last.view(state.shape)


class AddedStates(torch.autograd.Function):
    """What each chunk adds to the state: Σ_q weight_q x_q b_qᵀ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, b: Tensor) -> Tensor:
        """Returns M×G×(R·P)×N from inputs M×Q×H×P, what is left of them at the chunk's end M×Q×H, and M×G×Q×N."""
        ctx.save_for_backward(x, weight, b)
        added = x.new_empty(len(x), b.shape[1], x[0, 0].numel() // b.shape[1], b.shape[3])
        for block in blocks_in_cache(len(x), x[0].numel(), x.device):
            weighted = x[block] * weight[block].unsqueeze(-1)
            torch.matmul(_by_group(weighted, b.shape[1]).transpose(2, 3), b[block], out=added[block])
        return added

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the gradients of the inputs, the weights and b."""
        x, weight, b = ctx.saved_tensors
        grad_x, grad_weight, grad_b = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(b)
        for block in blocks_in_cache(len(x), x[0].numel(), x.device):
            weights = weight[block].unsqueeze(-1)
            torch.matmul(_by_group(x[block] * weights, b.shape[1]), grad[block], out=grad_b[block])
            grad_weighted = (b[block] @ grad[block].transpose(2, 3)).transpose(1, 2).reshape(x[block].shape)
            torch.mul(grad_weighted, weights, out=grad_x[block])
            torch.sum(grad_weighted.mul_(x[block]), dim=-1, out=grad_weight[block])
        return grad_x, grad_weight, grad_b


class StateScan(torch.autograd.Function):
    """Carries the state across chunks: S_c = exp(total_c) S_{c-1} + added_c."""

    @staticmethod
    def forward(ctx: Any, added: Tensor, total: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the states before each chunk, and the state after the last.

        Args:
            ctx: Where what the gradient needs is kept.
            added: What each chunk adds, B×C×H×(P·N).
            total: Logarithm of each chunk's decay, B×C×H.
            state: Before the first chunk, B×H×(P·N).
        """
        states = scan(torch.cat([state.unsqueeze(1), added], dim=1), total, is_backward=False)
        before = states[:, :-1].contiguous()
        ctx.save_for_backward(before, total)
        return before, states[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_before: Tensor, grad_last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the gradients of what is added, the decays and the first state."""
        before, total = ctx.saved_tensors
        grad = scan(torch.cat([grad_before, grad_last.unsqueeze(1)], dim=1), total, is_backward=True)
        grad_added = grad[:, 1:].contiguous()
        grad_total = torch.empty_like(total)
        for heads in blocks_in_cache(total.shape[2], before[:, :, 0].numel(), before.device):
            torch.sum(grad_added[:, :, heads] * before[:, :, heads], dim=-1, out=grad_total[:, :, heads])
        return grad_added, grad_total.mul_(total.exp()), grad[:, 0]


def scan(states: Tensor, total: Tensor, *, is_backward: bool) -> Tensor:
    """Adds to each of several states all before it, decayed, or all after it; in place.

    The number of states that are summed doubles with each pass (Hillis and Steele 1986, "Data Parallel Algorithms").

    Args:
        states: B×(C+1)×H×S; S numbers are treated alike.
        total: Logarithm of the decay from each state to the next, B×C×H.
        is_backward: Whether sums begin at the end.
    """
    for heads in blocks_in_cache(total.shape[2], states[:, :, 0].numel(), states.device):
        part, decay, shift = states[:, :, heads], total[:, :, heads], 1
        while shift < part.shape[1]:
            near, far = (part[:, :-shift], part[:, shift:]) if is_backward else (part[:, shift:], part[:, :-shift])
            near.copy_(torch.addcmul(near, far, decay[:, shift - 1 :].exp().unsqueeze(-1)))
            decay = torch.cat([decay[:, :shift], decay[:, shift:] + decay[:, :-shift]], dim=1)
            shift *= 2
    return states


class ChunkOutputs(torch.autograd.Function):
    """What the steps of a chunk read: from the state before it, from its own steps, and their own input times `d`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, reach: Tensor, entry: Tensor, b: Tensor, c: Tensor, before: Tensor, d: Tensor
    ) -> Tensor:
        """Returns M×Q×H×P.

        Args:
            ctx: Where what the gradient needs is kept.
            x: Inputs, M×Q×H×P.
            reach: Logarithm of the decay since the chunk's start, M×H×Q.
            entry: The same over the step size, by which an input enters, M×H×Q.
            b: How inputs enter the state, M×G×Q×N.
            c: How outputs are read from it, M×G×Q×N.
            before: The state before each chunk, M×G×(R·P)×N.
            d: What each head passes on of its input, H.
        """
        y = torch.empty_like(x)
        for block in _blocks(x):
            scores = (c[block] @ b[block].transpose(2, 3)).tril_()
            weights = _weights(_decay(reach[block], entry[block]), scores, d)
            read = _by_head(c[block] @ before[block].transpose(2, 3), weights.shape[1])
            within = weights @ x[block].transpose(1, 2)
            y[block] = within.addcmul_(read, reach[block].exp().unsqueeze(-1)).transpose(1, 2)
        ctx.save_for_backward(x, reach, entry, b, c, before, d, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """Returns the gradients of all arguments."""
        x, reach, entry, b, c, before, d, y = ctx.saved_tensors
        grads = [torch.empty_like(part) for part in (x, reach, entry, b, c, before)]
        grad_x, grad_reach, grad_entry, grad_b, grad_c, grad_before = grads
        grad_d = torch.zeros_like(d)
        num_groups = b.shape[1]
        for block in _blocks(x):
            scores = (c[block] @ b[block].transpose(2, 3)).tril_()
            decay = _decay(reach[block], entry[block])
            weights = _weights(decay, scores, d)
            by_head = x[block].transpose(1, 2).contiguous()  # H Q P
            # A copy, for it is changed below; `contiguous()` returns what is given where that is contiguous already.
            grad_y = grad[block].transpose(1, 2).clone(memory_format=torch.contiguous_format)
            grad_weights = grad_y @ by_head.transpose(2, 3)
            skipped = grad_weights.diagonal(dim1=2, dim2=3).clone()
            grad_d += skipped.sum(dim=(0, 2))
            skipped *= d.unsqueeze(-1)  # Depends on no decay.
            grad_within = weights.transpose(2, 3) @ grad_y
            grad_x[block] = grad_within.transpose(1, 2)
            grad_entry[block] = skipped - grad_within.mul_(by_head).sum(dim=-1)
            grad_reach[block] = (grad[block] * y[block]).sum(dim=-1).transpose(1, 2) - skipped
            grad_scores = grad_weights.mul_(decay).unflatten(1, (num_groups, -1)).sum(dim=2).tril_()
            grad_read = _by_group(grad_y.mul_(reach[block].exp().unsqueeze(-1)).transpose(1, 2), num_groups)
            torch.matmul(grad_read.transpose(2, 3), c[block], out=grad_before[block])
            torch.matmul(grad_scores.transpose(2, 3), c[block], out=grad_b[block])
            grad_c[block] = (grad_scores @ b[block]).add_(grad_read @ before[block])
        return (*grads, grad_d)


def _blocks(x: Tensor) -> list[slice]:
    """Cuts chunks into blocks by the size of a chunk's Q×Q weights of all heads."""
    return blocks_in_cache(len(x), x.shape[2] * x.shape[1] ** 2, x.device)


def _decay(reach: Tensor, entry: Tensor) -> Tensor:
    """Returns how much of each step's input later steps receive, M×H×Q×Q, and 1 for earlier ones."""
    is_later = torch.ones(reach.shape[2], reach.shape[2], dtype=torch.bool, device=reach.device).triu_(1)
    decay: Tensor = (reach.unsqueeze(3) - entry.unsqueeze(2)).masked_fill_(is_later, 0).exp_()
    return decay


def _weights(decay: Tensor, scores: Tensor, d: Tensor) -> Tensor:
    """Returns what each step's output takes of each step's input, M×H×Q×Q, from scores M×G×Q×Q."""
    weights: Tensor = (decay.unflatten(1, (scores.shape[1], -1)) * scores.unsqueeze(2)).flatten(1, 2)
    weights.diagonal(dim1=2, dim2=3).add_(d.unsqueeze(-1))
    return weights


def _by_group(part: Tensor, num_groups: int) -> Tensor:
    """Turns M×Q×H×P into M×G×Q×(R·P): what heads of a group share multiplies all of them in one product."""
    grouped: Tensor = part.unflatten(2, (num_groups, -1)).flatten(3).transpose(1, 2)
    return grouped


def _by_head(part: Tensor, num_heads: int) -> Tensor:
    """Turns M×G×Q×(R·P) into M×H×Q×P."""
    by_head: Tensor = part.unflatten(3, (num_heads // part.shape[1], -1)).transpose(2, 3).flatten(1, 2)
    return by_head
