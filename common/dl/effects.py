"""Refuses keys that are given and would have no effect: whoever sets one relies on it."""

from collections.abc import Mapping
from typing import Any

from common.check.problem import Problem
from common.check.tree import select
from common.utils.text import shown

WITHOUT_EFFECT: dict[str, tuple[tuple[Any, ...], str]] = {
    "trainer.enable_checkpointing": (
        (None, False),
        "a run saves its checkpoints itself; config.save_every_n_minutes says how often",
    ),
    "trainer.enable_model_summary": (
        (None, False),
        "a run prints none. Add it as a callback: +callbacks.summary._target_=pytorch_lightning.callbacks.ModelSummary",
    ),
    "trainer.logger": ((None, True), "choose one by logger=<name>; metrics.csv is written in any case"),
    "logger.log_model": ((None, False), "a run's checkpoints stay in its folder, in lightning/"),
    "logger.checkpoint_name": ((None,), "a run's checkpoints stay in its folder, in lightning/"),
}
"""By key the values that change nothing, and what to do instead of giving another."""


def check_effects(config: Mapping[Any, Any], wrong_keys: set[str]) -> list[Problem]:
    """Returns a problem for each key whose value would be dropped.

    Args:
        config: A configuration, resolved, in plain containers.
        wrong_keys: What is known to be wrong with it.
    """
    return [
        Problem(key, f"{key}={shown(value)} has no effect: {instead}.")
        for key, (neutral, instead) in WITHOUT_EFFECT.items()
        if (value := select(dict(config), key)) not in neutral and key not in wrong_keys
    ]
