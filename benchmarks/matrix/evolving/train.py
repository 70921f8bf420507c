"""Evolves the matrix's networks: `python benchmarks/matrix/evolving/train.py task=control`."""

from typing import Any

from hydra_zen import ZenStore

from benchmarks.matrix.interruption import event
from common.ne.evaluator.score_gym import ScoreGym, ScoreGymConfig
from common.ne.runner import NeuroevolutionTaskRunner
from common.utils.hydra_zen import generate_config


class InterruptedScoreGym(ScoreGym):
    """Scores as its parent does, and can be interrupted before any episodes are played."""

    def play(self, *arguments: Any, **keywords: Any) -> Any:
        """Plays episodes."""
        event("play")
        return super().play(*arguments, **keywords)


class TaskRunner(NeuroevolutionTaskRunner):
    """Runs the task in `task/`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the evaluator that can be interrupted."""
        super().store_configs(store=store)
        evaluator = generate_config(InterruptedScoreGym, config=generate_config(ScoreGymConfig))
        store(evaluator, group="evaluator", name="interrupted")


if __name__ == "__main__":
    TaskRunner.run_task()
