"""Builds, for trial, what a run will build: values that only constructors refuse are found before anything starts."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from hydra_zen import instantiate

from common.check.problem import Problem
from common.check.tree import select
from common.check.trial import tried
from common.dl.checks import unseeded
from common.dl.datamodule.base import BaseDataModule

SCRATCH = os.curdir
"""Stands for the run's folder; nothing is written there."""

NEEDS_A_GPU = ("precision", "plugins", "sync_batchnorm", "benchmark", "strategy")
"""What a trainer may be told that this machine perhaps cannot do, and the one of the run can."""


def check_building(config: Mapping[Any, Any], wrong_keys: set[str], *, is_plain: bool) -> list[Problem]:
    """Returns a problem for each part of a subtask that cannot be built.

    Args:
        config: A configuration, resolved, in plain containers.
        wrong_keys: What is known to be wrong with it; those parts are left alone.
        is_plain: Whether the one subtask starts at once, and builds its logger as soon.
    """
    parts = {"datamodule": _datamodule, "litmodule": _optimizer, "callbacks": _callbacks, "trainer": _trainer}
    parts |= {} if is_plain else {"logger": _logger}
    problems: list[Problem] = []
    for key, check in parts.items():
        node = config.get(key)
        if node is not None and not any(
            wrong == key or wrong.startswith((f"{key}.", f"{key}[")) for wrong in wrong_keys
        ):
            if key == "trainer":
                node = _for_this_machine(node, select(config, "config.device"))
            if key == "datamodule":
                node = unseeded(node)
            if key == "litmodule":
                node = {part: node.get(part) for part in ("optimizer", "scheduler")}
            problems += check(key, node)
    return problems


@tried
def _datamodule(node: dict[Any, Any]) -> None:
    datamodule: Any = instantiate(node)
    if isinstance(datamodule, BaseDataModule):
        datamodule.try_loader()


@tried
def _optimizer(node: dict[Any, Any]) -> None:
    if node["optimizer"] is None or node["scheduler"] is None:
        return
    optimizer = instantiate(node["optimizer"])([torch.nn.Parameter(torch.zeros(2, 2))])
    instantiate(node["scheduler"])(optimizer)


@tried
def _callbacks(node: dict[Any, Any]) -> None:
    instantiate(node)


@tried
def _trainer(node: dict[Any, Any]) -> None:
    with _quiet():
        trainer = instantiate(node)
        trainer(logger=False, enable_checkpointing=False, enable_model_summary=False)


@tried
def _logger(node: dict[Any, Any]) -> None:
    with _quiet():
        instantiate(node)()


def _for_this_machine(node: dict[Any, Any], device: Any) -> dict[Any, Any]:
    """Returns a trainer's node for one process on this machine's CPU, that reports to nobody."""
    left_out = NEEDS_A_GPU if device == "gpu" else ("strategy",)
    kept = {key: value for key, value in node.items() if key not in left_out}
    return (
        kept
        | {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "enable_progress_bar": False}
        | ({} if node.get("default_root_dir") is None else {"default_root_dir": SCRATCH})
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Lets nobody hear what Lightning says of this machine's devices."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
