"""A diffusion transformer over 1-D signals with a 1-D conditioning signal.

Source: Peebles and Xie 2022, "Scalable diffusion models with transformers", arXiv 2212.09748, section 3, with blocks
of the kind adaLN-Zero; reference implementation: facebookresearch/DiT, `models.py`. We differ in that signals take the
place of images, and that the condition is a signal too: its patches are added to those of the noisy target, where the
reference adds a class to the time's embedding. Where the condition is left out, a learned vector takes its patches'
place.

Axes: B batch; L length; C numbers per step of the condition; T numbers per step of the target; M tokens, L / patch
size; D width; H attention heads; F frequencies.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from common.dl.litmodule._nnmodule.sequence import refuse_empty
from common.utils.beartype import ge, shape_checked

NUM_TIME_FEATURES = 128
MAX_PERIOD = 10_000.0
"""The longest period of the sinusoids that stand for times and places, as in the reference."""


@dataclass
class DiT1D1DConfig:
    """Configures a `DiT1D1D`.

    Attributes:
        condition_size: Numbers per step of the condition, C.
        target_size: Numbers per step of the target, T.
        patch_size: Steps per token; divides the signals' length.
        hidden_size: Numbers per token, D; divisible by `num_heads`, and even.
        num_layers: Blocks.
        num_heads: Attention heads, H.
        expansion: A block's feedforward layer is this many times as wide.
    """

    condition_size: Annotated[int, ge(1)] = 1
    target_size: Annotated[int, ge(1)] = 1
    patch_size: Annotated[int, ge(1)] = 4
    hidden_size: Annotated[int, ge(2)] = 64
    num_layers: Annotated[int, ge(1)] = 3
    num_heads: Annotated[int, ge(1)] = 4
    expansion: Annotated[int, ge(1)] = 4

    def __post_init__(self) -> None:
        """Checks the sizes together.

        Raises:
            ValueError: heads do not share the width evenly, or the width is odd.
        """
        if self.hidden_size % self.num_heads or self.hidden_size % 2:
            raise ValueError(
                f"hidden_size must be even and divisible by num_heads; received hidden_size={self.hidden_size} and "
                f"num_heads={self.num_heads}."
            )


class DiT1D1D(nn.Module):
    """Predicts from a noisy target, its time and a condition what the diffusion is trained for: noise or velocity.

    Args:
        config: See the config's own fields.
    """

    def __init__(self, config: DiT1D1DConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.embed_target = nn.Linear(config.patch_size * config.target_size, width)
        self.embed_condition = nn.Linear(config.patch_size * config.condition_size, width)
        self.no_condition = nn.Parameter(0.02 * torch.randn(width))
        self.embed_time = nn.Sequential(nn.Linear(NUM_TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.num_layers))
        self.modulate = _zero_linear(width, 2 * width)
        self.head = _zero_linear(width, config.patch_size * config.target_size)

    @shape_checked
    def forward(
        self,
        noisy: Float[Tensor, "B L T"],
        time: Int[Tensor, " B"],
        condition: Float[Tensor, "B condition_length C"],
        is_conditioned: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B L T"]:
        """Returns the prediction for each sample.

        Args:
            noisy: The noisy targets.
            time: How far each has been diffused, in steps from 0.
            condition: The conditioning signals, of the same length.
            is_conditioned: Which samples see their condition; null: all.

        Raises:
            ValueError: a length or a size is not as it should be.
        """
        self._check(noisy, condition)
        tokens = self.embed_target(self._patches(noisy))
        conditions = self.embed_condition(self._patches(condition))
        if is_conditioned is not None:
            conditions = torch.where(is_conditioned[:, None, None], conditions, self.no_condition)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        tokens = tokens + conditions + sinusoids(places, self.config.hidden_size).to(tokens.dtype)
        now = functional.silu(self.embed_time(sinusoids(time, NUM_TIME_FEATURES).to(tokens.dtype)))
        for block in self.blocks:
            tokens = block(tokens, now)
        shift, scale = self.modulate(now).unsqueeze(1).chunk(2, dim=-1)
        output: Tensor = self.head(_normalize(tokens) * (1 + scale) + shift)
        steps: Tensor = output.unflatten(2, (self.config.patch_size, -1)).flatten(1, 2)
        return steps

    def _patches(self, signal: Tensor) -> Tensor:
        patches: Tensor = signal.unflatten(1, (-1, self.config.patch_size)).flatten(2)
        return patches

    def _check(self, noisy: Tensor, condition: Tensor) -> None:
        refuse_empty(condition)
        for name, value in (("condition", condition), ("target", noisy)):
            size = getattr(self.config, f"{name}_size")
            if value.shape[2] != size:
                raise ValueError(f"The {name} has {value.shape[2]} numbers per step; config.{name}_size is {size}.")
        if condition.shape[1] != noisy.shape[1]:
            raise ValueError(
                f"Condition and target must have the same length; received a condition of length {condition.shape[1]} "
                f"and a target of length {noisy.shape[1]}."
            )
        if noisy.shape[1] % self.config.patch_size:
            raise ValueError(
                f"The signals' length must be divisible by config.patch_size; received a length of {noisy.shape[1]} "
                f"and config.patch_size={self.config.patch_size}."
            )


class DiTBlock(nn.Module):
    """Attention and a feedforward layer, each shifted, scaled and gated by the time; at first the identity.

    Args:
        config: See the config's own fields.
    """

    def __init__(self, config: DiT1D1DConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_heads
        self.modulate = _zero_linear(width, 6 * width)
        self.project = nn.Linear(width, 3 * width)
        self.finish = nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, config.expansion * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.expansion * width, width),
        )

    def forward(self, tokens: Tensor, now: Tensor) -> Tensor:
        """Returns tokens, B×M×D, from tokens and the time's embedding, B×D."""
        parts = self.modulate(now).unsqueeze(1).chunk(6, dim=-1)
        shift, scale, gate, feed_shift, feed_scale, feed_gate = parts
        tokens = tokens + gate * self._attend(_normalize(tokens) * (1 + scale) + shift)
        fed: Tensor = tokens + feed_gate * self.feedforward(_normalize(tokens) * (1 + feed_scale) + feed_shift)
        return fed

    def _attend(self, tokens: Tensor) -> Tensor:
        parts = self.project(tokens).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.finish(attended.transpose(1, 2).flatten(2))
        return output


@shape_checked
def sinusoids(positions: Int[Tensor, " M"], size: int) -> Float[Tensor, "M size"]:
    """Returns sines and cosines of positions, at frequencies from 1 down to about 1 / 10,000.

    Source: Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, section 3.5; cosines and sines stand in
    two halves, not in turn, as in the reference implementation.

    Args:
        positions: Places or times.
        size: Numbers per position, even.
    """
    exponents = torch.arange(size // 2, device=positions.device) / (size // 2)
    angles = positions.unsqueeze(1) * torch.exp(-math.log(MAX_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _normalize(tokens: Tensor) -> Tensor:
    return functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)


def _zero_linear(size_in: int, size_out: int) -> nn.Linear:
    layer = nn.Linear(size_in, size_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
