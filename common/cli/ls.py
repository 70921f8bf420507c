"""`ai-research ls`: runs and sweeps, newest first."""

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, get_args

import click
from rich.text import Text

from common.cli.find import all_points, data_path, newest_first, task_folders
from common.cli.options import project_argument, task_argument
from common.cli.output import console, json_option, overrides_text, print_json, run_as_json, state_text
from common.cli.runs import Run, State
from common.run.metrics import results_text
from common.utils.table import make_table
from common.utils.text import duration_text, short_names

NEWEST = 50
"""How many are listed unless all are asked for."""

Filter = Callable[[Run], bool]

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": lambda value, bound: value <= bound,
    ">=": lambda value, bound: value >= bound,
    "<": lambda value, bound: value < bound,
    ">": lambda value, bound: value > bound,
    "=": lambda value, bound: value == bound,
}

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command()
@project_argument
@task_argument
@click.option("--all", "show_all", is_flag=True, help=f"List all, not only the newest {NEWEST}.")
@click.option("--points", is_flag=True, help="List the points of sweeps instead of the sweeps.")
@click.option("--status", multiple=True, type=click.Choice(get_args(State)), help="Only these; may be repeated.")
@click.option("--since", metavar="WHEN", help="Only from then on: 2026-01-31, '2026-01-31 18:00', 3d, 12h, 30m or 2w.")
@click.option("--until", metavar="WHEN", help="Only up to then.")
@click.option("--metric", multiple=True, metavar="NAME>VALUE", help="Only where a last metric is <, <=, >, >= or = so.")
@click.option("--override", multiple=True, metavar="KEY[=VALUE]", help="Only where this key was changed (to a value).")
@json_option
def command(
    project: str | None,
    task: str | None,
    show_all: bool,
    points: bool,
    status: tuple[str, ...],
    since: str | None,
    until: str | None,
    metric: tuple[str, ...],
    override: tuple[str, ...],
    as_json: bool,
) -> None:
    """List runs and sweeps, newest first, of all projects, of one PROJECT or of one TASK.

    A sweep's filters by metric and override hold if one of its points fulfils them. A key may be shortened to its
    last parts: lr for litmodule.optimizer.lr.
    """
    filters = [status_filter(status), time_filter(since, until)]
    filters += [*map(metric_filter, metric), *map(override_filter, override)]
    found = newest_first(task_folders(project, task))
    kept = (run for run in (all_points(found) if points else found) if all(holds(run) for holds in filters))
    listed = list(kept if show_all else islice(kept, NEWEST))
    if as_json:
        print_json([run_as_json(run) for run in listed])
    else:
        print_runs(listed, is_one_task=task is not None)
        if not show_all and len(listed) == NEWEST and next(kept, None) is not None:
            click.echo(f"The newest {NEWEST}; --all lists the others too.")


def print_runs(runs: list[Run], is_one_task: bool) -> None:
    """Prints runs as a table."""
    if not runs:
        click.echo(f"No such runs below {data_path()}.")
        return
    short = short_names(key for run in runs for key in run.overrides)
    columns = ["run", "status", "#took", "overrides", "result"]
    rows: list[list[str | Text]] = []
    for run in runs:
        place = run.title if is_one_task else f"{run.project}/{run.task}/{run.title}"
        best = best_point(run)
        told = results_text((best or run).results, run.record.engine.results)
        result = f"best: {told}" if best else told
        overrides = " ".join([*start_of(run), overrides_text(run.overrides, short, is_sweep=run.kind == "sweep")])
        rows.append([place, state_text(run), duration_text(run.seconds), overrides, result])
    console().print(make_table(*columns, rows=rows))


def start_of(run: Run) -> list[str]:
    """Returns what a listing says of a run that starts from a checkpoint; nothing of others."""
    origin = (run.points[0] if run.kind == "sweep" and run.points else run).record.origin
    return [] if origin is None else [f"from {origin.identity or origin.path}"]


def status_filter(wanted: tuple[str, ...]) -> Filter:
    """Returns what judges a run by how it stands; all are right where nothing is wanted."""
    return lambda run: not wanted or run.state in wanted


def time_filter(since: str | None, until: str | None) -> Filter:
    """Returns what judges a run by when its folder was made."""
    start = moment_of(since) if since else -math.inf
    end = moment_of(until) if until else math.inf
    return lambda run: start <= run.created_s <= end


def metric_filter(text: str) -> Filter:
    """Returns what judges a run by the last value of a metric.

    Args:
        text: For example `test/accuracy>0.9`.
    """
    match = re.fullmatch(r"(.+?)(<=|>=|<|>|=)(.+)", text)
    try:
        bound = float(match[3]) if match else None
    except ValueError:
        bound = None
    if match is None or bound is None:
        raise click.BadParameter(f"{text!r}: write a name, one of < <= > >= =, and a number.", param_hint="--metric")
    name, compare = match[1].strip(), COMPARISONS[match[2]]

    def holds(run: Run) -> bool:
        return any(name in one.metrics and compare(one.metrics[name], bound) for one in (run.points or [run]))

    return holds


def override_filter(text: str) -> Filter:
    """Returns what judges a run by a key that it changes.

    Args:
        text: For example `lr`, `optimizer.lr=0.01`.
    """
    key, _, wanted = text.partition("=")

    def holds(run: Run) -> bool:
        return any(
            (name == key or name.endswith(f".{key}")) and (not wanted or _is_same(value, wanted))
            for one in (run.points or [run])
            for name, value in one.overrides.items()
        )

    return holds


def moment_of(text: str) -> float:
    """Returns a moment in seconds since 1970: a date, a date and time, or how long ago it was."""
    ago = re.fullmatch(r"(\d+)([mhdw])", text)
    if ago:
        return (datetime.now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})).timestamp()
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no date (2026-01-31), time, or 3d, 12h, 30m, 2w.") from error


def best_point(sweep: Run) -> Run | None:
    """Returns the point for which a sweep searches, by its engine's objective; None where none has a number for it."""
    metric, sign = sweep.record.engine.objective, 1 if sweep.record.engine.direction == "minimize" else -1
    judged = [(sign * point.metrics[metric], point) for point in sweep.points if metric in point.metrics]
    finite = [(value, point) for value, point in judged if math.isfinite(value)]
    return min(finite, key=lambda pair: pair[0])[1] if finite else None


def _is_same(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value) == wanted
