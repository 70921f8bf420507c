"""What chooses the points of a command, and how each of them ended.

The grid has a point for each combination of comma-separated values.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, overload

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from common.check.problem import without_error_names
from common.errors import ConfigError
from common.run.finished import read_settled_record
from common.run.record import DamagedRecordError
from common.utils.beartype import ge
from common.utils.text import short, shown

MOST_POINTS = 100_000

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
class GridFields:
    """What the grid sweeper is told.

    Attributes:
        max_points: How many points a grid may have: one more zero in a range is seldom meant.
    """

    max_points: Annotated[int, ge(1)] = MOST_POINTS


@dataclass
class GridSweeperConfig(GridFields):
    """Configures the grid sweeper; see `GridFields`."""

    _target_: str = "hydra_plugins.ai_research.sweeper.GridSweeper"
    _convert_: str = "all"


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
    examples: Sequence[list[str]]
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


class GridPoints(Sequence[list[str]]):
    """The overrides of each point of a grid, the last key varying fastest; none is made before it is asked for.

    Args:
        axes: For each override its values, as overrides.
    """

    def __init__(self, axes: Sequence[Sequence[str]]) -> None:
        self._axes = axes

    def __len__(self) -> int:
        """Returns how many points there are."""
        return math.prod(map(len, self._axes))

    @overload
    def __getitem__(self, index: int) -> list[str]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[str]]: ...

    def __getitem__(self, index: int | slice) -> list[str] | list[list[str]]:
        """Returns the overrides of a point."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        rest = range(len(self))[index]
        point = []
        for axis in reversed(self._axes):
            rest, place = divmod(rest, len(axis))
            point.append(axis[place])
        return point[::-1]


class Grid(Search):
    """All combinations of the values that a command line lists.

    Args:
        arguments: The command's overrides.
        fields: The sweeper's.
    """

    def __init__(self, arguments: list[str], fields: GridFields) -> None:
        self.swept = swept_keys(arguments)
        self.examples = expand_grid(arguments, fields.max_points)
        self.num_points = self.num_together = self.num_named = len(self.examples)
        self.keeps_finished = False
        self.facts: dict[str, Any] = {}
        self.budget: dict[str, Any] = {}

    def batches(self, folder: Path) -> Iterator[list[Proposal]]:
        """Yields all points at once."""
        yield [Proposal(index, overrides) for index, overrides in enumerate(self.examples)]

    def tell(self, index: int, outcome: Outcome) -> None:
        """Does nothing: no point depends on another."""


_loader: ConfigLoader | None = None


def parse_with(loader: ConfigLoader | None) -> None:
    """Lets overrides name choices by patterns, as in `glob(*)`: a loader knows what there is to choose from."""
    global _loader  # One process runs one command.
    _loader = loader
    _parsed.cache_clear()


def parse_overrides(arguments: Sequence[str]) -> list[Override]:
    """Parses the `key=value` arguments of a command line.

    Raises:
        ConfigError: one is none.
    """
    return [_parsed(argument) for argument in arguments]


@functools.lru_cache(maxsize=20_000)
def _parsed(argument: str) -> Override:
    try:
        return OverridesParser.create(_loader).parse_overrides([argument])[0]
    except (HydraException, ValueError, RecursionError) as error:
        said = short(without_error_names(str(error).partition("\n")[0]) or "it is nested too deeply", 120)
        raise ConfigError(
            f"{shown(argument)} is no override: {said}. Write key=value; a value with other signs than letters, digits "
            "and ./:- goes into quotes, 'key=\"a value\"'."
        ) from error


def text_of(override: Override) -> str:
    """Returns an override as it was typed."""
    assert override.input_line is not None
    return override.input_line


def expand_grid(arguments: list[str], max_points: int = MOST_POINTS) -> GridPoints:
    """Returns the overrides of each point of the grid that a command line spans.

    Args:
        arguments: The command's overrides, for example `["task=fnn", "litmodule.optimizer.lr=0.1,0.2"]`.
        max_points: How many there may be.

    Returns:
        One list of overrides per point; a single list where nothing is swept.

    Raises:
        ConfigError: a value asks for a random sweep, which a grid cannot give; there are too many points, or none.
    """
    overrides = parse_overrides(arguments)
    count = math.prod(map(num_values, overrides))
    if count > max_points:
        raise ConfigError(
            f"The sweep has {count:,} points, more than hydra.sweeper.max_points={max_points}. Is that meant? Then add "
            f"hydra.sweeper.max_points={count}."
        )
    return GridPoints([_values(override) for override in overrides])


def swept_keys(arguments: list[str]) -> list[str]:
    """Returns the keys that take more than one value, in the order in which they were given."""
    return [override.get_key_element() for override in parse_overrides(arguments) if override.is_sweep_override()]


def num_values(override: Override) -> int:
    """Returns how many values an override lists, without listing them.

    Raises:
        ConfigError: it lists none, or never ends, or is drawn anew by each launch.
    """
    if not override.is_sweep_override():
        return 1
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"The grid sweeper cannot sweep over {short(text_of(override))}: it takes lists of values, "
            "as in key=1,2,3 or key=range(1,4). hydra/sweeper=optuna searches intervals."
        )
    sweep: Any = override.value()
    if getattr(sweep, "shuffle", False):
        raise ConfigError(
            f"{short(text_of(override))}: each launch would draw another order, and none could continue the "
            "one before. Leave shuffle out."
        )
    if isinstance(sweep, RangeSweep):
        count = _length(sweep)
    else:
        count = len(sweep.list if isinstance(sweep, ChoiceSweep) else values_of(override))
    if count == 0:
        raise ConfigError(f"{short(text_of(override))} lists no value.")
    return count


def _length(sweep: RangeSweep) -> int:
    bounds = [float(str(bound)) for bound in (sweep.start, sweep.stop, sweep.step)]
    start, stop, step = bounds
    if step == 0 or not all(map(math.isfinite, bounds)):
        raise ConfigError(
            f"range({sweep.start},{sweep.stop},{sweep.step}) never ends: its bounds must be finite, its step not 0."
        )
    return max(0, math.ceil((stop - start) / step))


def _values(override: Override) -> list[str]:
    return values_of(override) if override.is_sweep_override() else [text_of(override)]


def values_of(override: Override) -> list[str]:
    """Returns one override for each value that a discrete sweep lists."""
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
