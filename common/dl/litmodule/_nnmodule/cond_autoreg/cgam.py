"""The conditional generative autoregressive model.

Axes: see `base.py`; K components of the mixture.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Generator, Tensor
from torch.nn import functional

from common.dl.litmodule._nnmodule.cond_autoreg.base import BaseCAM, BaseCAMConfig
from common.dl.litmodule._nnmodule.sequence import SequenceModel
from common.utils.beartype import ge, gt

MIN_LOG_SCALE = -7.0
"""Below this a component would be a spike: its likelihood has no bound."""


@dataclass
class CGAMConfig(BaseCAMConfig):
    """Configures a `CGAM`.

    Attributes:
        num_components: Gaussians in each step's mixture, K.
        temperature: How far samples spread: 1 for the fitted distribution; towards 0 for the most probable component's
            mean.
    """

    num_components: Annotated[int, ge(1)] = 5
    temperature: Annotated[float, gt(0)] = 1.0


class CGAM(BaseCAM):
    """Draws targets from a mixture of Gaussians per step, fitted by its likelihood.

    Source: Graves 2013, "Generating sequences with recurrent neural networks", arXiv 1308.0850, section 4.1. We differ
    in that a component's coordinates are independent, for any number of them, and that all is computed in log space.
    The temperature is that of Ha and Eck 2017, "A neural representation of sketch drawings", arXiv 1704.03477, section
    3.3: it divides the components' logits and multiplies their variances.

    Args:
        config: See the config's own fields.
        model_partial: Makes the backbone.
    """

    config: CGAMConfig

    def __init__(self, config: CGAMConfig, model_partial: partial[SequenceModel]) -> None:
        super().__init__(config, model_partial)

    @property
    def num_outputs(self) -> int:
        """Per component a logit, and for each of the target's numbers a mean and the logarithm of a deviation."""
        return self.config.num_components * (1 + 2 * self.config.target_size)

    def mixture(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Splits the backbone's outputs.

        Args:
            outputs: …×O.

        Returns:
            The components' log-probabilities, …×K; their means and the logarithms of their standard deviations, …×K×T.
        """
        num_components, target_size = self.config.num_components, self.config.target_size
        logits, means, log_scales = outputs.split(
            [num_components, num_components * target_size, num_components * target_size], dim=-1
        )
        means, log_scales = (part.unflatten(-1, (num_components, target_size)) for part in (means, log_scales))
        return logits.log_softmax(dim=-1), means, log_scales.clamp(min=MIN_LOG_SCALE)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Returns the negative logarithm of the target's likelihood per step."""
        log_weights, means, log_scales = self.mixture(outputs)
        distances = (target.unsqueeze(-2) - means) * torch.exp(-log_scales)
        log_densities = -0.5 * distances.square() - log_scales - 0.5 * math.log(2 * math.pi)
        return -(log_weights + log_densities.sum(dim=-1)).logsumexp(dim=-1).mean()

    def draw(self, outputs: Tensor, generator: Generator | None = None) -> Tensor:
        """Returns a sample of each step's mixture."""
        log_weights, means, log_scales = self.mixture(outputs)
        temperature = self.config.temperature
        weights = (log_weights / temperature).softmax(dim=-1)
        chosen = torch.multinomial(weights.flatten(0, -2), 1, generator=generator).view(weights.shape[:-1])
        pick = functional.one_hot(chosen, self.config.num_components).unsqueeze(-1).to(means.dtype)
        mean, log_scale = ((part * pick).sum(dim=-2) for part in (means, log_scales))
        noise = torch.empty_like(mean).normal_(generator=generator)
        return mean + math.sqrt(temperature) * log_scale.exp() * noise
