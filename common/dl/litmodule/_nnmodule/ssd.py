"""State-space duality (SSD): the selective state space of Mamba2, as matrix products.

Source: Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060. For each head, with the step sizes Δ and A < 0,

    S_t = exp(Δ_t A) S_{t-1} + Δ_t x_t B_tᵀ,    y_t = S_t C_t,

where S is the state. Section 6 splits the sequence into chunks: matrix products within them, a scan across them. We
differ from the paper's listing 1 where that costs time or memory without need: B and C of a group are not repeated for
its heads, and the scan across chunks is done in levels, where the listing's one matrix product grows with the square
of the number of chunks.

Axes: B batch; L length; H heads; P numbers per head; G groups of heads that share B and C; R heads per group; N state
size; C chunks; Q length of a chunk.
"""

import functools
import importlib.util
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from common.utils.beartype import shape_checked

SCAN_WIDTH = 16
"""Chunks that one matrix product carries the state across."""

MIN_STEP = 1e-30
"""Least step size whose logarithm is taken; what enters with a smaller one vanishes either way."""


@shape_checked
def ssd(
    x: Float[Tensor, "B L H P"],
    dt: Float[Tensor, "B L H"],
    a: Float[Tensor, " H"],
    b: Float[Tensor, "B L G N"],
    c: Float[Tensor, "B L G N"],
    state: Float[Tensor, "B H P N"],
    chunk_size: int,
) -> tuple[Float[Tensor, "B L H P"], Float[Tensor, "B H P N"]]:
    """Runs the state space over whole sequences: by mamba-ssm's kernels on a GPU that has them, else in torch.

    Args:
        x: Inputs.
        dt: Step sizes Δ, positive.
        a: How fast each head forgets, negative.
        b: How inputs enter the state.
        c: How outputs are read from the state.
        state: The state before the first step.
        chunk_size: Length of a chunk, Q; changes speed and memory, not the result.

    Returns:
        The outputs, in the dtype of `x`, and the state after the last step.
    """
    kernel = _kernel() if x.is_cuda else None
    if kernel is not None:
        y, state = kernel(x, dt, a, b, c, chunk_size, initial_states=state, return_final_states=True)
        return y, state
    return ssd_torch(x, dt, a, b, c, state, chunk_size)


@shape_checked
def ssd_step(
    x: Float[Tensor, "B H P"],
    dt: Float[Tensor, "B H"],
    a: Float[Tensor, " H"],
    b: Float[Tensor, "B G N"],
    c: Float[Tensor, "B G N"],
    state: Float[Tensor, "B H P N"],
) -> tuple[Float[Tensor, "B H P"], Float[Tensor, "B H P N"]]:
    """Runs the state space for one step; see `ssd`."""
    heads_per_group = x.shape[1] // b.shape[1]
    b, c = (part.repeat_interleave(heads_per_group, dim=1) for part in (b, c))
    decay = (dt * a).exp()[..., None, None]
    state = decay * state + (dt.unsqueeze(-1) * x).unsqueeze(-1) * b.unsqueeze(-2)
    return (state @ c.to(state.dtype).unsqueeze(-1)).squeeze(-1).to(x.dtype), state


def ssd_torch(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Runs the state space over whole sequences in torch; see `ssd`. Computes in the dtype of `state`."""
    length, dtype = x.shape[1], x.dtype
    chunk_size = min(chunk_size, length)
    padding = -length % chunk_size  # A step of size 0 leaves the state as it is.
    x, dt, b, c = (_chunked(part.to(state.dtype), padding, chunk_size) for part in (x, dt, b, c))
    num_groups = b.shape[3]
    b, c = b.transpose(2, 3), c.transpose(2, 3)  # B C G Q N
    # The logarithm of the decay since the chunk's start, and of the same over Δ, by which an input enters; B C Q H.
    reach = (dt * a).cumsum(dim=2)
    entry = reach - dt.clamp_min(MIN_STEP).log()
    total = reach[:, :, -1]
    weighted = _by_group(x * (total.unsqueeze(2) - entry).exp().unsqueeze(-1), num_groups)
    added = (weighted.transpose(3, 4) @ b).unflatten(3, (-1, x.shape[-1]))  # B C G R P N
    before, last = _scan(added, total.unflatten(2, (num_groups, -1)), state.unflatten(1, added.shape[2:4]))
    read = c @ before.flatten(3, 4).transpose(3, 4)  # B C G Q (R·P)
    read = read.transpose(2, 3).reshape(x.shape)
    y = torch.addcmul(_within_chunks(x, reach, entry, b, c), read, reach.exp().unsqueeze(-1))
    return y.flatten(1, 2)[:, :length].to(dtype), last.flatten(1, 2)


def _by_group(part: Tensor, num_groups: int) -> Tensor:
    """Turns B C Q H P into B C G Q (R·P): what heads of a group share multiplies all of them in one product."""
    grouped: Tensor = part.unflatten(3, (num_groups, -1)).flatten(4).transpose(2, 3)
    return grouped


def _chunked(part: Tensor, padding: int, chunk_size: int) -> Tensor:
    """Cuts the axis L into C×Q, with zeros at its end."""
    if padding:
        part = functional.pad(part, (0, 0) * (part.ndim - 2) + (0, padding))
    chunks: Tensor = part.unflatten(1, (-1, chunk_size))
    return chunks


def _within_chunks(x: Tensor, reach: Tensor, entry: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Returns what the steps of a chunk receive from the same chunk, B C Q H P: masked attention without softmax."""
    scores = c @ b.transpose(3, 4)  # B C G Q Q
    is_later = torch.ones(x.shape[2], x.shape[2], dtype=torch.bool, device=x.device).triu(1)
    reach, entry = reach.transpose(2, 3), entry.transpose(2, 3)
    decay = (reach.unsqueeze(-1) - entry.unsqueeze(-2)).masked_fill_(is_later, -torch.inf).exp_()
    weights: Tensor = (decay.unflatten(2, (scores.shape[2], -1)) * scores.unsqueeze(3)).flatten(2, 3)  # B C H Q Q
    return (weights @ x.transpose(2, 3)).transpose(2, 3)


def _scan(added: Tensor, total: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Carries the state across chunks: S_c = exp(total_c) S_{c-1} + added_c.

    Up to `SCAN_WIDTH` chunks in one matrix product; more of them in two levels, so that time stays linear.

    Args:
        added: What each chunk adds to the state, B C G R P N.
        total: Logarithm of each chunk's decay, B C G R.
        state: Before the first chunk, B G R P N.

    Returns:
        The state before each chunk, and after the last.
    """
    num_chunks = added.shape[1]
    if num_chunks <= SCAN_WIDTH:
        states = torch.cat([state.unsqueeze(1), added], dim=1)
        reach = functional.pad(total, (0, 0, 0, 0, 1, 0)).cumsum(dim=1).permute(0, 2, 3, 1)
        is_later = torch.ones(num_chunks + 1, num_chunks + 1, dtype=torch.bool, device=added.device).triu(1)
        decay = (reach.unsqueeze(-1) - reach.unsqueeze(-2)).masked_fill_(is_later, -torch.inf).exp_()
        states = torch.einsum("bgrij,bjgrpn->bigrpn", decay, states)
        return states[:, :-1], states[:, -1]
    padding = -num_chunks % SCAN_WIDTH
    added = functional.pad(added, (0, 0) * 4 + (0, padding)).unflatten(1, (-1, SCAN_WIDTH))
    total = functional.pad(total, (0, 0) * 2 + (0, padding)).unflatten(1, (-1, SCAN_WIDTH))
    before, last = _scan(added.flatten(0, 1), total.flatten(0, 1), torch.zeros_like(added[:, :, 0].flatten(0, 1)))
    before_each, last = _scan(last.unflatten(0, added.shape[:2]), total.sum(dim=2), state)
    reach = total.cumsum(dim=2) - total  # The decay since the first chunk of each row.
    before = torch.addcmul(before.unflatten(0, added.shape[:2]), reach.exp()[..., None, None], before_each.unsqueeze(2))
    return before.flatten(1, 2)[:, :num_chunks], last


@functools.cache
def _kernel() -> Callable[..., tuple[Tensor, Tensor]] | None:
    """Returns mamba-ssm's function for what `ssd_torch` does, for CUDA and ROCm; None where it is not installed."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return None
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    kernel: Callable[..., tuple[Tensor, Tensor]] = mamba_chunk_scan_combined
    return kernel
