"""Sends a batch through a network before anything starts, to see whether they fit each other."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from hydra_zen import instantiate
from lightning_utilities.core.apply_func import apply_to_collection

from common.check.problem import Problem
from common.dl.datamodule.base import BaseDataModule
from common.dl.litmodule.base import BaseLitModule
from common.utils.hydra import leaves

NETWORK = "litmodule.nnmodule"

UNUSED = {
    "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True},
    "scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "_partial_": True},
}
"""What does not touch shapes: without it, more points are alike."""


def check_shapes(config: Mapping[Any, Any], wrong_keys: set[str]) -> list[Problem]:
    """Returns a problem if the network, or the loss, cannot take a batch of the data module's example.

    Nothing is judged where the data module has no example, or could not be built, or the network. Configurations that
    are alike are tried once.

    Args:
        config: A configuration, resolved, in plain containers.
        wrong_keys: What is known to be wrong with it.
    """
    unused = tuple(f"litmodule.{part}" for part in UNUSED)
    if any(key.startswith(("datamodule", "litmodule")) and not key.startswith(unused) for key in wrong_keys):
        return []
    tree = {"datamodule": unseeded(config["datamodule"]), "litmodule": config["litmodule"] | UNUSED}
    problem = _try(Parts(repr(tree), tree))
    return [problem] if problem else []


@dataclass(frozen=True)
class Parts:
    """What is tried.

    Attributes:
        text: What tells it from others.
        tree: Data module and Lightning module in plain containers.
    """

    text: str
    tree: dict[str, Any] = field(compare=False)


def unseeded(datamodule: Any) -> Any:
    """Returns a data module's node with the same seed for all: no shape depends on it."""
    config = datamodule.get("config")
    is_seeded = isinstance(config, dict) and "seed" in config
    return datamodule | {"config": config | {"seed": 0}} if is_seeded else datamodule


@functools.lru_cache(maxsize=1000)
def _try(parts: Parts) -> Problem | None:
    """Tries a batch without numbers, on the device `meta`, and only if that fails, with numbers.

    The first costs milliseconds whatever the network's size, but may fail for other reasons than shapes.
    """
    tree = parts.tree
    datamodule: BaseDataModule = instantiate(tree["datamodule"])
    batch = datamodule.example_batch()
    if batch is None or _error_on("meta", tree, batch) is None:
        return None
    error = _error_on("cpu", tree, batch)
    return None if error is None else _describe(error, tree, batch)


def _error_on(device: str, tree: dict[str, Any], batch: Any) -> Exception | None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            with torch.device(device):
                module: BaseLitModule = instantiate(tree["litmodule"])
                module.try_batch(apply_to_collection(batch, torch.Tensor, lambda tensor: tensor.to(device)))
        except Exception as error:  # Whatever a network may raise.
            return error
    return None


def _describe(error: Exception, tree: dict[str, Any], batch: Any) -> Problem:
    """Returns what to tell, with the keys whose numbers the error names."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    numbers = set(re.findall(r"(?<![a-z]{2})(?<!\d)\d+", said))  # Not those in names, as in "mat1".
    sizes = [(key, value) for key, value in leaves(tree["litmodule"]["nnmodule"], NETWORK) if type(value) is int]
    named = [f"{key}={value}" for key, value in sizes if str(value) in numbers] or [f"{k}={v}" for k, v in sizes]
    found: list[str] = []
    apply_to_collection(batch, torch.Tensor, lambda tensor: found.append("×".join(map(str, tensor.shape))))
    shapes = ", ".join(found)
    text = f"The network does not fit the data, a batch of {shapes}: {said}. Look at {', '.join(named) or NETWORK}."
    return Problem(named[0].partition("=")[0] if named else NETWORK, text)
