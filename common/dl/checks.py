"""Refuses, before anything starts, what cannot be done exactly, and says what does the same.

That is: what a run could not continue to the same result; what the trainer's keys say of processes and devices where
the launcher does otherwise; a network that does not fit the data, to which a batch is sent. The launcher starts the
processes of a run and gives each its number. Were Lightning to start some, each would be a launch of its own, with a
folder; were it told of others, it would wait for them.
"""

import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra_zen import instantiate
from lightning_fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning.strategies import DDPStrategy

from common.check.problem import Problem
from common.check.tree import INSTANTIATION_KEYS, join, nodes, parameters_of, select, target_of
from common.dl.continuable import reason_against
from common.dl.datamodule.base import BaseDataModule
from common.dl.litmodule.base import BaseLitModule
from common.utils.hydra import leaves


def check_continuable(config: Mapping[Any, Any]) -> list[Problem]:
    """Returns a problem for each part of a configuration that would end an interrupted run with another result.

    Args:
        config: A configuration, resolved, in plain containers.
    """
    return [*_refused_callbacks(config), *_refused_settings(config), *_refused_loaders(config)]


def _refused_callbacks(config: Mapping[Any, Any]) -> Iterator[Problem]:
    for root in ("callbacks", "trainer.callbacks"):
        for path, node in nodes(select(config, root), root):
            callback = _class_of(node)
            reason = reason_against(callback)
            if reason is not None:
                yield Problem(path, f"{path}: {callback.__name__} is refused: {reason}.")


def _refused_settings(config: Mapping[Any, Any]) -> Iterator[Problem]:
    interval = select(config, "trainer.val_check_interval")
    if interval is not None and not isinstance(interval, int | float):
        key = join("trainer", "val_check_interval")
        yield Problem(
            key,
            f"{key}={interval} is refused: validating by the clock cannot be continued to the same result. Give a "
            "number of batches, or a part of the epoch.",
        )


def _refused_loaders(config: Mapping[Any, Any]) -> Iterator[Problem]:
    """Several ranks would all be served the same samples."""
    datamodule = _class_of(select(config, "datamodule"))
    numbers = [select(config, f"trainer.{key}") for key in ("devices", "num_nodes")]
    is_own = issubclass(datamodule, BaseDataModule)
    is_own = is_own and datamodule.train_dataloader is not BaseDataModule.train_dataloader
    if is_own and any(isinstance(number, int) and number > 1 for number in numbers):
        yield Problem(
            "datamodule",
            f"datamodule: {datamodule.__name__} has a train_dataloader() of its own, which on several ranks would "
            "serve all of them the same samples. Write train_weights() instead, or use one rank: "
            "hydra.launcher.tasks_per_node=1 hydra.launcher.nodes=1.",
        )


def _class_of(node: Any) -> Any:
    """Returns the class that a node builds; `object` where it builds none."""
    target = target_of(node) if isinstance(node, dict) else None
    return target if isinstance(target, type) else object


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


STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")
"""Those that start no process, keep every parameter on every rank, and have no state that a checkpoint lacks."""

DDP_KEYS = ("find_unused_parameters", "gradient_as_bucket_view", "broadcast_buffers")
"""What a DDPStrategy may be told, for the same reasons."""

ACCELERATORS = {"cpu": ("cpu",), "gpu": ("gpu", "cuda")}
"""What `trainer.accelerator` may be for each value of `config.device`."""


def check_devices(config: Mapping[Any, Any], wrong_keys: set[str]) -> list[Problem]:
    """Returns a problem for each key of the trainer that says something else than the launcher.

    Args:
        config: A configuration, resolved, in plain containers. Hydra's current one has the launcher's numbers, settled.
        wrong_keys: What is known to be wrong with it.
    """
    trainer = config.get("trainer")
    if not isinstance(trainer, dict) or any(key.startswith(("hydra", "config")) for key in wrong_keys):
        return []
    launcher = HydraConfig.get().launcher
    device, nodes, ranks = config["config"]["device"], launcher.nodes, launcher.tasks_per_node
    problems = [
        *_check_numbers(trainer, device, nodes, ranks),
        *_check_strategy(trainer.get("strategy", "auto")),
        *_check_rest(trainer, device, nodes * ranks),
    ]
    return [problem for problem in problems if problem.key not in wrong_keys]


def num_devices(devices: Any, device: str) -> int | None:
    """Returns how many devices Lightning would use on each node; None where that depends on the machine or on nothing.

    Args:
        devices: The value of `trainer.devices`, in any of the forms that Lightning takes.
        device: The value of `config.device`.
    """
    if isinstance(devices, str) and devices.strip().isdigit() and int(devices) > 0:
        return int(devices)
    if isinstance(devices, str) and device == "gpu" and "," in devices:
        devices = [int(part) if part.strip().isdigit() else None for part in devices.strip(" ,").split(",")]
    if isinstance(devices, list) and device == "gpu":  # The first ones; others are chosen by CUDA_VISIBLE_DEVICES.
        return len(devices) if devices == list(range(len(devices))) else None
    if devices == "auto" and device == "cpu":
        return 1
    return devices if type(devices) is int and devices > 0 else None


def _check_numbers(trainer: dict[str, Any], device: str, nodes: int, ranks: int) -> Iterator[Problem]:
    key = "gpus_per_node" if device == "gpu" else "tasks_per_node"
    devices, num_nodes = trainer.get("devices", ranks), trainer.get("num_nodes", nodes)
    wanted = num_devices(devices, device)
    if wanted != ranks:
        yield Problem(
            "trainer.devices",
            f"trainer.devices={devices!r} is not what hydra.launcher.{key} says, which makes {ranks} "
            f"{'process' if ranks == 1 else 'processes'} on each node. Leave trainer.devices out, and write "
            f"hydra.launcher.{key}={wanted or '<number>'}.",
        )
    if num_nodes != nodes:
        yield Problem(
            "trainer.num_nodes",
            f"trainer.num_nodes={num_nodes!r} is not what hydra.launcher.nodes says: the run has {nodes} "
            f"{'node' if nodes == 1 else 'nodes'}. Leave trainer.num_nodes out, and write hydra/launcher=slurm "
            f"hydra.launcher.nodes={num_nodes!r}; hydra/launcher=local has one node, this machine.",
        )


def _check_strategy(strategy: Any) -> Iterator[Problem]:
    """Yields a problem with a strategy's name or, where it is an object, with its class or what it is told."""
    what, allowed = f"trainer.strategy={strategy!r}", f"one of {', '.join(STRATEGIES)}"
    if isinstance(strategy, dict):
        target = target_of(strategy)
        what = f"trainer.strategy={strategy.get('_target_')}"
        if target is DDPStrategy:
            told = _told(strategy)
            what, allowed = f"trainer.strategy.{told}={strategy.get(told)!r}", f"no more than {', '.join(DDP_KEYS)}"
            if told is None:
                return
    elif strategy in STRATEGIES:
        return
    yield Problem(
        "trainer.strategy",
        f"{what} is not allowed: it must be {allowed}. The processes of a run are started and connected by "
        "hydra.launcher (tasks_per_node, gpus_per_node, nodes); leave trainer.strategy out, and it follows.",
    )


def _told(strategy: dict[str, Any]) -> str | None:
    """Returns the first key that changes a DDPStrategy in a way that is not allowed."""
    free = {*DDP_KEYS, *INSTANTIATION_KEYS}
    defaults = {name: parameter.default for name, parameter in parameters_of(DDPStrategy).items()}
    told = (key for key, value in strategy.items() if key not in free)
    return next((key for key in told if strategy[key] != defaults.get(key, inspect.Parameter.empty)), None)


def _check_rest(trainer: dict[str, Any], device: str, num_ranks: int) -> Iterator[Problem]:
    accelerator = trainer.get("accelerator", device)
    if accelerator not in ACCELERATORS[device]:
        yield Problem(
            "trainer.accelerator",
            f"trainer.accelerator={accelerator!r} is not what config.device={device} says. Leave trainer.accelerator "
            "out: it follows config.device.",
        )
    if trainer.get("use_distributed_sampler"):
        yield Problem(
            "trainer.use_distributed_sampler",
            "trainer.use_distributed_sampler=true has no effect: the data module shares the samples out among the "
            "processes of hydra.launcher.tasks_per_node. Leave it out.",
        )
    if trainer.get("sync_batchnorm") and (device == "cpu" or num_ranks == 1):
        yield Problem(
            "trainer.sync_batchnorm",
            f"trainer.sync_batchnorm=true needs several ranks on GPUs; config.device={device} and hydra.launcher make "
            f"{num_ranks} on the {device.upper()}. Leave it out.",
        )
    plugins = trainer.get("plugins") or []
    for plugin in plugins if isinstance(plugins, list) else [plugins]:
        target = target_of(plugin) if isinstance(plugin, dict) else None
        if not isinstance(target, type) or issubclass(target, ClusterEnvironment | CheckpointIO):
            name = plugin.get("_target_") if isinstance(plugin, dict) else plugin
            yield Problem(
                "trainer.plugins",
                f"trainer.plugins={name} is not allowed: hydra.launcher says which rank a process is, and config says "
                "how checkpoints are written. Leave it out; plugins for precision are allowed.",
            )
