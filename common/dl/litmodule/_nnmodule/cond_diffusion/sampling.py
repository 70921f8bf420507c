"""Noise schedules and samplers, from diffusers, and guidance.

Axes: B batch; L length; C numbers per step of the condition; T numbers per step of the target.
"""

from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from common.errors import ConfigError

Sampler = Literal["ddpm", "ddim"]
Prediction = Literal["epsilon", "v_prediction"]


def make_scheduler(sampler: Sampler, num_train_steps: int, prediction: Prediction) -> Any:
    """Returns a noise schedule, by cosines (Nichol and Dhariwal 2021, arXiv 2102.09672, section 3.2), with its sampler.

    Args:
        sampler: `ddpm` (Ho et al. 2020, arXiv 2006.11239) or `ddim` (Song et al. 2020, arXiv 2010.02502, with η = 0).
        num_train_steps: Steps from data to noise.
        prediction: What the network predicts: the noise, or the velocity of Salimans and Ho 2022, arXiv 2202.00512.

    Raises:
        ConfigError: diffusers is not installed.
    """
    try:
        if sampler == "ddpm":
            from diffusers.schedulers.scheduling_ddpm import DDPMScheduler as Scheduler
        else:
            from diffusers.schedulers.scheduling_ddim import DDIMScheduler as Scheduler
    except ImportError as error:
        raise ConfigError("Diffusion needs the package diffusers: pip install -e '.[diffusion]'.") from error
    return Scheduler(
        num_train_timesteps=num_train_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction,
        clip_sample=False,  # Signals, other than images, have no bounds.
    )


@torch.no_grad()
def sample(
    network: nn.Module,
    scheduler: Any,
    condition: Tensor,
    target_size: int,
    num_steps: int,
    guidance: float,
    generator: Generator | None = None,
) -> Tensor:
    """Draws a target, B×L×T, for each condition.

    Args:
        network: A `DiT1D1D`.
        scheduler: From `make_scheduler`.
        condition: B×L×C.
        target_size: Numbers per step of the target, T.
        num_steps: Steps from noise to data.
        guidance: Weight w of classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, with w counted from 0
            for no condition): the prediction is u + w·(c − u), of the conditioned c and the unconditioned u.
        generator: Random numbers; null for torch's own.
    """
    batch_size, length = condition.shape[:2]
    noisy = condition.new_empty(batch_size, length, target_size).normal_(generator=generator)
    scheduler.set_timesteps(num_steps, device=condition.device)
    for time in scheduler.timesteps:
        prediction = guided(network, noisy, time.expand(batch_size), condition, guidance)
        noisy = scheduler.step(prediction, time, noisy, generator=generator).prev_sample
    return noisy


def guided(network: nn.Module, noisy: Tensor, time: Tensor, condition: Tensor, guidance: float) -> Tensor:
    """Returns the prediction under classifier-free guidance; see `sample`."""
    conditioned: Tensor = network(noisy, time, condition)
    if guidance == 1.0:
        return conditioned
    nobody = torch.zeros(len(noisy), dtype=torch.bool, device=noisy.device)
    unconditioned: Tensor = network(noisy, time, condition, nobody)
    return unconditioned + guidance * (conditioned - unconditioned)
