"""Fits diffusion models."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from common.dl.litmodule._nnmodule.cond_diffusion.sampling import (
    Prediction,
    Sampler,
    make_schedule,
    sample,
    sampling_times,
)
from common.dl.litmodule.cond1d_target1d.base import BaseCond1DTarget1DLitModule, BaseCond1DTarget1DLitModuleConfig
from common.utils.beartype import ge, le


@dataclass
class DiffusionLitModuleConfig(BaseCond1DTarget1DLitModuleConfig):
    """Configures a Lightning module that fits a diffusion model.

    Attributes:
        target_size: Numbers per step of the target.
        sampler: `ddpm` or `ddim`.
        prediction: What the network predicts: the noise (`epsilon`), or the velocity (`v_prediction`).
        num_train_steps: Steps from data to noise.
        num_sampling_steps: Steps from noise to data; at most `num_train_steps`, and with `epsilon` not a few: the
            error names how many there must be.
        guidance: Weight of the condition when sampling: 1 as it was fitted, more to follow it more closely, 0 not at
            all.
        condition_dropout: Part of the training samples that do not see their condition, which guidance needs.
    """

    target_size: Annotated[int, ge(1)] = 1
    sampler: Sampler = "ddim"
    prediction: Prediction = "v_prediction"
    num_train_steps: Annotated[int, ge(1)] = 1000
    num_sampling_steps: Annotated[int, ge(1)] = 50
    guidance: Annotated[float, ge(0)] = 1.0
    condition_dropout: Annotated[float, ge(0), le(1)] = 0.1


class DiffusionLitModule(BaseCond1DTarget1DLitModule):
    """Fits a network such as `DiT1D1D` to undo noise, and predicts by sampling."""

    config: DiffusionLitModuleConfig

    def __init__(
        self,
        config: DiffusionLitModuleConfig,
        nnmodule: nn.Module,
        optimizer: partial[Optimizer],
        scheduler: partial[LRScheduler],
    ) -> None:
        super().__init__(config, nnmodule, optimizer, scheduler)
        self.schedule = make_schedule(config.num_train_steps, config.prediction)
        sampling_times(self.schedule, config.num_sampling_steps)  # Refuses numbers that do not fit, before the start.

    def compute_loss(
        self, network: nn.Module, condition: Tensor, target: Tensor, generator: Generator | None
    ) -> Tensor:
        """Returns the mean squared error of what the network predicts from noisy targets, at times drawn uniformly."""
        size, device = len(target), target.device
        time = torch.randint(self.config.num_train_steps, (size,), device=device, generator=generator)
        noise = torch.empty_like(target).normal_(generator=generator)
        is_conditioned = torch.rand(size, device=device, generator=generator) >= self.config.condition_dropout
        noisy = self.schedule.add_noise(target, noise, time)
        wanted = noise if self.config.prediction == "epsilon" else self.schedule.get_velocity(target, noise, time)
        return functional.mse_loss(network(noisy, time, condition, is_conditioned), wanted)

    def draw(self, network: nn.Module, condition: Tensor, generator: Generator) -> Tensor:
        """Samples with the configured sampler, steps and guidance."""
        config = self.config
        return sample(
            network,
            self.schedule,
            condition,
            config.target_size,
            config.num_sampling_steps,
            config.guidance,
            config.sampler,
            generator,
        )
