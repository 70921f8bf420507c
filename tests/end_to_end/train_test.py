"""What training does under the settings that a person may choose, seen from the command line."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

NO_WANDB = "logger=none"
"""For tests of what W&B has no part in; `reference` and others train with it, as shipped."""


@pytest.fixture
def reference(shipped: Any) -> Any:
    """The task `fnn` as it is shipped."""
    return shipped


@pytest.fixture(scope="module")
def ends_well(command: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that runs a command, and asserts that it succeeds."""

    def run(*overrides: str, task: str = "fnn", **keywords: Any) -> Any:
        finished = command(task, *overrides, **keywords)
        assert finished.status == 0, finished.output
        return finished

    return run


def without_time(run: Any) -> list[str]:
    """Returns the text of every cell of `metrics.csv` but the times."""
    rows = [line.split(",") for line in (run.folder / "metrics.csv").read_text().splitlines()]
    place = rows[0].index("time")
    return [",".join(cell for index, cell in enumerate(row) if index != place) for row in rows]


def steps_taken(run: Any) -> int:
    """Returns the optimiser steps that the last checkpoint counts."""
    step: int = torch.load(run.folder / "lightning" / "last.ckpt", weights_only=True)["global_step"]
    return step


def test_fnn_learns_the_digits(reference: Any) -> None:
    assert reference.final("test/accuracy") >= 0.93


def test_fnn_trains_three_epochs_of_the_automatic_batch_size(reference: Any) -> None:
    assert "Batch size: 13 per device (1 % of 1,318" in reference.log
    assert steps_taken(reference) == 3 * 102


def test_without_wandb_there_is_no_wandb_folder(ends_well: Callable[..., Any]) -> None:
    run = ends_well(NO_WANDB, "trainer.max_epochs=1")
    assert not (run.folder / "wandb").exists()
    assert "W&B" not in run.output


def test_a_pipe_gets_one_line_for_each_epoch_and_no_control_characters(reference: Any) -> None:
    lines = reference.output.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("Epoch")] == ["Epoch 0", "Epoch 1", "Epoch 2"]
    assert all(line.isprintable() for line in lines)
    (last,) = (line for line in lines if line.startswith("Epoch 2"))
    assert f"val/loss {reference.series('val/loss')[-1]:.4g}" in last


def test_switched_off_the_progress_is_not_shown(ends_well: Callable[..., Any]) -> None:
    run = ends_well("trainer.enable_progress_bar=false", "trainer.max_epochs=1", NO_WANDB)
    assert "Epoch" not in run.output


def test_counters_are_in_the_checkpoint(reference: Any) -> None:
    checkpoint = torch.load(reference.folder / "lightning" / "last.ckpt", weights_only=True)
    assert checkpoint["curr_train_step"] == 306
    assert checkpoint["curr_val_epoch"] == 3


def test_best_checkpoint_is_the_one_with_the_lowest_validation_loss(reference: Any) -> None:
    assert reference.final("val/loss") == min(reference.series("val/loss"))


def test_same_seed_gives_the_same_bits(reference: Any, ends_well: Callable[..., Any]) -> None:
    again = ends_well()
    assert without_time(again) == without_time(reference)
    parameters = again.parameters
    assert parameters.keys() == reference.parameters.keys()
    assert all(torch.equal(value, parameters[name]) for name, value in reference.parameters.items())


def test_another_seed_gives_other_numbers(reference: Any, ends_well: Callable[..., Any]) -> None:
    other = ends_well("config.seed=1", "trainer.max_epochs=1", NO_WANDB)
    assert not set(other.series("train/loss")) & set(reference.series("train/loss"))
    assert not set(other.series("val/loss")) & set(reference.series("val/loss"))


def test_evaluate_only_repeats_the_metrics_and_trains_nothing(reference: Any, ends_well: Callable[..., Any]) -> None:
    best = reference.folder / "lightning" / "best.ckpt"
    content = best.read_bytes()
    evaluated = ends_well("config.evaluate_only=true", f"config.ckpt_path={best}")
    for name in ("val/loss", "val/accuracy", "test/loss", "test/accuracy"):
        assert evaluated.series(name) == [reference.final(name)]
    assert evaluated.series("train/loss") == []
    assert not (evaluated.folder / "lightning").exists()
    assert best.read_bytes() == content


def test_ckpt_path_goes_on_where_the_checkpoint_was_written(
    reference: Any, ends_well: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = reference.folder / "lightning" / "last.ckpt"
    monkeypatch.chdir(last.parent)  # A relative path starts where the command was typed.
    longer = ends_well("config.ckpt_path=last.ckpt", "trainer.max_epochs=4", NO_WANDB)
    assert longer.config.config.ckpt_path == str(last)
    assert steps_taken(longer) == 4 * 102
    assert min(row["step"] for row in longer.metrics) >= 306
    checkpoint = torch.load(longer.folder / "lightning" / "last.ckpt", weights_only=True)
    assert (checkpoint["curr_train_step"], checkpoint["curr_val_epoch"]) == (408, 4)


def test_fast_dev_run_trains_validates_and_tests_one_batch(ends_well: Callable[..., Any]) -> None:
    run = ends_well("trainer.fast_dev_run=true")
    assert not (run.folder / "lightning").exists()
    assert "test/accuracy" in run.output
    assert run.metrics == []


def test_overfit_batches_uses_the_same_batches_in_every_epoch(ends_well: Callable[..., Any]) -> None:
    frozen = ends_well(
        "trainer.overfit_batches=2",
        "trainer.max_epochs=3",
        "trainer.log_every_n_steps=1",
        "litmodule.optimizer.lr=0",
        NO_WANDB,
    )
    losses = frozen.series("train/loss")
    assert len(losses) == 6
    assert losses[0:2] == losses[2:4] == losses[4:6]
    assert losses[0] != losses[1]


def test_overfit_batches_lets_the_loss_fall_to_almost_nothing(ends_well: Callable[..., Any]) -> None:
    run = ends_well("trainer.overfit_batches=2", "trainer.max_epochs=60", "trainer.log_every_n_steps=1", NO_WANDB)
    losses = run.series("train/loss")
    assert len(losses) == 120
    assert max(losses[-2:]) < 0.05 < 1 < min(losses[:2])


def test_early_stopping_stops(ends_well: Callable[..., Any]) -> None:
    run = ends_well(
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=100",  # No epoch is ever that much better than the one before.
        "trainer.max_epochs=9",
        NO_WANDB,
    )
    assert steps_taken(run) == 2 * 102


def test_optimiser_and_scheduler_are_chosen_on_the_command_line(ends_well: Callable[..., Any]) -> None:
    run = ends_well(
        "litmodule/optimizer=sgd",
        "litmodule.optimizer.lr=0.5",
        "litmodule.optimizer.momentum=0.25",
        "litmodule/scheduler=linear_warmup",
        "litmodule.scheduler.start_factor=0.5",
        "litmodule.scheduler.total_iters=204",
        "trainer.max_epochs=1",
        NO_WANDB,
    )
    checkpoint = torch.load(run.folder / "lightning" / "last.ckpt", weights_only=True)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert group["momentum"] == 0.25
    assert "betas" not in group
    assert group["lr"] == pytest.approx(0.5 * 0.75)  # Half of the warm-up: 102 of 204 optimiser steps.


def test_sweep_trains_every_point_as_if_it_were_alone(reference: Any, command: Callable[..., Any]) -> None:
    sweep = command("fnn", "config.seed=1,0", "trainer.max_epochs=1", "trainer.log_every_n_steps=50", NO_WANDB)
    assert sweep.status == 0, sweep.output
    from common.run.metrics import read_metrics

    folders = sorted(path.parent for path in sweep.root.glob("data/*/*/*/*/metrics.csv"))
    assert [folder.name for folder in folders] == ["0_config.seed=1", "1_config.seed=0"]
    losses = [[row["train/loss"] for row in read_metrics(folder) if "train/loss" in row] for folder in folders]
    assert losses[1] == reference.series("train/loss")[: len(losses[1])]
    assert losses[0] != losses[1]


def test_compiled_network_trains_with_the_losses_of_the_eager_one(ends_well: Callable[..., Any]) -> None:
    # Without dropout: torch's compiler draws other random numbers from the same state than eager torch does.
    limits = [f"trainer.limit_{stage}_batches={count}" for stage, count in (("train", 8), ("val", 1), ("test", 1))]
    short = (
        "trainer.max_epochs=1",
        "trainer.log_every_n_steps=1",
        "litmodule.nnmodule.config.num_layers=2",
        *limits,
        NO_WANDB,
    )
    eager, compiled = ends_well(*short), ends_well(*short, "config.compile=true")
    assert len(eager.series("train/loss")) == 8
    assert compiled.series("train/loss") == pytest.approx(eager.series("train/loss"), rel=1e-4)
    assert compiled.final("val/loss") == pytest.approx(eager.final("val/loss"), rel=1e-4)
    assert compiled.parameters.keys() == eager.parameters.keys()


def test_compiled_run_still_checks_shapes_in_its_first_step(command: Callable[..., Any]) -> None:
    run = command("fnn", "config.compile=true", "litmodule.nnmodule.config.input_size=783", NO_WANDB)
    assert run.status == 1
    assert "783" in run.output


def test_real_mnist_is_learnt_by_one_layer(ends_well: Callable[..., Any]) -> None:
    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (data / "MNIST").is_dir():
        pytest.skip(f"MNIST is not in {data}")
    run = ends_well(f"config.data_dir={data}", defaults=())
    assert run.provenance["data"]["source"] == "mnist"
    assert run.final("test/accuracy") >= 0.915
    assert steps_taken(run) == 3 * -(-55000 // 550)


def test_settings_that_contradict_each_other_start_nothing(command: Callable[..., Any]) -> None:
    run = command("fnn", "config.evaluate_only=true")
    assert run.status == 2
    assert "config.ckpt_path=<a file>" in run.output
    assert list(itertools.islice(run.root.rglob("metrics.csv"), 1)) == []
