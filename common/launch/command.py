"""What a command asks for, as the launchers get it."""

from dataclasses import dataclass

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.engine import Engine
from common.launch.resources import Resources
from common.launch.sweep.search import Search


@dataclass
class Command:
    """What a command asks for.

    Attributes:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        config: The command's configuration, without the values that are swept.
        search: Chooses the points.
        resources: What a subtask may use.
        engine: What runs a subtask.
    """

    context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    search: Search
    resources: Resources
    engine: Engine
