"""An engine that climbs a hill: in each round it tries a random step, and takes it if it leads upwards."""

import math
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra_zen import ZenStore
from omegaconf import MISSING

from common.config import CONTINUE, BaseSubtaskConfig, BaseTaskConfig
from common.engine import Budget, Engine
from common.errors import RunStoppedError
from common.run import stop
from common.run.checkpoint import LAST, last_checkpoint, read_newest_checkpoint, write_checkpoint
from common.run.metrics import MetricsFile
from common.runner import BaseTaskRunner
from common.store import store_task

TOY = Engine(
    budgets=[Budget("config.num_rounds", column="step", offset=1)],
    without_effect=["config.dies_in_round"],
    objective="height/best",
    direction="maximize",
    results=["height/"],
    checkpoints="camps",
    loader="tests.toy.engine",
)


@dataclass
class ToySubtaskConfig(BaseSubtaskConfig):
    """Settings of one climb.

    Attributes:
        num_rounds: How long to climb.
        dies_in_round: Before the end of which round the process is killed; null: in none.
    """

    num_rounds: int = 10
    dies_in_round: int | None = None


@dataclass
class ToyTaskConfig(BaseTaskConfig):
    """The primary configuration.

    Attributes:
        step_size: The standard deviation of a step.
    """

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"task": MISSING}])
    step_size: float = 0.5


class ToyRunner(BaseTaskRunner):
    """Runs a toy task."""

    engine = TOY

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the two settings."""
        super().store_configs(store=store)
        store_task(store, ToyTaskConfig, ToySubtaskConfig)

    @staticmethod
    def run_subtask(config: ToySubtaskConfig, step_size: float) -> float:
        """Climbs, and returns the height that was reached."""
        camps, metrics = Path(config.output_dir) / TOY.checkpoints, MetricsFile(Path(config.output_dir))
        own = last_checkpoint(camps)
        start = own or (None if config.ckpt_path in (None, CONTINUE) else Path(str(config.ckpt_path)))
        state: dict[str, Any] = {"round": 0, "place": 5.0, "metrics": None}
        if start is not None:
            state = read_newest_checkpoint(start)
        if own is not None:
            metrics.load_state_dict(state["metrics"])
        while state["round"] < config.num_rounds:
            number, place = state["round"], state["place"]
            tried = place + random.Random(f"{config.seed} {number}").gauss(0, step_size)
            place = tried if height(tried) > height(place) else place
            metrics.append({"height/best": height(place)}, number)
            if number == config.dies_in_round:
                os.kill(os.getpid(), signal.SIGKILL)
            state = {"round": number + 1, "place": place, "metrics": metrics.state_dict()}
            write_checkpoint(camps / LAST, state)
            if stop.is_stop_requested():
                raise RunStoppedError(f"Stopped by {stop.name_of_stop()} after round {number}, saved.")
        metrics.close()
        return height(state["place"])


def height(place: float) -> float:
    """Returns how high the hill is at a place."""
    return math.exp(-abs(place))


def load_run(folder: Path, allowed_targets: tuple[str, ...]) -> torch.Tensor:
    """Returns the place that a run has reached."""
    return torch.tensor(read_newest_checkpoint(folder / TOY.checkpoints / LAST)["place"])
