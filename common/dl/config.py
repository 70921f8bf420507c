"""What a deep-learning subtask configures beyond the common settings, and which groups a task picks from."""

from dataclasses import dataclass, field
from typing import Any, Literal

from omegaconf import MISSING

from common.config import CONTINUE, BaseSubtaskConfig, BaseTaskConfig

OnBadLoss = Literal["stop", "skip"]

MAX_SKIPPED_STEPS = 20
"""More bad losses in a row than this are no accident."""


@dataclass
class DeepLearningSubtaskConfig(BaseSubtaskConfig):
    """Settings of one deep-learning subtask.

    Attributes:
        on_bad_loss: What to do when a loss is NaN or infinite: `stop` the run after saving the last good state, or
            `skip` the step, up to `MAX_SKIPPED_STEPS` in a row.
        evaluate_only: Whether to validate and test the checkpoint `ckpt_path`, without fitting.
    """

    on_bad_loss: OnBadLoss = "stop"
    evaluate_only: bool = False

    def __post_init__(self) -> None:
        """Checks what no single field can tell.

        Raises:
            ValueError: there is nothing to evaluate.
        """
        if self.evaluate_only and self.ckpt_path in (None, CONTINUE):
            raise ValueError("config.evaluate_only=true needs the checkpoint to evaluate: config.ckpt_path=<a file>.")


def _defaults() -> list[Any]:
    return [
        "_self_",
        {"trainer": "base"},
        {"litmodule/nnmodule": "fnn"},
        {"litmodule/optimizer": "adamw"},
        {"litmodule/scheduler": "constant"},
        {"logger": "wandb"},
        {"callbacks": "none"},
        {"task": MISSING},
    ]


@dataclass
class DeepLearningTaskConfig(BaseTaskConfig):
    """The primary configuration: the groups that a task file picks from, with their defaults.

    Attributes:
        defaults: One entry for each group that has a default; a task file replaces one by `override /<group>: <name>`,
            and adds what has none by `/<group>: <name>`.
    """

    defaults: list[Any] = field(default_factory=_defaults)
