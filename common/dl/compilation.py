"""Compiles a network, with the type checks of one eager step before."""

import os
import shutil

import jaxtyping
import torch

from common.dl.datamodule.base import BaseDataModule
from common.dl.litmodule.base import BaseLitModule
from common.dl.random_states import untouched_random_states
from common.dl.tuning import first_batch, loss_of, throw_away_copy
from common.errors import ConfigError


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
