"""`ai-research compare`: which keys differ between runs, and what the seeds say."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from common.cli.find import find_run
from common.cli.groups import Group, chosen_runs, differing_keys, grouped, warnings_of
from common.cli.intervals import METHOD, Interval
from common.cli.options import runs_argument
from common.cli.output import console, json_option, print_json, value_text
from common.cli.overlay import curve_metrics, draw_overlay
from common.errors import ConfigError
from common.utils.table import make_table
from common.utils.text import short_names


@click.command()
@runs_argument
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric; may be repeated.")
@click.option("--unfinished", is_flag=True, help="Let runs count that have not finished.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves into this PNG file.")
@click.option("--csv", "table", type=click.Path(dir_okay=False, path_type=Path), help="Write all metrics to this file.")
@json_option
def command(
    runs: tuple[str, ...],
    metrics: tuple[str, ...],
    unfinished: bool,
    plot: Path | None,
    table: Path | None,
    as_json: bool,
) -> None:
    """Compare RUNS: runs, sweeps, or all runs of a task, given as PROJECT/TASK; without any, the newest.

    Runs that differ only in their seed are folded into a mean with its 95 % interval. Of a run that was made twice the
    newest counts.
    """
    chosen = chosen_runs(runs or (str(find_run("last").folder),))
    counting = [run for run in chosen if unfinished or run.state == "finished"]
    left_out = Counter(run.state for run in chosen if run not in counting)
    groups = grouped(counting)
    if not groups:
        raise ConfigError(f"None of these {len(chosen)} runs has finished; --unfinished lets them count all the same.")
    names = names_of(groups)
    shown = shown_metrics(groups, metrics)
    notes = warnings_of(groups, names)
    if left_out:
        notes.append("Left out: " + ", ".join(f"{number} {state}" for state, number in left_out.items()) + ".")
    if as_json:
        print_json(
            {"method": METHOD, "groups": [as_row(group, all_metrics(groups)) for group in groups], "notes": notes}
        )
    else:
        print_groups(groups, shown, notes)
    if table is not None:
        write_csv(groups, table)
    if plot is not None:
        curves = list(metrics) or curve_metrics(groups)
        if not curves:
            raise ConfigError(f"{plot} was not drawn: none of these runs has a metric that was logged more than once.")
        draw_overlay(groups, names, curves, plot)
    for path in filter(None, (plot, table)):
        click.echo(f"Written: {path}", err=as_json)


def names_of(groups: Sequence[Group]) -> list[str]:
    """Returns what each group is called: the keys in which it differs from the others."""
    keys = differing_keys(groups)
    short = short_names(keys)
    return [
        ", ".join(f"{short[key]}={value_text(group.settings.get(key))}" for key in keys) or "all runs"
        for group in groups
    ]


def all_metrics(groups: Sequence[Group]) -> list[str]:
    """Returns the names of all metrics that a group has."""
    return list(dict.fromkeys(name for group in groups for run in group.runs.values() for name in run.results))


def shown_metrics(groups: Sequence[Group], wanted: Sequence[str]) -> list[str]:
    """Returns the metrics that are shown: those that are wanted, or those that their engines call results, or all.

    Raises:
        ConfigError: no run has one that is wanted.
    """
    there = all_metrics(groups)
    for name in wanted:
        if name not in there:
            raise ConfigError(f"No run has the metric {name!r}. There are: {', '.join(there)}.")
    parts = {part for group in groups for run in group.runs.values() for part in run.record.engine.results}
    results = [name for name in there if name.startswith(tuple(parts))]
    return list(wanted) or results or there


def print_groups(groups: Sequence[Group], metrics: Sequence[str], notes: Sequence[str]) -> None:
    """Prints a row per group: the keys in which they differ, the seeds, and the metrics."""
    keys = differing_keys(groups)
    short = short_names(keys)
    rows = []
    for group in groups:
        settings = [value_text(group.settings[key]) if key in group.settings else "–" for key in keys]
        seeds = ",".join(map(str, sorted(group.runs, key=str)))
        rows.append([*settings, seeds, *(interval_text(group.interval(name)) for name in metrics)])
    out = console()
    out.print(make_table(*(short[key] for key in keys), "seeds", *(f"#{name}" for name in metrics), rows=rows))
    click.echo(METHOD[0].upper() + METHOD[1:] + ".")
    for note in notes:
        click.secho(note, fg="yellow")


def interval_text(interval: Interval | None) -> str:
    """Returns a mean with half its interval, to the digit in which the interval begins."""
    if interval is None:
        return "–"
    if interval.half_width is None:
        return f"{interval.mean:.4g}"
    digits = max(0, 2 - len(f"{interval.half_width:.0f}")) if interval.half_width >= 1 else _leading_zeros(interval) + 2
    return f"{interval.mean:.{digits}f} ± {interval.half_width:.{digits}f}"


def as_row(group: Group, metrics: Sequence[str]) -> dict[str, Any]:
    """Returns what is known of a group, for programs."""
    intervals = {name: group.interval(name) for name in metrics}
    return {
        "settings": group.settings,
        "seeds": list(group.runs),
        "runs": [str(run.folder) for run in group.runs.values()],
        "metrics": {
            name: {"mean": one.mean, "half_width": one.half_width, "num_seeds": one.num_values}
            for name, one in intervals.items()
            if one is not None
        },
    }


def write_csv(groups: Sequence[Group], path: Path) -> None:
    """Writes a row per group: the differing keys, the seeds, each metric's mean, half interval and number of seeds."""
    keys, metrics = differing_keys(groups), all_metrics(groups)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        parts = ("mean", "half_width", "num_seeds")
        writer.writerow([*keys, "seeds", *(f"{name} {part}" for name in metrics for part in parts)])
        for group in groups:
            found = as_row(group, metrics)["metrics"]
            figures = [found.get(name, {}).get(part, "") for name in metrics for part in parts]
            writer.writerow(
                [*(value_text(group.settings.get(key)) for key in keys), " ".join(map(str, group.runs)), *figures]
            )


def _leading_zeros(interval: Interval) -> int:
    """Returns how many zeros follow the point of half an interval before its first digit."""
    if not interval.half_width:
        return 2
    return max(0, -int(f"{interval.half_width:e}".partition("e")[2]) - 1)
