"""Noise schedules, from diffusers, samplers and guidance.

Axes: B batch; L length; C numbers per step of the condition; T numbers per step of the target.
"""

import math
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from common.errors import ConfigError

Sampler = Literal["ddpm", "ddim"]
Prediction = Literal["epsilon", "v_prediction"]


MAX_FIRST_GROWTH = 10.0
"""How many times an error in the predicted noise may grow in a sampler's first step, which sees next to no signal."""


def make_schedule(num_train_steps: int, prediction: Prediction) -> Any:
    """Returns a noise schedule that suits what the network predicts.

    For the velocity (Salimans and Ho 2022, arXiv 2202.00512) it is that by cosines (Nichol and Dhariwal 2021, arXiv
    2102.09672, section 3.2), which ends in noise alone. There a prediction of the noise says nothing about the signal,
    so for it the schedule is the linear one of Ho et al. 2020, arXiv 2006.11239, section 4, with rates of six tenths:
    √0.002 of the signal are left at its end, which a sample that begins as noise misses, but an error of the network
    grows 20 times and not 160 times.

    Args:
        num_train_steps: Steps from data to noise.
        prediction: What the network predicts: the noise, or the velocity.

    Raises:
        ConfigError: diffusers is not installed.
    """
    try:
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    except ImportError as error:
        raise ConfigError("Diffusion needs the package diffusers: pip install -e '.[diffusion]'.") from error
    if prediction == "v_prediction":
        return DDPMScheduler(num_train_steps, beta_schedule="squaredcos_cap_v2", prediction_type=prediction)
    # The published rates are for 1,000 steps.
    rates = 0.6 * torch.linspace(1e-4, 0.02, num_train_steps) * (1000 / num_train_steps)
    return DDPMScheduler(num_train_steps, trained_betas=rates.clamp(max=0.999).numpy(), prediction_type=prediction)


def sampling_times(schedule: Any, num_steps: int) -> list[int]:
    """Returns the times that a sampler visits, evenly spaced, from the noisiest that was trained.

    So a sample begins at a time at which there is next to nothing but noise, as it does itself ("trailing" in Lin et
    al. 2023, arXiv 2305.08891, section 3.3).

    Args:
        schedule: From `make_schedule`.
        num_steps: Steps from noise to data.

    Raises:
        ConfigError: the schedule cannot be walked in so many steps; the text names those in which it can.
    """
    num_train_steps, fewest = len(schedule.alphas_cumprod), 1
    if schedule.config.prediction_type == "epsilon":
        while fewest < num_train_steps and _first_growth(schedule, fewest) > MAX_FIRST_GROWTH:
            fewest += 1
    if not fewest <= num_steps <= num_train_steps:
        raise ConfigError(
            f"num_sampling_steps must be from {fewest} to {num_train_steps} with num_train_steps={num_train_steps} and "
            f"prediction={schedule.config.prediction_type}; received {num_steps}."
        )
    return _evenly_spaced(num_train_steps, num_steps)


@torch.no_grad()
def sample(
    network: nn.Module,
    schedule: Any,
    condition: Tensor,
    target_size: int,
    num_steps: int,
    guidance: float,
    sampler: Sampler = "ddim",
    generator: Generator | None = None,
) -> Tensor:
    """Draws a target, B×L×T, for each condition.

    Each step splits what there is into signal and noise, as the network predicts them, and mixes them again as the next
    time of `sampling_times` has them. diffusers' own samplers assume that times lie a whole number of steps apart.

    Args:
        network: A `DiT1D1D`.
        schedule: From `make_schedule`.
        condition: B×L×C.
        target_size: Numbers per step of the target, T.
        num_steps: Steps from noise to data.
        guidance: Weight w of classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, with w counted from 0
            for no condition): the prediction is u + w·(c − u), of the conditioned c and the unconditioned u.
        sampler: `ddim` (Song et al. 2020, arXiv 2010.02502, equation 12, with η = 0), or `ddpm` (Ho et al. 2020, arXiv
            2006.11239), which is the same equation with η = 1.
        generator: Random numbers; null for torch's own.
    """
    batch_size, length = condition.shape[:2]
    noisy = condition.new_empty(batch_size, length, target_size).normal_(generator=generator)
    parts, times = _kept_parts(schedule), sampling_times(schedule, num_steps)
    kept_before_and_after = pairwise([*(parts[time] for time in times), 1.0])
    for time, (kept, next_kept) in zip(times, kept_before_and_after, strict=True):
        prediction = guided(network, noisy, torch.full((batch_size,), time, device=noisy.device), condition, guidance)
        signal, noise = _split(prediction, noisy, kept, schedule.config.prediction_type)
        fresh = (1 - next_kept) / (1 - kept) * (1 - kept / next_kept) if sampler == "ddpm" else 0.0  # A variance.
        noisy = math.sqrt(next_kept) * signal + math.sqrt(max(1 - next_kept - fresh, 0.0)) * noise
        if fresh > 0:
            noisy = noisy + math.sqrt(fresh) * torch.empty_like(noisy).normal_(generator=generator)
    return noisy


def guided(network: nn.Module, noisy: Tensor, time: Tensor, condition: Tensor, guidance: float) -> Tensor:
    """Returns the prediction under classifier-free guidance; see `sample`."""
    conditioned: Tensor = network(noisy, time, condition)
    if guidance == 1.0:
        return conditioned
    nobody = torch.zeros(len(noisy), dtype=torch.bool, device=noisy.device)
    unconditioned: Tensor = network(noisy, time, condition, nobody)
    return unconditioned + guidance * (conditioned - unconditioned)


def _split(prediction: Tensor, noisy: Tensor, kept: float, kind: Prediction) -> tuple[Tensor, Tensor]:
    """Returns the signal and the noise of which √kept and √(1 − kept) parts make what is noisy."""
    signal_part, noise_part = math.sqrt(kept), math.sqrt(1 - kept)
    if kind == "epsilon":
        return (noisy - noise_part * prediction) / signal_part, prediction
    return signal_part * noisy - noise_part * prediction, noise_part * noisy + signal_part * prediction


def _kept_parts(schedule: Any) -> list[float]:
    """Returns for each time the part of a noisy target's variance that is the signal's."""
    parts: list[float] = schedule.alphas_cumprod.double().tolist()
    return parts


def _evenly_spaced(num_train_steps: int, num_steps: int) -> list[int]:
    return [(2 * num_train_steps * step + num_steps) // (2 * num_steps) - 1 for step in range(num_steps, 0, -1)]


def _first_growth(schedule: Any, num_steps: int) -> float:
    """Returns how many times an error in the noise that is predicted first is found in what the first step leaves."""
    parts = _kept_parts(schedule)
    now, *later = (parts[time] for time in _evenly_spaced(len(parts), num_steps))
    return math.sqrt((later[0] if later else 1.0) / now)
