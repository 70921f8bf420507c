"""A loss that is not a number stops the run with what a person needs, or is left out, within bounds."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers.logger import DummyLogger

from common.dl.config import MAX_SKIPPED_STEPS, DeepLearningSubtaskConfig
from common.dl.datamodule.base import sampler_of
from common.dl.engine import DEEP_LEARNING
from common.dl.utils.lightning import instantiate_trainer
from common.errors import RunError
from common.run.checkpoint import LAST, read_checkpoint


class Poison(Callback):
    """Turns the first input of chosen steps' batches into something else."""

    def __init__(self, steps: range, value: float) -> None:
        self.steps = steps
        self.value = value
        self.parameters: dict[int, bytes] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Poisons."""
        self.parameters[pl_module.curr_train_step] = pl_module.nnmodule[0].weight.detach().numpy().tobytes()
        if pl_module.curr_train_step in self.steps:
            batch[0].fill_(self.value)


@pytest.fixture
def fit(make_datamodule: Any, make_classifier: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(callback: Callback, policy: Any = "stop", **settings: Any) -> Any:
        config = DeepLearningSubtaskConfig(output_dir=str(tmp_path), data_dir=str(tmp_path), on_bad_loss=policy)
        keys = {"max_epochs": 3, "log_every_n_steps": 1, "accelerator": "cpu", "enable_progress_bar": False} | settings
        trainer = instantiate_trainer(
            partial(Trainer, **keys), DummyLogger(), {"poison": callback}, config, is_continuation=False
        )
        module, datamodule = make_classifier(), make_datamodule(40, 8, 0)
        module.on_bad_loss = policy
        trainer.fit(module, datamodule=datamodule)
        return module

    return run


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_loss_stops_and_names_step_samples_and_learning_rate(
    fit: Callable[..., Any], make_datamodule: Any, value: float
) -> None:
    with pytest.raises(RunError) as error:
        fit(Poison(range(13, 14), value))
    order = sampler_of(make_datamodule(40, 8, 0).train_dataloader())
    order.set_epoch(1)
    samples = ", ".join(map(str, order.indices_of(3)))
    assert f"at step 13 (epoch 1, batch 3, samples {samples}; learning rate 0.01)." in str(error.value)
    assert "config.on_bad_loss=skip" in str(error.value)


def test_the_state_before_a_bad_loss_is_saved_without_a_trace_of_it(fit: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RunError):
        fit(Poison(range(13, 14), math.nan))
    checkpoint = read_checkpoint(tmp_path / DEEP_LEARNING.checkpoints / LAST)
    assert (checkpoint["global_step"], checkpoint["curr_train_step"]) == (13, 13)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_a_skipped_step_changes_no_parameter(fit: Callable[..., Any]) -> None:
    poison = Poison(range(13, 15), math.nan)
    module = fit(poison, "skip")
    assert module.curr_train_step == 30
    assert poison.parameters[12] != poison.parameters[13] == poison.parameters[14] == poison.parameters[15]
    assert poison.parameters[15] == poison.parameters[14]


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_a_skipped_step_has_no_gradients_to_clip(fit: Callable[..., Any], algorithm: str) -> None:
    poison = Poison(range(2), math.nan)  # The first steps, so that no earlier gradients are left.
    fit(poison, "skip", gradient_clip_val=0.1, gradient_clip_algorithm=algorithm)
    assert poison.parameters[0] == poison.parameters[2] != poison.parameters[3]


def test_steps_are_skipped_within_bounds(fit: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=rf"More than {MAX_SKIPPED_STEPS} steps in a row were skipped"):
        fit(Poison(range(3, 30), math.nan), "skip")


def test_a_continued_run_counts_on(make_classifier: Any) -> None:
    before, after, checkpoint = make_classifier(), make_classifier(), {}
    before._num_bad_losses = 7
    before.on_save_checkpoint(checkpoint)
    after.on_load_checkpoint(checkpoint)
    assert after._num_bad_losses == 7
