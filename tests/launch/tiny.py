"""A runner without an engine: it inverts a number, so that 0 fails."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra_zen import ZenStore
from omegaconf import MISSING

from common.config import BaseSubtaskConfig
from common.engine import Engine
from common.runner import BaseTaskRunner
from common.utils.hydra_zen import generate_config


@dataclass
class TinyTaskConfig:
    """The primary configuration."""

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"task": MISSING}])
    config: Any = MISSING
    number: float = 1.0
    free: Any = field(default_factory=dict)


class TinyRunner(BaseTaskRunner):
    """Inverts a number.

    Attributes:
        seen: The numbers that this process was given.
    """

    engine = Engine()
    seen: list[float]

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        super().store_configs(store=store)
        store(TinyTaskConfig(config=generate_config(BaseSubtaskConfig)), name="config")

    @staticmethod
    def run_subtask(config: BaseSubtaskConfig, number: float, free: Any) -> float:
        TinyRunner.seen.append(number)
        (Path(config.output_dir) / "result.txt").write_text(str(1 / number))
        return 1 / number
