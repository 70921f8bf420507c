"""Judges what the trainer's keys say of processes and devices: what the launcher does, or it is refused.

The launcher starts the processes of a run and gives each its number. Were Lightning to start some, each would be a
launch of its own, with a folder; were it told of others, it would wait for them.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning_fabric.plugins import CheckpointIO, ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy

from common.check.problem import Problem
from common.check.tree import INSTANTIATION_KEYS, parameters_of, target_of

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
