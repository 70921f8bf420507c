"""What a neuroevolution subtask configures beyond the common settings, and which groups a task picks from."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from omegaconf import MISSING

from common.config import BaseSubtaskConfig, BaseTaskConfig
from common.utils.beartype import ge, gt


@dataclass
class NeuroevolutionSubtaskConfig(BaseSubtaskConfig):
    """Settings of one neuroevolution subtask. It ends when the first of its budgets is spent.

    Attributes:
        num_generations: How many generations to evolve; null: any number.
        num_minutes: How long to evolve, in minutes, all launches of a run added up; null: any time.
        target_fitness: Mean total reward of the champion, over the validation episodes of a generation, at which to
            stop; null: none.
        save_every_n_generations: How often to save, in generations; null: by the clock alone
            (`save_every_n_minutes`).
        num_validation_episodes: Fresh episodes of each generation on which champion and challengers are compared.
        num_challengers: Individuals with the best fitness of a generation that are compared with the champion.
        num_test_episodes: Further episodes on which the champion is judged at the end.
    """

    num_generations: Annotated[int, ge(1)] | None = None
    num_minutes: Annotated[float, gt(0)] | None = None
    target_fitness: float | None = None
    save_every_n_generations: Annotated[int, ge(1)] | None = None
    num_validation_episodes: Annotated[int, ge(30)] = 30
    num_challengers: Annotated[int, ge(1)] = 1
    num_test_episodes: Annotated[int, ge(30)] = 100

    def __post_init__(self) -> None:
        """Checks what no single field can tell.

        Raises:
            ValueError: the run would never end, or asks for what neuroevolution does not have.
        """
        if self.num_generations is None and self.num_minutes is None and self.target_fitness is None:
            raise ValueError(
                "no budget: give config.num_generations, config.num_minutes or config.target_fitness (several may be "
                "given; the first that is reached ends the run)."
            )
        if self.device == "gpu":
            raise ValueError("config.device=gpu: neuroevolution runs on the CPU. Use config.device=cpu.")
        if self.compile:
            raise ValueError("config.compile=true: there is no torch network to compile. Use config.compile=false.")


def _defaults() -> list[Any]:
    return [
        "_self_",
        {"algorithm": "simple_ga"},
        {"population": "actor"},
        {"population/networks": "feedforward"},
        {"logger": "wandb"},
        {"task": MISSING},
    ]


@dataclass
class NeuroevolutionTaskConfig(BaseTaskConfig):
    """The primary configuration: the groups that a task file picks from, with their defaults.

    Attributes:
        defaults: One entry for each group that has a default; a task file replaces one by `override /<group>: <name>`,
            and adds what has none by `/<group>: <name>`.
    """

    defaults: list[Any] = field(default_factory=_defaults)
