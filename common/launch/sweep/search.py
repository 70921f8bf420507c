"""What chooses the points of a command, and how each of them ended.

The grid has a point for each combination of comma-separated values.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from common.errors import ConfigError
from common.run.finished import read_settled_record
from common.run.record import DamagedRecordError

PointStatus = Literal["finished", "failed", "pruned", "stopped", "killed", "not started"]
"""`pruned`: given up as hopeless, by an `optuna.TrialPruned`. `killed`: without a chance to say how it ended."""

PRUNED = "TrialPruned"


@dataclass
class Outcome:
    """How a point ended.

    Attributes:
        status: In a word.
        result: What its subtask returned, for a point that finished.
        error: What went wrong, for a point that failed.
        folder: Its folder; None for a point that was not started.
    """

    status: PointStatus
    result: Any = None
    error: str | None = None
    folder: Path | None = None


def outcome_of(folder: Path | None, error: str | None, budget: dict[str, Any]) -> Outcome:
    """Returns how a point ended that nobody works on any more.

    Args:
        folder: Its folder, if it has one.
        error: What went wrong, if that is known better than from the record.
        budget: How long the point was to go on: one that was finished earlier, and failed to go on, has failed.
    """
    if folder is None:
        return Outcome("not started")
    try:
        record = read_settled_record(folder)
    except DamagedRecordError as damage:
        return Outcome("failed", error=error or damage.what, folder=folder)
    if record.status == "finished" and error is None and not record.is_finished_at(budget):
        error = "it ended before its first checkpoint; what was finished earlier is as it was"
    if record.status == "finished" and error is None:
        return Outcome("finished", result=record.result, folder=folder)
    if (error or record.error or "").startswith(PRUNED):
        return Outcome("pruned", folder=folder)
    if record.status == "stopped" and error is None:
        return Outcome("stopped", folder=folder)
    error = error or record.error
    if record.status == "failed" or error is not None:
        return Outcome("failed", error=error, folder=folder)
    return Outcome("killed", error="it was killed before it could record why", folder=folder)


@dataclass
class GridSweeperConfig:
    """Configures the grid sweeper, which has nothing to configure."""

    _target_: str = "hydra_plugins.ai_research.sweeper.GridSweeper"


@dataclass
class Proposal:
    """A point that is to run.

    Attributes:
        index: Its position in the sweep, from 0.
        overrides: Its overrides, those of Hydra itself left out.
        is_over: Whether it is over already, and is only named for the record.
    """

    index: int
    overrides: list[str]
    is_over: bool = False


class Search(ABC):
    """Chooses the points of a command: one for a plain run, several for a sweep.

    Attributes:
        swept: The keys that vary; none for a plain run.
        num_points: How many points there will be.
        num_together: How many of them are chosen before any has run.
        examples: The overrides of points that stand for all: what is wrong with any is wrong with one of these.
        facts: What tells this search from another one with the same examples.
        budget: How long the search goes on; a larger budget continues it. Empty where points alone have budgets.
        keeps_finished: Whether a point that is finished never runs again.
        num_named: For how many points the names of folders have room; the same when the search goes on longer.
    """

    swept: list[str]
    num_points: int
    num_together: int
    examples: list[list[str]]
    facts: dict[str, Any]
    budget: dict[str, Any]
    keeps_finished: bool
    num_named: int

    @abstractmethod
    def batches(self, folder: Path) -> Iterator[list[Proposal]]:
        """Yields points that may run at the same time.

        Before more is asked for, `tell` is called for each point that was not over.

        Args:
            folder: The sweep's folder.
        """

    @abstractmethod
    def tell(self, index: int, outcome: Outcome) -> None:
        """Takes what became of a point.

        Args:
            index: Its position in the sweep.
            outcome: How it ended.
        """


class Grid(Search):
    """All combinations of the values that a command line lists.

    Args:
        arguments: The command's overrides.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.swept = swept_keys(arguments)
        self.examples = expand_grid(arguments)
        self.num_points = self.num_together = self.num_named = len(self.examples)
        self.keeps_finished = False
        self.facts: dict[str, Any] = {}
        self.budget: dict[str, Any] = {}

    def batches(self, folder: Path) -> Iterator[list[Proposal]]:
        """Yields all points at once."""
        yield [Proposal(index, overrides) for index, overrides in enumerate(self.examples)]

    def tell(self, index: int, outcome: Outcome) -> None:
        """Does nothing: no point depends on another."""


def parse_overrides(arguments: list[str]) -> list[Override]:
    """Parses the `key=value` arguments of a command line."""
    return OverridesParser.create().parse_overrides(arguments)


def text_of(override: Override) -> str:
    """Returns an override as it was typed."""
    assert override.input_line is not None
    return override.input_line


def expand_grid(arguments: list[str]) -> list[list[str]]:
    """Returns the overrides of each point of the grid that a command line spans.

    Args:
        arguments: The command's overrides, for example `["task=fnn", "litmodule.optimizer.lr=0.1,0.2"]`.

    Returns:
        One list of overrides per point; a single list where nothing is swept.

    Raises:
        ConfigError: a value asks for a random sweep, which a grid cannot give.
    """
    return [list(point) for point in product(*(_values(override) for override in parse_overrides(arguments)))]


def swept_keys(arguments: list[str]) -> list[str]:
    """Returns the keys that take more than one value, in the order in which they were given."""
    return [override.get_key_element() for override in parse_overrides(arguments) if override.is_sweep_override()]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [text_of(override)]
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"The grid sweeper cannot sweep over {override.input_line}: it takes lists of values, "
            "as in key=1,2,3 or key=range(1,4). hydra/sweeper=optuna searches intervals."
        )
    return values_of(override)


def values_of(override: Override) -> list[str]:
    """Returns one override for each value that a discrete sweep lists."""
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
