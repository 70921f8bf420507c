"""Folds runs that differ only in their seed into one group."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.cli.find import all_points, data_path, find_run, newest_first
from common.cli.intervals import FEWEST_SEEDS, Interval, interval_of
from common.cli.runs import Run
from common.errors import ConfigError
from common.run.changes import flattened, is_below
from common.run.files import UnusableFileError, read_bytes
from common.run.identity import WITHOUT_EFFECT, changed_files

SEED = "config.seed"
SEED_SUFFIX = ".seed"


@dataclass
class Group:
    """Runs that differ only in their seed, one per seed.

    Attributes:
        settings: What they have in common: by key the value.
        runs: The runs, by seed.
    """

    settings: dict[str, Any]
    runs: dict[Any, Run]

    def interval(self, metric: str) -> Interval | None:
        """Returns a metric's last value as the mean over the seeds, or None where no run has it."""
        values = [run.results[metric] for run in self.runs.values() if metric in run.results]
        return interval_of(values) if values else None


def chosen_runs(names: Sequence[str]) -> list[Run]:
    """Returns the runs that are meant: single ones, the points of sweeps, all of a task's.

    Args:
        names: Each a RUN, or `<project>/<task>`.

    Raises:
        ConfigError: a name means nothing, or nothing is left.
    """
    found: dict[Path, Run] = {}
    for name in names:
        folder = data_path() / name
        is_task = name.count("/") == 1 and not Path(name).is_dir() and folder.is_dir()
        meant = newest_first([folder]) if is_task else iter([find_run(name)])
        found |= {run.folder: run for run in all_points(meant) if not run.is_damaged}
    if not found:
        raise ConfigError(f"There are no runs in {', '.join(names)} that could be compared.")
    return list(found.values())


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Groups runs by everything but the seed.

    Of one identity, and of one seed within a group, only the newest run counts.

    Args:
        runs: Runs and points, no sweeps.
    """
    newest: dict[str, Run] = {}
    for run in sorted(runs, key=_ended):
        newest[run.identity] = run
    groups: dict[str, Group] = {}
    for run in sorted(newest.values(), key=_ended):
        settings = settings_of(run)
        key = json.dumps(settings, sort_keys=True, default=str)
        groups.setdefault(key, Group(settings, {})).runs[run.record.seed] = run
    differing = differing_keys(list(groups.values()))
    return sorted(groups.values(), key=lambda group: [_sortable(group.settings.get(key)) for key in differing])


def settings_of(run: Run) -> dict[str, Any]:
    """Returns all that a run's result depends on but for the seed: configuration, budget and data, by key.

    Raises:
        ConfigError: its configuration cannot be read.
    """
    config = read_config(run.source)
    tree = {**config, "data": run.record.data} if run.record.data else config
    left_out = (SEED, *WITHOUT_EFFECT, *run.record.engine.without_effect)
    flat = {key: value for key, value in flattened(tree).items() if not is_below(key, left_out)}
    # What is linked to the seed, such as the data module's own, is stored by its value; what was set by hand is not.
    linked = {key for key, value in flat.items() if key.endswith(SEED_SUFFIX) and value == run.record.seed}
    flat = {key: value for key, value in flat.items() if key not in linked - run.record.changes.keys()}
    origin = run.record.origin
    start = {}
    if origin is not None:
        start["starts from"] = f"{origin.identity or Path(origin.path).name} {origin.fingerprint}"
    return {"task": f"{run.project}/{run.task}", **start, **flat}


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the configuration that a run used, as it is stored.

    Raises:
        ConfigError: it is missing or damaged.
    """
    tree = read_yaml(folder, ".hydra/config.yaml")
    if not isinstance(tree, dict) or not isinstance(tree.get("config"), dict):
        raise ConfigError(f"{folder / '.hydra' / 'config.yaml'} is damaged: it is not a configuration.")
    return tree


def read_yaml(folder: Path, name: str) -> Any:
    """Returns what a YAML file of a run's folder says.

    Raises:
        ConfigError: it is missing or damaged.
    """
    try:
        text = read_bytes(folder, name).decode()
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # Both are safe.
    except FileNotFoundError as error:
        raise ConfigError(f"{folder / name} is missing.") from error
    except UnusableFileError:
        raise
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{folder / name} is damaged: {str(error).splitlines()[0]}.") from error


def differing_keys(groups: Sequence[Group]) -> list[str]:
    """Returns the keys that do not have the same value in all groups."""
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    first = groups[0].settings if groups else {}
    return [key for key in keys if any(group.settings.get(key) != first.get(key) for group in groups)]


def warnings_of(groups: Sequence[Group], names: Sequence[str]) -> list[str]:
    """Returns what should be known before the figures are believed.

    Args:
        groups: The groups.
        names: What each is called.
    """
    found = []
    few = [name for group, name in zip(groups, names, strict=True) if len(group.runs) < FEWEST_SEEDS]
    if few:
        found.append(f"Fewer than {FEWEST_SEEDS} seeds, so their intervals say next to nothing: {'; '.join(few)}.")
    runs = [run for group in groups for run in group.runs.values()]
    files = {name for run in runs for name in changed_files(run.record.code, runs[0].record.code)}
    if files:
        found.append(f"The runs did not run on the same code: {_some(sorted(files))}.")
    packages = {name for run in runs for name in changed_files(run.record.packages, runs[0].record.packages)}
    if packages:
        found.append(f"The runs had different versions of {_some(sorted(packages))}.")
    return found


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _ended(run: Run) -> tuple[str, float]:
    return run.record.ended or "", run.created_s


def _sortable(value: Any) -> tuple[bool, float, str]:
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if is_number else 0.0, str(value)
