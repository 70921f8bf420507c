"""The base of every Lightning module: what it refuses, counts, logs and schedules."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor
from torch.optim.lr_scheduler import LinearLR
from torchmetrics import MeanMetric

from common.dl.litmodule.base import BaseLitModule, BaseLitModuleConfig


class Reported(BaseLitModule):
    """Its step returns a mapping: the loss, a number and a torchmetric."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.mean = MeanMetric()

    def step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Returns the samples' numbers as metrics."""
        loss = self.nnmodule(batch[0][:, 1:]).square().mean()
        self.mean(batch[0][:, 0])
        return {"loss": loss, "number": batch[0][:, 0].mean(), "metric": self.mean}


def test_init_that_drops_arguments_is_refused_with_the_line_to_write() -> None:
    with pytest.raises(TypeError) as refusal:

        class Forgetful(BaseLitModule):
            def __init__(self, config: BaseLitModuleConfig, optimizer: Any) -> None: ...

    assert "Forgetful.__init__() drops nnmodule, scheduler. Write:" in str(refusal.value)
    assert "super().__init__(config, nnmodule, optimizer, scheduler)" in str(refusal.value)


def test_init_that_passes_everything_on_is_accepted() -> None:
    class Longer(BaseLitModule):
        def __init__(self, config: Any, nnmodule: Any, optimizer: Any, scheduler: Any, more: int = 1) -> None:
            super().__init__(config, nnmodule, optimizer, scheduler)

    class Free(BaseLitModule):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)

    assert issubclass(Longer, BaseLitModule)
    assert issubclass(Free, BaseLitModule)


def test_module_without_step_cannot_be_built(make_parts: Callable[..., Any]) -> None:
    class Stepless(BaseLitModule):
        pass

    with pytest.raises(TypeError, match=r"abstract method.*step"):
        Stepless(*make_parts())


def test_step_may_return_the_loss_alone(
    make_parts: Callable[..., Any],
    make_datamodule: Callable[..., Any],
    make_trainer: Callable[..., Any],
    regression: Any,
) -> None:
    trainer = make_trainer(max_epochs=5)
    module = regression(*make_parts())
    trainer.fit(module, datamodule=make_datamodule())
    assert {"train/loss", "val/loss"} <= set(trainer.callback_metrics)
    assert trainer.validate(module, datamodule=make_datamodule(), verbose=False)[0].keys() == {"val/loss"}
    assert trainer.test(module, datamodule=make_datamodule(), verbose=False)[0].keys() == {"test/loss"}


def test_every_entry_of_a_mapping_is_logged_below_its_stage(
    make_parts: Callable[..., Any], make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    trainer = make_trainer()
    module = Reported(*make_parts())
    trainer.fit(module, datamodule=make_datamodule())
    assert {"train/number", "train/metric", "val/number", "val/metric"} <= set(trainer.callback_metrics)
    tested = trainer.test(module, datamodule=make_datamodule(), verbose=False)[0]
    assert tested.keys() == {"test/loss", "test/number", "test/metric"}


def test_metrics_of_an_epoch_weigh_samples_not_batches(
    make_parts: Callable[..., Any], make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    module, data = Reported(*make_parts()), make_datamodule(val=5)  # Batches of 4 and of 1.
    logged = make_trainer().validate(module, datamodule=data, verbose=False)[0]
    assert logged["val/number"] == pytest.approx((0 + 1 + 2 + 3 + 4) / 5)
    inputs = data.datasets.val.tensors[0]
    assert logged["val/loss"] == pytest.approx(module.nnmodule(inputs[:, 1:]).square().mean().item(), rel=1e-5)


def test_module_works_without_a_trainer(make_parts: Callable[..., Any], regression: Any) -> None:
    module = regression(*make_parts())
    loss = module.step((torch.randn(3, 4), None), 0)
    loss.backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert not module.is_logging_step
    assert not module.wants_samples
    assert torch.equal(module.training_step((torch.ones(3, 4), None), 0), module.step((torch.ones(3, 4), None), 0))


def test_stage_tells_what_step_is_called_for(
    make_parts: Callable[..., Any], make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    stages: list[str] = []

    class Noting(BaseLitModule):
        def step(self, batch: Any, batch_idx: int) -> Tensor:
            stages.append(self.stage)
            loss: Tensor = self.nnmodule(batch[0][:, 1:]).mean()
            return loss

    module, trainer = Noting(*make_parts()), make_trainer(num_sanity_val_steps=0)
    trainer.fit(module, datamodule=make_datamodule())
    trainer.test(module, datamodule=make_datamodule(), verbose=False)
    assert stages == ["train"] * 3 + ["val"] * 2 + ["test"] * 2


def test_counters_go_on_from_a_checkpoint(
    make_parts: Callable[..., Any],
    make_datamodule: Callable[..., Any],
    make_trainer: Callable[..., Any],
    regression: Any,
    tmp_path: Path,
) -> None:
    module, trainer = regression(*make_parts()), make_trainer(max_epochs=2, num_sanity_val_steps=2)
    trainer.fit(module, datamodule=make_datamodule())
    assert (module.curr_train_step, module.curr_val_epoch) == (6, 2)  # The check before the first step is no epoch.
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    later = regression(*make_parts())
    make_trainer(max_epochs=3, num_sanity_val_steps=2).fit(
        later, datamodule=make_datamodule(), ckpt_path=str(tmp_path / "some.ckpt"), weights_only=True
    )
    assert (later.curr_train_step, later.curr_val_epoch) == (9, 3)


def test_scheduler_is_stepped_once_per_optimiser_step(
    make_parts: Callable[..., Any],
    make_datamodule: Callable[..., Any],
    make_trainer: Callable[..., Any],
    regression: Any,
) -> None:
    rates: list[float] = []

    class Recorder(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            rates.append(optimizer.param_groups[0]["lr"])

    scheduler = partial(LinearLR, start_factor=0.25, end_factor=1.0, total_iters=3)
    module = regression(*make_parts(scheduler=scheduler, lr=1.0))
    trainer = make_trainer(max_epochs=4, accumulate_grad_batches=2, callbacks=[Recorder()])
    trainer.fit(module, datamodule=make_datamodule(train=16))  # Four batches, so two optimiser steps an epoch.
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1])


def test_training_is_logged_at_every_nth_step_alone(
    make_parts: Callable[..., Any], make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    logged: list[int] = []

    class Noting(BaseLitModule):
        def step(self, batch: Any, batch_idx: int) -> Tensor:
            if self.is_logging_step and self.stage == "train":
                logged.append(self.trainer.global_step)
            loss: Tensor = self.nnmodule(batch[0][:, 1:]).mean()
            return loss

    make_trainer(max_epochs=3, log_every_n_steps=2).fit(Noting(*make_parts()), datamodule=make_datamodule())
    assert logged == [1, 3, 5, 7]


@pytest.mark.parametrize("wrong", [{"wandb_train_log_interval": 0}, {"wandb_num_samples": -1}], ids=str)
def test_wrong_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        BaseLitModuleConfig(**wrong)


def test_a_step_that_runs_out_of_something_does_not_end_the_epoch(
    make_trainer: Callable[..., Any], make_datamodule: Callable[..., Any], make_parts: Any, regression: Any
) -> None:
    class Runs(regression):  # type: ignore[misc, valid-type]
        def step(self, batch: Any, batch_idx: int) -> Any:
            return next(iter([]))

    trainer = make_trainer(num_sanity_val_steps=0)
    with pytest.raises(RuntimeError, match=r"Runs\.step\(\) raised StopIteration"):
        trainer.fit(Runs(*make_parts()), datamodule=make_datamodule())
