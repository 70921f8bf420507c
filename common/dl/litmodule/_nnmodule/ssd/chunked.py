"""State-space duality (SSD): the selective state space of Mamba2, as matrix products.

Source: Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060. For each head, with the step sizes Δ and A < 0,

    S_t = exp(Δ_t A) S_{t-1} + Δ_t x_t B_tᵀ,    y_t = S_t C_t + D x_t,

where S is the state. Section 6 splits the sequence into chunks: matrix products within them, a scan across them. We
differ from the paper's listing 1 where that costs time or memory without need: B and C of a group are not repeated for
its heads, the work across chunks grows with their number and not with its square, and gradients are written by hand.
On the CPU, `ssd_factored.py` does without Q×Q decays for each head where numbers allow that; `ssd_masked.py` is for
all else.

Axes: B batch; L length; H heads; P numbers per head; G groups of heads that share B and C; N state size; C chunks of a
sequence; Q length of a chunk.
"""

import functools
import importlib.util
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from common.dl.litmodule._nnmodule.ssd.factored import can_be_factored, ssd_factored
from common.dl.litmodule._nnmodule.ssd.masked import ssd_masked
from common.utils.beartype import shape_checked

MIN_STEP = 1e-30
"""Least step size whose logarithm is taken; what enters with a smaller one vanishes either way."""


@shape_checked
def ssd(
    x: Float[Tensor, "B L H P"],
    dt: Float[Tensor, "B L H"],
    a: Float[Tensor, " H"],
    b: Float[Tensor, "B L G N"],
    c: Float[Tensor, "B L G N"],
    d: Float[Tensor, " H"],
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
        d: What each head passes on of its input.
        state: The state before the first step.
        chunk_size: Length of a chunk, Q; changes speed and memory, not the result.

    Returns:
        The outputs, in the dtype of `x`, and the state after the last step.
    """
    kernel = _kernel() if x.is_cuda else None
    if kernel is not None:
        y, state = kernel(x, dt, a, b, c, chunk_size, D=d, initial_states=state, return_final_states=True)
        return y, state
    return ssd_torch(x, dt, a, b, c, d, state, chunk_size)


@shape_checked
def ssd_step(
    x: Float[Tensor, "B H P"],
    dt: Float[Tensor, "B H"],
    a: Float[Tensor, " H"],
    b: Float[Tensor, "B G N"],
    c: Float[Tensor, "B G N"],
    d: Float[Tensor, " H"],
    state: Float[Tensor, "B H P N"],
) -> tuple[Float[Tensor, "B H P"], Float[Tensor, "B H P N"]]:
    """Runs the state space for one step; see `ssd`."""
    heads_per_group = x.shape[1] // b.shape[1]
    b, c = (part.repeat_interleave(heads_per_group, dim=1) for part in (b, c))
    decay = (dt * a).exp()[..., None, None]
    state = decay * state + (dt.unsqueeze(-1) * x).unsqueeze(-1) * b.unsqueeze(-2)
    read = (state @ c.to(state.dtype).unsqueeze(-1)).squeeze(-1)
    return torch.addcmul(read, d.unsqueeze(-1), x).to(x.dtype), state


def ssd_torch(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, state: Tensor, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Runs the state space over whole sequences in torch; see `ssd`. Computes in the dtype of `state`."""
    if not x.numel():
        return torch.empty_like(x), state.clone()
    length, dtype, chunk_size = x.shape[1], x.dtype, min(chunk_size, x.shape[1])
    x, dt, b, c = (_chunked(part.to(state.dtype), chunk_size) for part in (x, dt, b, c))
    reach = (dt * a).cumsum(dim=2)
    run = ssd_factored if can_be_factored(reach) else ssd_masked
    y, state = run(x, dt.clamp_min(MIN_STEP).log(), reach, b, c, d.to(state.dtype), state)
    return y.flatten(1, 2)[:, :length].to(dtype), state


def _chunked(part: Tensor, chunk_size: int) -> Tensor:
    """Cuts B×L×… into chunks B×C×Q×…, the last filled with zeros: a step of size 0 leaves the state as it is."""
    padding = -part.shape[1] % chunk_size
    if padding:
        part = functional.pad(part, (0, 0) * (part.ndim - 2) + (0, padding))
    chunks: Tensor = part.unflatten(1, (-1, chunk_size))
    return chunks


@functools.cache
def _kernel() -> Callable[..., tuple[Tensor, Tensor]] | None:
    """Returns mamba-ssm's function for what `ssd_torch` does, for CUDA and ROCm; None where it is not installed."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return None
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    kernel: Callable[..., tuple[Tensor, Tensor]] = mamba_chunk_scan_combined
    return kernel
