"""Mamba2: a stack of residual blocks around a selective state space.

Source: Dao and Gu 2024, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State
Space Duality", arXiv 2405.21060, section 7; reference implementation: state-spaces/mamba,
`mamba_ssm/modules/mamba2.py`. The names of a block's parameters are those of the reference. We differ in that a
network reads and gives numbers and not tokens: a linear layer stands at each end.

Axes: B batch; L length; I input size; O output size; D width; E inner width; H heads; P numbers per head; G groups; N
state size; K length of the convolution; X channels of the convolution, E + 2·G·N.
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.dl.litmodule._nnmodule.sequence import SequenceModel
from common.dl.litmodule._nnmodule.ssd.chunked import ssd, ssd_step
from common.dl.litmodule._nnmodule.ssd.gated import GatedConvolution, GatedNorm, SplitLinear
from common.utils.beartype import ge

MIN_STEP_SIZE, MAX_STEP_SIZE = 1e-3, 1e-1
"""Between which the step sizes begin, log-uniformly, as in the reference."""

MAX_FORGETTING = 16.0
"""A head's rate of forgetting begins between 1 and this, uniformly, as in the reference."""


@dataclass
class Mamba2BlocksConfig:
    """Configures a stack of Mamba2 blocks.

    Attributes:
        hidden_size: Width of the stack, D.
        num_layers: Blocks.
        state_size: Numbers that the state keeps for each inner channel, N.
        head_size: Inner channels per head, P; divides `expansion` × `hidden_size`.
        num_groups: Groups of heads that share what is written to and read from the state, G; divides the number of
            heads.
        expansion: The inner width E is this many times the width.
        conv_size: Steps that the convolution before the state space sees, K.
        chunk_size: Steps that are processed as one matrix product, Q; changes speed and memory, not the result.
    """

    hidden_size: Annotated[int, ge(1)] = 128
    num_layers: Annotated[int, ge(1)] = 2
    state_size: Annotated[int, ge(1)] = 64
    head_size: Annotated[int, ge(1)] = 32
    num_groups: Annotated[int, ge(1)] = 1
    expansion: Annotated[int, ge(1)] = 2
    conv_size: Annotated[int, ge(1)] = 4
    chunk_size: Annotated[int, ge(1)] = 64

    def __post_init__(self) -> None:
        """Checks the sizes together.

        Raises:
            ValueError: heads do not fill the inner width, or groups do not share the heads evenly.
        """
        if self.inner_size % self.head_size:
            raise ValueError(
                f"expansion × hidden_size must be divisible by head_size; received {self.expansion} × "
                f"{self.hidden_size} = {self.inner_size} and head_size={self.head_size}."
            )
        if self.num_heads % self.num_groups:
            raise ValueError(
                f"The number of heads, expansion × hidden_size / head_size = {self.num_heads}, must be divisible by "
                f"num_groups; received num_groups={self.num_groups}."
            )

    @property
    def inner_size(self) -> int:
        """Inner width, E."""
        return self.expansion * self.hidden_size

    @property
    def num_heads(self) -> int:
        """Number of heads, H."""
        return self.inner_size // self.head_size

    @property
    def num_channels(self) -> int:
        """Channels that the convolution sees, X."""
        return self.inner_size + 2 * self.num_groups * self.state_size


@dataclass(kw_only=True)
class Mamba2Config(Mamba2BlocksConfig):
    """Configures a `Mamba2`.

    Attributes:
        input_size: Numbers per step that go in, I.
        output_size: Numbers per step that come out, O.
    """

    input_size: Annotated[int, ge(1)]
    output_size: Annotated[int, ge(1)]


class MixerCache(NamedTuple):
    """What a block remembers.

    Attributes:
        window: The convolution's last inputs, B×(K−1)×X.
        state: The state, B×H×P×N, in float32 or wider.
    """

    window: Tensor
    state: Tensor

    def spoilt(self, which: Tensor) -> "MixerCache":
        """Returns a memory that is NaN for some of B sequences."""
        window = self.window.masked_fill(which[:, None, None], torch.nan)
        return MixerCache(window, self.state.masked_fill(which[:, None, None, None], torch.nan))


class Mamba2(SequenceModel):
    """Linear layer, blocks, normalisation, linear layer: B×L×I to B×L×O, causal.

    Args:
        config: See the config's own fields.
    """

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.input_size, config.hidden_size)
        self.blocks = nn.ModuleList(Mamba2Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.output_size)

    def make_cache(self, batch_size: int) -> list[MixerCache]:
        """Returns the memory of sequences that have not begun: zeros."""
        config, weight = self.config, self.head.weight
        window = weight.new_zeros(batch_size, config.conv_size - 1, config.num_channels)
        sizes = batch_size, config.num_heads, config.head_size, config.state_size
        state = weight.new_zeros(sizes, dtype=torch.promote_types(weight.dtype, torch.float32))
        return [MixerCache(window, state)] * config.num_layers

    def prefill(self, x: Tensor, cache: list[MixerCache]) -> tuple[Tensor, list[MixerCache]]:
        """Processes several steps at once; see `SequenceModel`.

        NaN and infinite inputs, such as a padding's, spoil the steps from there on, as they do one step at a time. They
        are kept out of the products of a chunk's steps, where 0 times NaN would spoil the steps before.
        """
        is_spoilt = x.isfinite().all(dim=-1).logical_not().cumsum(dim=1) > 0
        x, new_cache = self.embedding(x.masked_fill(is_spoilt.unsqueeze(-1), 0)), []
        for block, remembered in zip(self.blocks, cache, strict=True):
            x, remembered = block(x, remembered)
            new_cache.append(remembered.spoilt(is_spoilt[:, -1]))
        y: Tensor = self.head(self.norm(x))
        return y.masked_fill(is_spoilt.unsqueeze(-1), torch.nan), new_cache

    def step(self, x: Tensor, cache: list[MixerCache]) -> tuple[Tensor, list[MixerCache]]:
        """Processes one step; see `SequenceModel`."""
        x, new_cache = self.embedding(x), []
        for block, remembered in zip(self.blocks, cache, strict=True):
            assert isinstance(block, Mamba2Block)
            x, remembered = block.step(x, remembered)
            new_cache.append(remembered)
        return self.head(self.norm(x)), new_cache


class Mamba2Block(nn.Module):
    """Adds to its input what the mixer makes of its normalised input.

    Args:
        config: See the config's own fields.
    """

    def __init__(self, config: Mamba2BlocksConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.hidden_size)
        self.mixer = Mamba2Mixer(config)

    def forward(self, x: Tensor, cache: MixerCache) -> tuple[Tensor, MixerCache]:
        """Processes B×L×D."""
        y, cache = self.mixer(self.norm(x), cache)
        return x + y, cache

    def step(self, x: Tensor, cache: MixerCache) -> tuple[Tensor, MixerCache]:
        """Processes B×D."""
        y, cache = self.mixer.step(self.norm(x), cache)
        return x + y, cache


class Mamba2Mixer(nn.Module):
    """Projection, causal convolution, state space, gated normalisation, projection (the paper's figure 6).

    Args:
        config: See the config's own fields.
    """

    def __init__(self, config: Mamba2BlocksConfig) -> None:
        super().__init__()
        self.config = config
        num_projected = config.inner_size + config.num_channels + config.num_heads  # Gate, convolution, step sizes.
        self.in_proj = nn.Linear(config.hidden_size, num_projected, bias=False)
        # Holds the parameters; `GatedConvolution` computes.
        self.conv1d = nn.Conv1d(config.num_channels, config.num_channels, config.conv_size, groups=config.num_channels)
        step_sizes = torch.exp(torch.empty(config.num_heads).uniform_(math.log(MIN_STEP_SIZE), math.log(MAX_STEP_SIZE)))
        self.dt_bias = nn.Parameter(step_sizes + torch.log(-torch.expm1(-step_sizes)))  # Softplus, inverted.
        self.A_log = nn.Parameter(torch.empty(config.num_heads).uniform_(1, MAX_FORGETTING).log())
        self.D = nn.Parameter(torch.ones(config.num_heads))
        self.norm = RMSNorm(config.inner_size, config.num_groups)
        self.out_proj = nn.Linear(config.inner_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cache: MixerCache) -> tuple[Tensor, MixerCache]:
        """Processes B×L×D."""
        gate, channels, step_sizes = self._project(x)
        with torch.autocast(x.device.type, enabled=False):
            inputs, b, c = self._convolve(cache.window, channels)
            y, state = ssd(inputs, step_sizes, self._decay_rates(), b, c, self.D, cache.state, self.config.chunk_size)
            y = self.norm(y.flatten(-2), gate)
        return self.out_proj(y), MixerCache(self._window(cache.window, channels), state)

    def step(self, x: Tensor, cache: MixerCache) -> tuple[Tensor, MixerCache]:
        """Processes B×D."""
        gate, channels, step_sizes = self._project(x)
        channels = channels.unsqueeze(1)
        with torch.autocast(x.device.type, enabled=False):
            inputs, b, c = (part.squeeze(1) for part in self._convolve(cache.window, channels))
            y, state = ssd_step(inputs, step_sizes, self._decay_rates(), b, c, self.D, cache.state)
            y = self.norm(y.flatten(-2), gate)
        return self.out_proj(y), MixerCache(self._window(cache.window, channels), state)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        config, device, weight = self.config, x.device.type, self.in_proj.weight
        sizes = [config.inner_size, config.num_channels, config.num_heads]
        if torch.is_autocast_enabled(device):
            x, weight = (part.to(torch.get_autocast_dtype(device)) for part in (x, weight))
        with torch.autocast(device, enabled=False):
            gate, channels, step_sizes = SplitLinear.apply(x, weight, sizes)  # type: ignore[no-untyped-call]
        return gate, channels, functional.softplus(step_sizes + self.dt_bias)

    def _convolve(self, window: Tensor, channels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the state space's inputs B×L×H×P, and b and c, B×L×G×N each."""
        config, bias = self.config, self.conv1d.bias
        assert bias is not None
        num_shared = config.num_groups * config.state_size
        sizes = [config.inner_size, num_shared, num_shared]
        weight, bias = (part.to(channels.dtype) for part in (self.conv1d.weight.squeeze(1), bias))
        window = window.to(channels.dtype)
        inputs, b, c = GatedConvolution.apply(window, channels, weight, bias, sizes)  # type: ignore[no-untyped-call]
        inputs = inputs.unflatten(-1, (config.num_heads, config.head_size))
        return inputs, *(part.unflatten(-1, (config.num_groups, config.state_size)) for part in (b, c))

    def _window(self, window: Tensor, channels: Tensor) -> Tensor:
        """Returns the last K−1 steps."""
        num_kept = self.config.conv_size - 1
        seen = torch.cat([window, channels[:, -num_kept:]], dim=1)
        return seen[:, seen.shape[1] - num_kept :]

    def _decay_rates(self) -> Tensor:
        return -self.A_log.exp()


class RMSNorm(nn.Module):
    """Divides by the root mean square of each group's channels; where there is a gate, multiplies with its SiLU before.

    Args:
        size: Channels.
        num_groups: Groups, which are normalised apart.
    """

    def __init__(self, size: int, num_groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.num_groups = num_groups

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Normalises the last axis."""
        gate = None if gate is None else gate.flatten(0, -2)
        y: Tensor = GatedNorm.apply(x.flatten(0, -2), gate, self.weight, self.num_groups)  # type: ignore[no-untyped-call]
        return y.view(x.shape)
