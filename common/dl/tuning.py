"""Tries a network out on throw-away copies: parameters, random states and the order of data stay as they were.

That is how a batch size is chosen, and how a network is checked before it is compiled.
"""

import copy
import logging
import math
import os
import shutil
import time
from collections.abc import Callable

import jaxtyping
import torch

from common.dl.datamodule.base import BaseDataModule
from common.dl.litmodule.base import BaseLitModule
from common.dl.random_states import untouched_random_states
from common.errors import ConfigError
from common.foreign.pytorch_lightning import without_trainer

log = logging.getLogger(__name__)

MIN_GAIN = 1.05
"""A larger batch must raise the samples per second by this factor to be preferred."""

NUM_TIMED_STEPS = 3


def fastest_batch_size(litmodule: BaseLitModule, datamodule: BaseDataModule, device: torch.device, limit: int) -> int:
    """Returns the batch size with the most samples per second among the powers of two that fit in memory.

    Args:
        litmodule: The network and its loss.
        datamodule: Its `setup` has been called.
        device: Where to try.
        limit: The largest size to try.
    """
    sizes = [2**exponent for exponent in range(limit.bit_length())]
    sizes += [] if sizes[-1] == limit else [limit]
    return choose_batch_size(sizes, lambda size: samples_per_second(litmodule, datamodule, device, size))


def choose_batch_size(sizes: list[int], measure: Callable[[int], float]) -> int:
    """Returns the smallest size that no larger one beats by `MIN_GAIN`; stops at the first that does not fit.

    Args:
        sizes: Ascending.
        measure: Returns a size's samples per second, or raises `torch.OutOfMemoryError`.

    Raises:
        torch.OutOfMemoryError: not even the smallest size fits.
    """
    best, best_rate = sizes[0], 0.0
    for size in sizes:
        try:
            rate = measure(size)
        except torch.OutOfMemoryError:
            if best_rate == 0.0:
                raise
            break
        if rate > MIN_GAIN * best_rate:
            best, best_rate = size, rate
    return best


def samples_per_second(
    litmodule: BaseLitModule, datamodule: BaseDataModule, device: torch.device, batch_size: int
) -> float:
    """Measures training at a batch size, data loading aside."""
    with untouched_random_states():
        return batch_size / _step_seconds(litmodule, first_batch(datamodule, device, batch_size), device)


def num_workers_to_keep_up(litmodule: BaseLitModule, datamodule: BaseDataModule, device: torch.device) -> int:
    """Returns how many workers load batches as fast as the device uses them up."""
    batch_size = datamodule.per_device_batch_size
    with untouched_random_states():
        started = time.perf_counter()
        batch = first_batch(datamodule, device, batch_size)
        loading = time.perf_counter() - started
        return math.ceil(loading / _step_seconds(litmodule, batch, device))


def first_batch(datamodule: BaseDataModule, device: torch.device, batch_size: int) -> object:
    """Returns a training batch on a device, as the network will see it; the data module stays as it was."""
    before = datamodule.per_device_batch_size, datamodule.per_device_num_workers
    datamodule.per_device_batch_size, datamodule.per_device_num_workers = batch_size, 0
    try:
        batch = next(iter(datamodule.train_dataloader()))
    finally:
        datamodule.per_device_batch_size, datamodule.per_device_num_workers = before
    return datamodule.transform_batch(datamodule.transfer_batch_to_device(batch, device, 0), "train")


def throw_away_copy(litmodule: BaseLitModule, device: torch.device) -> BaseLitModule:
    """Returns a copy of a Lightning module, without its trainer, on a device and in training mode."""
    with without_trainer(litmodule):
        duplicate = copy.deepcopy(litmodule)
    return duplicate.to(device).train()


def loss_of(litmodule: BaseLitModule, batch: object) -> torch.Tensor:
    """Returns the loss of a batch."""
    output = litmodule.step(batch, 0)
    return output if isinstance(output, torch.Tensor) else output["loss"]


def _step_seconds(litmodule: BaseLitModule, batch: object, device: torch.device) -> float:
    """Measures one training step (forward, backward, update), after one that warms up."""
    duplicate = throw_away_copy(litmodule, device)
    optimizer = duplicate.optimizer(duplicate.parameters())
    for index in range(NUM_TIMED_STEPS + 1):
        if index == 1:
            _wait_for(device)
            started = time.perf_counter()
        optimizer.zero_grad()
        loss_of(duplicate, batch).backward()
        optimizer.step()
    _wait_for(device)
    return (time.perf_counter() - started) / NUM_TIMED_STEPS


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compile_network(litmodule: BaseLitModule, datamodule: BaseDataModule, device: torch.device) -> None:
    """Runs one eager step with all shape checks on a copy, then compiles the network without them.

    A compiled function trips false shape errors, so from here on jaxtyping's checks are off in this process.

    Args:
        litmodule: Its network is compiled in place; parameters, buffers and random states stay as they were.
        datamodule: Its `setup` has been called.
        device: Where the network will run.

    Raises:
        ConfigError: there is no C++ compiler, which `torch.compile` needs on the CPU.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ConfigError(
            f"config.compile=true needs a C++ compiler on the CPU; {compiler!r} was not found. Install one, or use "
            "config.compile=false."
        )
    with untouched_random_states():
        batch = first_batch(datamodule, device, datamodule.per_device_batch_size)
        loss_of(throw_away_copy(litmodule, device), batch).backward()
    jaxtyping.config.update("jaxtyping_disable", True)
    litmodule.nnmodule.compile()
