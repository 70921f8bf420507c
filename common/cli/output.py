"""What the commands print: tables for people, JSON for programs."""

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.cli.runs import Run, State
from common.utils.text import duration_text, printable, shortened

WIDTH_WITHOUT_TERMINAL = 160

STYLES: dict[State, str] = {
    "queued": "cyan",
    "running": "bold cyan",
    "interrupted": "yellow",
    "stopped": "yellow",
    "failed": "bold red",
    "finished": "green",
    "damaged": "magenta",
}

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


def console() -> Console:
    """Returns where tables go: as wide as the terminal; without one, as COLUMNS says, or wide."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=int(os.environ.get("COLUMNS") or WIDTH_WITHOUT_TERMINAL))


def print_json(value: Any) -> None:
    """Prints a value as JSON; numbers that JSON does not have (NaN, infinities) become null."""
    click.echo(json.dumps(valid_json(value), indent=2, default=str, allow_nan=False))


def echo(text: str, *, is_error: bool = False) -> None:
    """Prints a text with parts that come from files: what would steer the terminal is escaped."""
    click.echo(printable(text), err=is_error)


def valid_json(value: Any) -> Any:
    """Returns a value with what JSON does not have, NaN and infinities, as None."""
    if isinstance(value, dict):
        return {str(key): valid_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [valid_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def facts_table(facts: dict[str, str | Text]) -> Table:
    """Returns a table of names and what they are, without lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(printable(value)) if isinstance(value, str) else value)
    return table


def state_text(run: Run) -> Text:
    """Returns how a run stands, with what is behind it or what was wrong."""
    text = Text(run.state, style=STYLES[run.state])
    if run.state == "running" and run.kind != "sweep" and run.progress is not None:
        left = run.progress.seconds_left
        text.append(f" {run.progress.part:.0%}" + (f", {duration_text(left)} left" if left is not None else ""))
    if run.kind == "sweep":
        counts = ", ".join(f"{number} {state}" for state, number in run.num_points.items())
        text.append(f" ({counts or 'no point yet'})", style="dim")
    elif run.error and run.state in ("failed", "damaged"):
        text.append(f": {shortened(printable(run.error), 60)}", style="not bold")
    elif run.problem:
        text.append(f"; {printable(run.problem)}", style="magenta")
    return text


def time_text(seconds_since_1970: float) -> str:
    """Returns a moment in local time."""
    return datetime.fromtimestamp(seconds_since_1970).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size_text(num_bytes: float) -> str:
    """Returns a size in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def value_text(value: Any) -> str:
    """Returns a configuration's value as one would type it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def overrides_text(values: dict[str, Any], short: dict[str, str], is_sweep: bool = False) -> str:
    """Returns overrides as they are typed.

    Args:
        values: By key a value, or a sweep's list of values.
        short: What each key is called.
        is_sweep: Whether lists are the values of several points.
    """
    return " ".join(f"{short[key]}={_several(value, is_sweep)}" for key, value in values.items())


def run_as_json(run: Run) -> dict[str, Any]:
    """Returns what a listing knows of a run, for programs."""
    progress = run.progress if run.state == "running" and run.kind != "sweep" else None
    return {
        "folder": str(run.folder),
        "project": run.project,
        "task": run.task,
        "kind": run.kind,
        "identity": run.identity or None,
        "status": run.state,
        "progress": progress.part if progress else None,
        "seconds_left": progress.seconds_left if progress else None,
        "created": datetime.fromtimestamp(run.created_s).astimezone().isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "seed": run.record.seed,
        "origin": None if run.record.origin is None else asdict(run.record.origin),
        "overrides": run.overrides,
        "metrics": run.metrics,
        "error": run.error,
        "points": dict(run.num_points) if run.kind == "sweep" else None,
    }


def _several(value: Any, is_sweep: bool) -> str:
    return ",".join(map(value_text, value)) if is_sweep and isinstance(value, list) else value_text(value)
