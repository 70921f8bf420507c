"""W&B is a replica: its failures are said once and stop nothing."""

import logging
from typing import Any

import pytest

from common.dl.outputs.wandb import BestEffortWandbLogger


class _BrokenRun:
    """A W&B run whose service has died."""

    step = 0

    def __init__(self) -> None:
        self.num_calls = 0

    def log(self, row: dict[str, Any], step: int | None = None) -> None:
        self.num_calls += 1
        raise ConnectionResetError("Connection lost")

    def finish(self) -> None:
        self.num_calls += 1


@pytest.fixture
def broken() -> tuple[BestEffortWandbLogger, _BrokenRun]:
    logger = BestEffortWandbLogger(project="x")
    run = _BrokenRun()
    logger._experiment = run
    return logger, run


def test_a_failure_is_said_once_and_raises_nothing(
    broken: tuple[BestEffortWandbLogger, _BrokenRun], caplog: pytest.LogCaptureFixture
) -> None:
    logger, run = broken
    with caplog.at_level(logging.WARNING):
        logger.log_metrics({"train/loss": 1.0}, step=1)
        logger.log_metrics({"train/loss": 1.0}, step=2)
        logger.log_row({"samples": 1})
        logger.finish()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "W&B failed (ConnectionResetError: Connection lost)" in said[0]
    assert run.num_calls == 1


def test_rows_are_counted_until_a_failure(broken: tuple[BestEffortWandbLogger, _BrokenRun]) -> None:
    logger, _ = broken
    assert logger.num_rows() == 0
    logger.log_metrics({"train/loss": 1.0}, step=1)
    assert logger.num_rows() is None
