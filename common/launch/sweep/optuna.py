"""The Optuna sweeper: each trial is a point of a sweep, whose values Optuna chooses.

Hydra's own plugin for Optuna requires a version below 3, keeps its study apart from the runs, and cannot go on after a
kill. This one asks and tells current Optuna by its public interface. What a trial is given follows from the seed, its
number, and the results of the batches before its own, and is written to a journal in the sweep's folder before the
trial runs: a sweep that was killed, at whatever moment, goes on with the same values.

Optuna: T. Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019. TPE: J. Bergstra
et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; here it also sees the trials of its own batch,
whose results are not known yet ("constant liar").
"""

import importlib.util
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from common.engine import Direction, Engine
from common.errors import ConfigError, RunError
from common.launch.role import folder_of_first_rank, folder_of_job, is_replay
from common.launch.sweep.search import (
    MOST_POINTS,
    Grid,
    GridFields,
    Outcome,
    Proposal,
    Search,
    num_values,
    parse_overrides,
    text_of,
    values_of,
)
from common.utils.beartype import ge

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

Sampler = Literal["tpe", "random"]

STORAGE_NAME = "optuna.log"
"""Optuna's journal of the study, in the sweep's folder; `optuna-dashboard` reads it."""

NUM_NAMED = 1000
"""The numbers in the names of trials' folders have three digits, whatever `n_trials` is raised to later."""


@dataclass
class OptunaFields:
    """What the Optuna sweeper is told.

    Attributes:
        sampler: `tpe` learns from the trials before, `random` does not.
        n_trials: How many trials there are in all. A larger number continues a finished sweep.
        n_jobs: Trials that are chosen together, before any of them has run. They may run at the same time, as far as
            the launcher allows (`max_parallel`, `array_parallelism`).
        direction: What to do with the result, which is what the subtask returns; null: what its engine does.
        seed: Which values are drawn.
        params: What is searched, by key, in Hydra's own words for sweeps: `interval(0, 1)`, `tag(log, interval(1e-4,
            1e-1))`, `int(interval(1, 8))`, `range(1, 10)`, `choice(relu, gelu)`. The command line wins over it.
    """

    sampler: Sampler = "tpe"
    n_trials: Annotated[int, ge(1)] = 20
    n_jobs: Annotated[int, ge(1)] = 1
    direction: Direction | None = None
    seed: Annotated[int, ge(0)] = 0
    params: dict[str, str | float | bool] = field(default_factory=dict)


@dataclass
class OptunaSweeperConfig(OptunaFields):
    """Configures the Optuna sweeper; see `OptunaFields`."""

    _target_: str = "hydra_plugins.ai_research.sweeper.OptunaSweeper"
    _convert_: str = "all"


class OptunaSearch(Search):
    """Chooses the values of trials.

    Args:
        arguments: The command's overrides.
        fields: The sweeper's, with a direction.

    Raises:
        ConfigError: there is nothing to search, or no Optuna.
    """

    def __init__(self, arguments: list[str], fields: OptunaFields) -> None:
        if importlib.util.find_spec("optuna") is None:
            raise ConfigError("hydra/sweeper=optuna needs Optuna, which is not installed: pip install -e '.[optuna]'")
        given = parse_overrides(arguments)
        typed = {override.get_key_element().lstrip("+") for override in given}
        standing = [f"{key}={value}" for key, value in fields.params.items() if key not in typed]
        overrides = [*given, *parse_overrides(standing)]
        searched = [override for override in overrides if override.is_sweep_override()]
        if not searched:
            raise ConfigError(
                "hydra/sweeper=optuna has nothing to search: give hydra.sweeper.params in the task file, or "
                "<key>=interval(<from>,<to>) on the command line. hydra/sweeper=grid runs without a search."
            )
        for override in searched:
            if override.is_discrete_sweep() and num_values(override) > MOST_POINTS:
                raise ConfigError(f"{text_of(override)} lists more than {MOST_POINTS:,} values: search an interval.")
        self.swept = [override.get_key_element() for override in searched]
        self.num_points = fields.n_trials
        self.num_together = min(fields.n_jobs, fields.n_trials)
        self.num_named = NUM_NAMED
        self.keeps_finished = True
        self.budget = {"hydra.sweeper.n_trials": fields.n_trials}
        settings = (fields.sampler, fields.n_jobs, fields.direction, fields.seed)
        self.facts = {"optuna": settings, "searched": [text_of(override) for override in searched]}
        self._fields = fields
        self._fixed = [text_of(override) for override in overrides if not override.is_sweep_override()]
        self._space = {override.get_key_element(): override for override in searched}
        self.examples = self._corners()

    def batches(self, folder: Path) -> Iterator[list[Proposal]]:
        """Yields the trials, `n_jobs` at a time: those of earlier launches too, with the same values."""
        from optuna.trial import TrialState

        assert self._fields.direction is not None
        self._study = open_study(folder / STORAGE_NAME, self._fields.direction)
        for start in range(0, self.num_points, self._fields.n_jobs):
            stop = min(start + self._fields.n_jobs, self.num_points)
            for number in range(len(self._study.trials), stop):
                self._study.add_trial(self._suggest(number))
            yield [
                Proposal(trial.number, self._overrides_of(trial.params), is_over=trial.state != TrialState.RUNNING)
                for trial in self._study.trials[start:stop]
            ]

    def tell(self, index: int, outcome: Outcome) -> None:
        """Hands a result to Optuna. A trial that failed stays open: the same command tries it again.

        Raises:
            RunError: the result is no number.
        """
        from optuna.trial import TrialState

        if outcome.status == "pruned":
            self._study.tell(index, state=TrialState.PRUNED)
        elif outcome.status == "finished":
            if isinstance(outcome.result, bool) or not isinstance(outcome.result, int | float):
                raise RunError(f"Optuna needs a number from each trial; {outcome.folder} returned {outcome.result!r}.")
            if math.isnan(outcome.result):
                self._study.tell(index, state=TrialState.FAIL)
            else:
                self._study.tell(index, outcome.result)

    def _suggest(self, number: int) -> "optuna.trial.FrozenTrial":
        """Returns a new trial with its values; the same whenever the trials before its batch are the same."""
        import optuna

        study = optuna.create_study(sampler=self._sampler(number), direction=self._fields.direction)
        study.add_trials(self._study.trials[:number])
        distributions = {key: distribution_of(override) for key, override in self._space.items()}
        asked = study.ask(distributions)
        state = optuna.trial.TrialState.RUNNING
        return optuna.trial.create_trial(state=state, params=asked.params, distributions=distributions)

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        """Returns a sampler whose random numbers belong to one trial."""
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(np.random.SeedSequence((self._fields.seed, number)).generate_state(1)[0])
        return RandomSampler(seed) if self._fields.sampler == "random" else TPESampler(seed=seed)

    def _overrides_of(self, values: dict[str, Any]) -> list[str]:
        return [*self._fixed, *(f"{key}={values[key]}" for key in self._space)]

    def _corners(self) -> list[list[str]]:
        """Returns points at the ends of what is searched: each end once, not all of their combinations."""
        ends = {key: ends_of(override) for key, override in self._space.items()}
        first = {key: values[0] for key, values in ends.items()}
        others = [first | {key: value} for key, values in ends.items() for value in values[1:]]
        return [self._overrides_of(values) for values in (first, *others)]


def distribution_of(override: Override) -> "optuna.distributions.BaseDistribution":
    """Returns what an override leaves to the search, as Optuna's distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        is_log = "log" in sweep.tags
        start, end = (cast(float, bound) for bound in (sweep.start, sweep.end))
        is_whole = isinstance(start, int) and isinstance(end, int)  # By a cast: int(interval(...)).
        return (
            IntDistribution(int(start), int(end), log=is_log) if is_whole else FloatDistribution(start, end, log=is_log)
        )
    if isinstance(sweep, RangeSweep):
        numbers = list(sweep.range())
        if all(isinstance(number, int) for number in numbers):
            return IntDistribution(numbers[0], numbers[-1], step=int(str(sweep.step)))
    return CategoricalDistribution(_texts(override))


def ends_of(override: Override) -> Sequence[Any]:
    """Returns the values of an override that stand for all that it leaves to the search."""
    sweep = override.value()
    return [sweep.start, sweep.end] if isinstance(sweep, IntervalSweep) else _texts(override)


def open_study(path: Path, direction: Direction) -> "optuna.Study":
    """Opens the study that lies in a file, or makes it.

    A file that is damaged is set aside: all that is in it follows from the seed and from the trials' own folders.

    Args:
        path: Optuna's journal. Nobody else writes to it: the sweep's folder is locked.
        direction: What to do with results.

    Raises:
        RunError: the file cannot be read or written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # Left by a process that was killed while it wrote.
        try:
            return _load_study(path, direction)
        except OSError:
            raise
        except Exception as error:  # Whatever comes of what is no journal.
            log.debug("%s cannot be read.", path, exc_info=error)
        _set_aside(path)
        return _load_study(path, direction)
    except OSError as error:
        raise RunError(
            f"{path}, where the search keeps its trials, cannot be read or written: {error.strerror}. Make it a file "
            "that you may write to, or remove it: the study is then built anew from the trials' folders."
        ) from error


def _load_study(path: Path, direction: Direction) -> "optuna.Study":
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path.exists():
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)  # Half a line, left by a process that was killed while it wrote.
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name="sweep", direction=direction, load_if_exists=True)


def _set_aside(path: Path) -> None:
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    log.warning(
        "%s is damaged, and lies in %s now. The study is built anew from the trials' folders: what is finished there "
        "is not run again.",
        path,
        aside.name,
    )


def _texts(override: Override) -> list[str]:
    return [line.partition("=")[2] for line in values_of(override)]


def search_of(sweeper: DictConfig, arguments: list[str], engine: Engine) -> Search:
    """Returns what chooses a command's points; where others have chosen one for this process, that one.

    Args:
        sweeper: The node `hydra.sweeper`.
        arguments: The command's overrides.
        engine: What runs the points.

    Raises:
        ConfigError: the sweeper cannot sweep over what is asked for.
    """
    is_chosen = folder_of_job() is not None or folder_of_first_rank() is not None or is_replay()
    if is_chosen:
        return Grid(arguments, GridFields())
    node: Any = OmegaConf.to_container(sweeper, resolve=True)
    fields = {key: value for key, value in node.items() if key[0] != "_"}
    if sweeper._target_ != OptunaSweeperConfig._target_:
        return Grid(arguments, GridFields(**fields))
    told = OptunaFields(**fields)
    return OptunaSearch(arguments, replace(told, direction=told.direction or engine.direction))
