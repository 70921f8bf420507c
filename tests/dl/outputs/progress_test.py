"""What the bar shows, of a training that goes on in mid-epoch above all."""

import fcntl
import io
import itertools
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers.logger import DummyLogger
from torch.utils.data import DataLoader, IterableDataset

from common.dl.config import DeepLearningSubtaskConfig
from common.dl.engine import DEEP_LEARNING
from common.dl.outputs import progress
from common.dl.outputs.progress import Bar, ProgressBar
from common.dl.utils.lightning import instantiate_trainer
from common.errors import RunStoppedError
from common.run.checkpoint import last_checkpoint
from common.run.stop import stop_on_signals

BATCHES = 11


class Stop(Callback):
    """Asks the run to stop in a given training step of this process, counted from 1."""

    def __init__(self, step: int) -> None:
        self.steps_left = step

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Counts down."""
        self.steps_left -= 1
        if self.steps_left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


class Endless(IterableDataset[Any]):
    """Samples without an end, and without a length."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        """Gives the same samples again and again."""
        return itertools.cycle(self.dataset[index] for index in range(len(self.dataset)))


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        """Says so."""
        return True


@pytest.fixture
def launch(
    make_datamodule: Any, make_classifier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Returns a function that trains, or goes on, until a stop, and returns what is shown."""
    monkeypatch.setattr(progress, "REFRESH_EVERY_S", 0.0)

    def run(shown: io.StringIO, stop_after: int = 10**6, data: Any = None, **settings: Any) -> str:
        datamodule = make_datamodule(4 * BATCHES, 8, 0, map_style=True, fixed_per_device_num_workers=0)
        if data is not None:
            datamodule.train_dataloader = lambda: data(datamodule.datasets.train)
        start = last_checkpoint(tmp_path / DEEP_LEARNING.checkpoints)
        monkeypatch.setattr(sys, "stdout", shown)
        keys = {"max_epochs": 2, "log_every_n_steps": 1, "accelerator": "cpu", **settings}
        trainer = instantiate_trainer(
            partial(Trainer, default_root_dir=str(tmp_path), **keys),
            DummyLogger(),
            {"stop": Stop(stop_after)},
            DeepLearningSubtaskConfig(output_dir=str(tmp_path), data_dir=str(tmp_path)),
            is_continuation=start is not None,
        )
        with stop_on_signals():
            trainer.fit(make_classifier(), datamodule=datamodule, ckpt_path=start, weights_only=True)
        return shown.getvalue()

    return run


@pytest.fixture
def positions(launch: Callable[..., str]) -> Callable[..., list[str]]:
    """Returns a function that trains, stops, goes on, and returns the positions that the bar shows from then on."""

    def run(stop_after: int, data: Any = None, **settings: Any) -> list[str]:
        with pytest.raises(RunStoppedError):
            launch(Terminal(), stop_after, data, **settings)
        shown = launch(Terminal(), data=data, **settings)
        found = re.findall(r"Epoch (\d+).*?(\d+/[\d?]+)", shown)
        return [key for key, _ in itertools.groupby(f"{epoch}: {position}" for epoch, position in found)]

    return run


def counted(epoch: int, first: int, last: int, total: Any = BATCHES) -> list[str]:
    return [f"{epoch}: {number}/{total}" for number in range(first, last + 1)]


def test_a_continued_epoch_shows_its_position_and_its_total_from_the_first_draw_on(positions: Any) -> None:
    assert positions(7) == [*counted(0, 7, BATCHES), *counted(1, 0, BATCHES)]


@pytest.mark.parametrize(
    ("stop_after", "settings", "expected"),
    [
        (4, {"limit_train_batches": 6}, [*counted(0, 4, 6, 6), *counted(1, 0, 6, 6)]),
        (4, {"accumulate_grad_batches": 4}, [*counted(0, 4, BATCHES), *counted(1, 0, BATCHES)]),
        (4, {"val_check_interval": 3, "max_epochs": 1}, counted(0, 4, BATCHES)),
        (2, {"max_steps": 5, "max_epochs": -1}, counted(0, 2, 5, 5)),
        (13, {"max_steps": 15, "max_epochs": -1}, counted(1, 2, 4, 4)),
        (4, {"max_steps": 2, "max_epochs": -1, "accumulate_grad_batches": 4}, counted(0, 4, 8, 8)),
    ],
    ids=["limited", "accumulated", "validated within", "steps", "steps, second epoch", "steps, accumulated"],
)
def test_the_total_is_what_the_epoch_ends_with(
    positions: Any, stop_after: int, settings: dict[str, Any], expected: list[str]
) -> None:
    assert positions(stop_after, **settings) == expected


def test_an_epoch_after_a_whole_one_begins_at_zero(positions: Any) -> None:
    shown = positions(BATCHES)  # The whole one, which was seen to its end, may be shown as such before.
    assert shown[shown[0] == f"0: {BATCHES}/{BATCHES}" :] == counted(1, 0, BATCHES)


def endless(dataset: Any) -> DataLoader[Any]:
    return DataLoader(Endless(dataset), batch_size=4)


def test_of_data_without_a_length_the_budget_is_the_total(positions: Any) -> None:
    assert positions(3, endless, max_steps=6, max_epochs=-1) == counted(0, 3, 6, 6)


def test_where_nobody_knows_the_length_the_position_is_shown(launch: Any) -> None:
    for first in (0, 3):
        shown = Terminal()
        with pytest.raises(RunStoppedError):
            launch(shown, 3, endless)
        found = re.findall(r"Epoch 0: .*?(\d+)/\?", shown.getvalue())
        assert [key for key, _ in itertools.groupby(found)] == [str(number) for number in range(first, first + 4)]


@pytest.mark.parametrize("step", [3, 2 * BATCHES], ids=["training", "validation"])
def test_a_bar_that_was_cut_off_leaves_its_place_to_the_next_point_of_a_sweep(launch: Any, step: int) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a mistake")

    callback = Callback()
    setattr(callback, "on_train_batch_start" if step == 3 else "on_validation_batch_start", fail)
    with pytest.raises(ValueError, match="a mistake"):
        launch(Terminal(), callbacks=[callback], num_sanity_val_steps=0)
    assert not Bar._instances


@pytest.mark.parametrize("total", [None, 4, 4.0, float("inf")])
def test_any_total_that_lightning_passes_is_taken(total: float | None) -> None:
    bar = ProgressBar()
    assert bar._should_update(3, total)
    assert not bar._should_update(3, total)
    assert bar._should_update(4, total) == (total == 4)


def test_a_pipe_gets_a_line_for_each_epoch_without_control_characters(launch: Any) -> None:
    first, second = launch(io.StringIO(), limit_val_batches=1).splitlines()
    assert re.fullmatch(r"Epoch 0: \d+ s, train/loss [\d.]+, train/accuracy [\d.]+, val/loss .*", first)
    assert second.startswith("Epoch 1: ")
    assert (first + second).isprintable()


@pytest.mark.parametrize(
    ("columns", "metrics"),
    [(80, "a/loss=1.000"), (160, "a/loss=1.000, a/long_name=2.000, c/loss=3.000"), (0, "a/loss=1.000"), (30, "")],
)
def test_a_line_is_as_wide_as_the_terminal_and_no_metric_is_cut(columns: int, metrics: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    with os.fdopen(theirs, "w") as file:
        bar = Bar(desc="Epoch 1", total=102, initial=17, file=file, bar_format=ProgressBar.BAR_FORMAT)
        bar.set_postfix({"a/loss": 1.0, "a/long_name": 2.0, "c/loss": 3.0})
        bar.close()
        drawn = written_to(ours).split("\r")
    lines = [line for line in drawn if "Epoch" in line]
    assert {len(line) for line in lines} == {columns or 80}
    assert lines[-1].endswith(f", {metrics}]" if metrics else "")
    assert "17/102" in lines[-1]


def written_to(terminal: int) -> str:
    """Returns what was written to a terminal, which always takes some of it at once."""
    pieces = []
    while select.select([terminal], [], [], 0)[0]:
        pieces.append(os.read(terminal, 65536))
    os.close(terminal)
    return b"".join(pieces).decode()
