"""A training that is cut off anywhere, and started again, ends in the same bits.

What ends it: a signal, an error in somebody's code, or a crash that lets nothing be saved.
"""

import logging
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers.logger import DummyLogger

from common.dl.config import DeepLearningSubtaskConfig
from common.dl.engine import DEEP_LEARNING
from common.dl.random_states import seed_everything
from common.dl.utils.lightning import instantiate_trainer
from common.errors import ConfigError, RunError, RunStoppedError
from common.run.checkpoint import BEST, LAST, PREVIOUS, last_checkpoint, read_checkpoint
from common.run.mending import mend_checkpoints
from common.run.metrics import FILE_NAME
from common.run.stop import stop_on_signals

log = logging.getLogger(__name__)


class Crash(BaseException):
    """Ends a process at once, as far as anything that could be saved is concerned."""


class Fault(Callback):
    """Does something in the n-th forward pass of a process, once the network has computed."""

    def __init__(self, step: int, happen: Callable[[], None], stage: str = "train") -> None:
        self.step = step
        self.happen = happen
        self.stage = stage

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wraps `step`."""
        inner: Any = pl_module.step

        def step(batch: Any, batch_idx: int) -> Any:
            output = inner(batch, batch_idx)
            if pl_module.stage == self.stage and not trainer.sanity_checking:
                self.step -= 1
                if self.step == -1:
                    self.happen()
            return output

        pl_module.step = step


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail() -> None:
    raise ValueError("a mistake in somebody's code")


def crash() -> None:
    raise Crash


@pytest.fixture
def fit(make_datamodule: Any, make_classifier: Any, tmp_path: Path) -> Callable[..., Any]:
    """Returns a function that trains in a folder, from its last checkpoint if there is one."""

    def run(name: str, *callbacks: Callback, data: Any = None, config: Any = None, **settings: Any) -> Trainer:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        seed_everything(3)
        datamodule = make_datamodule(40, 8, 0, **(data or {}))
        module = make_classifier()
        subtask = DeepLearningSubtaskConfig(output_dir=str(folder), data_dir=str(folder), **(config or {}))
        module.on_bad_loss = subtask.on_bad_loss
        for line in mend_checkpoints(folder / DEEP_LEARNING.checkpoints):
            log.warning(line)
        start = last_checkpoint(folder / DEEP_LEARNING.checkpoints)
        keys = {"max_epochs": 3, "log_every_n_steps": 1, "accelerator": "cpu", "enable_progress_bar": False, **settings}
        trainer = instantiate_trainer(
            partial(Trainer, default_root_dir=str(folder), **keys),
            DummyLogger(),
            {str(index): callback for index, callback in enumerate(callbacks)},
            subtask,
            is_continuation=start is not None,
        )
        with stop_on_signals():
            trainer.fit(module, datamodule=datamodule, ckpt_path=start, weights_only=True)
        return trainer

    return run


def facts(folder: Path) -> dict[str, Any]:
    """Returns everything about a folder that must not depend on interruptions."""
    checkpoint = read_checkpoint(folder / DEEP_LEARNING.checkpoints / LAST)
    best = read_checkpoint(folder / DEEP_LEARNING.checkpoints / BEST)
    rows = [line.split(",") for line in (folder / FILE_NAME).read_text().splitlines()]
    place = rows[0].index("time")
    return {
        "metrics": [cell for row in rows for index, cell in enumerate(row) if index != place],
        "best": plain(best["state_dict"]),
        **{
            f"random {name}": plain(state)
            for name, state in checkpoint["continuation"]["ranks"][0]["random_states"].items()
        },
    } | {
        key: plain(checkpoint[key])
        for key in (
            "state_dict",
            "optimizer_states",
            "lr_schedulers",
            "global_step",
            "curr_train_step",
            "curr_val_epoch",
        )
    }


def plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


KINDS = {
    "as shipped": {},
    "map style": {"data": {"map_style": True}},
    "accumulated": {"accumulate_grad_batches": 3},
    "validated twice": {"val_check_interval": 0.5, "data": {"map_style": True, "fixed_per_device_num_workers": 0}},
    "unshuffled": {"data": {"keys": {"shuffle": False}}},
    "a last batch of two": {"data": {"batch_size": 6}},
    "max steps": {"max_steps": 23},
}


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What came of the trainings that were left in peace, by kind."""
    return {}


@pytest.fixture
def in_peace(fit: Callable[..., Any], tmp_path: Path, known: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Returns a function that says what comes of a kind of training that is left in peace; each trains once."""

    def facts_of(kind: str = "as shipped") -> dict[str, Any]:
        if kind not in known:
            fit("peaceful", **KINDS[kind])
            known[kind] = facts(tmp_path / "peaceful")
        peaceful: dict[str, Any] = known[kind]
        return peaceful

    return facts_of


@pytest.mark.parametrize("happen", [terminate, fail, crash], ids=lambda happen: happen.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_cut_off_ends_in_the_same_bits(
    fit: Callable[..., Any], in_peace: Any, tmp_path: Path, kind: str, happen: Callable[[], None]
) -> None:
    for step in (1, 4, 7):  # Of each launch: counted on, in several epochs.
        with pytest.raises((RunStoppedError, ValueError, Crash)):
            fit("troubled", Fault(step, happen), **KINDS[kind])
        if happen is crash:
            break
    fit("troubled", **KINDS[kind])
    assert facts(tmp_path / "troubled") == in_peace(kind)


@pytest.mark.parametrize("step", [0, 3, 10, 29])
def test_an_error_in_any_step_is_no_loss(fit: Callable[..., Any], in_peace: Any, tmp_path: Path, step: int) -> None:
    with pytest.raises(ValueError, match="somebody's code"):
        fit("troubled", Fault(step, fail))
    if step % 10:  # The first batch of an epoch: saved when the epoch before ended.
        assert read_checkpoint(tmp_path / "troubled" / DEEP_LEARNING.checkpoints / LAST)["global_step"] == step
    fit("troubled")
    assert facts(tmp_path / "troubled") == in_peace()


@pytest.mark.parametrize("happen", [terminate, fail, crash], ids=lambda happen: happen.__name__)
def test_a_training_that_is_cut_off_in_validation_ends_in_the_same_bits(
    fit: Callable[..., Any], in_peace: Any, tmp_path: Path, happen: Callable[[], None]
) -> None:
    with pytest.raises((RunStoppedError, ValueError, Crash)):
        fit("troubled", Fault(3, happen, "val"))
    fit("troubled")
    assert facts(tmp_path / "troubled") == in_peace()


def test_an_error_after_the_step_was_taken_does_not_take_it_twice(
    fit: Callable[..., Any], in_peace: Any, tmp_path: Path
) -> None:
    class Late(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 14:
                fail()

    with pytest.raises(ValueError, match="somebody's code"):
        fit("troubled", Late())
    fit("troubled")
    assert facts(tmp_path / "troubled") == in_peace()


@pytest.mark.parametrize("step", [1, 14, 29])
def test_an_error_in_fetching_a_batch_is_no_loss(
    fit: Callable[..., Any], in_peace: Any, tmp_path: Path, step: int
) -> None:
    class Unreadable(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            inner = trainer.datamodule.transform_batch  # type: ignore[attr-defined]

            def transform_batch(batch: Any, split: str) -> Any:
                if split == "train" and trainer.global_step == step:
                    random.random(), torch.rand(1)
                    fail()
                return inner(batch, split)

            trainer.datamodule.transform_batch = transform_batch  # type: ignore[attr-defined]

    with pytest.raises(ValueError, match="somebody's code"):
        fit("troubled", Unreadable())
    assert read_checkpoint(tmp_path / "troubled" / DEEP_LEARNING.checkpoints / LAST)["global_step"] == step
    fit("troubled")
    assert facts(tmp_path / "troubled") == in_peace()


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, {"persistent_workers": True, "shuffle": False}], ids=["", "persistent"])
def test_a_training_with_workers_ends_in_the_same_bits(fit: Callable[..., Any], tmp_path: Path, keys: Any) -> None:
    data = {"map_style": True, "fixed_per_device_num_workers": 2, "keys": keys}
    fit("peaceful", data=data, max_epochs=2)
    with pytest.raises(RunStoppedError):
        fit("troubled", Fault(13, terminate), data=data, max_epochs=2)
    fit("troubled", data=data, max_epochs=2)
    assert facts(tmp_path / "troubled") == facts(tmp_path / "peaceful")


def test_a_signal_is_obeyed_at_the_next_step(fit: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RunStoppedError, match="Stopped by SIGTERM after step 5, saved"):
        fit("run", Fault(4, terminate))
    checkpoint = read_checkpoint(tmp_path / "run" / DEEP_LEARNING.checkpoints / LAST)
    assert (checkpoint["global_step"], checkpoint["curr_train_step"]) == (5, 5)


@pytest.mark.parametrize("happen", [terminate, crash], ids=lambda happen: happen.__name__)
@pytest.mark.parametrize("step", [2, 13, 25])
def test_early_stopping_stops_at_the_same_step(
    fit: Callable[..., Any], tmp_path: Path, step: int, happen: Callable[[], None]
) -> None:
    def stopping() -> EarlyStopping:
        return EarlyStopping("val/loss", patience=2, min_delta=100)

    assert fit("peaceful", stopping(), max_epochs=9).global_step == 30
    with pytest.raises((RunStoppedError, Crash)):
        fit("troubled", stopping(), Fault(step, happen), max_epochs=9)
    assert fit("troubled", stopping(), max_epochs=9).global_step == 30
    assert facts(tmp_path / "troubled") == facts(tmp_path / "peaceful")


def test_a_training_that_stopped_early_does_not_go_on(fit: Callable[..., Any], tmp_path: Path) -> None:
    for _ in range(2):  # The second as if the process had been killed while it evaluated.
        trainer = fit("run", EarlyStopping("val/loss", patience=2, min_delta=100), max_epochs=9)
        assert trainer.global_step == 30


def test_a_larger_budget_equals_a_straight_run(fit: Callable[..., Any], tmp_path: Path) -> None:
    fit("straight", max_epochs=5)
    fit("extended", max_epochs=3)
    fit("extended", max_epochs=5)
    assert facts(tmp_path / "extended") == facts(tmp_path / "straight")


def test_saving_within_an_epoch_follows_the_clock(fit: Callable[..., Any], tmp_path: Path) -> None:
    written: list[int] = []

    class Witness(Callback):
        def on_save_checkpoint(self, trainer: Trainer, *args: Any) -> None:
            written.append(trainer.global_step)

    fit("run", Witness(), config={"save_every_n_minutes": 1e-9}, max_epochs=1)
    assert written == list(range(1, 11))
    written.clear()
    fit("other", Witness(), max_epochs=2)
    assert written == [10, 20]


def test_a_checkpoint_holds_tensors_and_plain_values_alone(fit: Callable[..., Any], tmp_path: Path) -> None:
    fit("run", EarlyStopping("val/loss"), max_epochs=1)
    for name in (LAST, BEST):
        torch.load(tmp_path / "run" / DEEP_LEARNING.checkpoints / name, weights_only=True)


def test_threads_are_restored(fit: Callable[..., Any], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    with pytest.raises(RunStoppedError):
        fit("run", Fault(2, terminate))
    torch.set_num_threads(2)
    fit("run")
    assert torch.get_num_threads() == 1


def damage_randomly(path: Path, rng: random.Random, *, is_overwritten: bool = False) -> None:
    content = path.read_bytes()
    path.unlink()  # Another name of the same file stays whole.
    path.write_bytes(rng.randbytes(len(content)) if is_overwritten else content[: rng.randrange(len(content))])


@pytest.mark.parametrize("seed", range(21))  # The last writes random bytes, the others cut the file short.
def test_after_a_damaged_checkpoint_the_one_before_is_used(
    fit: Callable[..., Any], in_peace: Any, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RunStoppedError):
        fit("troubled", Fault(14, terminate))
    last = tmp_path / "troubled" / DEEP_LEARNING.checkpoints / LAST
    damage_randomly(last, random.Random(seed), is_overwritten=seed == 20)
    with pytest.raises(RunStoppedError):  # Neither what is kept as the one before, nor the best, is the damaged one.
        fit("troubled", Fault(0, terminate))
    assert "cannot be read" in caplog.text
    for name in (LAST, PREVIOUS, BEST):
        read_checkpoint(tmp_path / "troubled" / DEEP_LEARNING.checkpoints / name)
    fit("troubled")
    assert facts(tmp_path / "troubled") == in_peace()


def test_without_a_good_checkpoint_nothing_is_touched(fit: Callable[..., Any], tmp_path: Path) -> None:
    fit("run", max_epochs=2)
    folder = tmp_path / "run"
    for name in (LAST, PREVIOUS, BEST):
        damage_randomly(folder / DEEP_LEARNING.checkpoints / name, random.Random(1))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="No checkpoint of this run is good, and nothing was changed"):
        fit("run", max_epochs=3)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("call", ["os.fsync", "torch.save"])
def test_a_full_disk_leaves_the_last_good_checkpoint(
    fit: Callable[..., Any], in_peace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    def fill_up() -> None:
        monkeypatch.setattr(call, full)

    with pytest.raises(RunError, match="the disk is full"):
        fit("troubled", Fault(14, fill_up))
    assert read_checkpoint(tmp_path / "troubled" / DEEP_LEARNING.checkpoints / LAST)["global_step"] == 10
    assert not list((tmp_path / "troubled" / DEEP_LEARNING.checkpoints).glob(".*"))
    monkeypatch.undo()
    fit("troubled")
    assert facts(tmp_path / "troubled") == in_peace()
