"""`ai-research show`: one run or sweep."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from common.cli.continuing import how_to_continue, launched_record
from common.cli.find import find_run
from common.cli.ls import print_runs
from common.cli.options import run_argument
from common.cli.output import (
    console,
    echo,
    facts_table,
    json_option,
    print_json,
    run_as_json,
    size_text,
    state_text,
    time_text,
    value_text,
)
from common.cli.runs import UNREADABLE, Run
from common.run.metrics import FIXED_COLUMNS, damage_of, read_metrics
from common.run.record import Git, Launch
from common.utils.table import make_table
from common.utils.text import duration_text, number_text, printable


@click.command()
@run_argument
@json_option
def command(run: str, as_json: bool) -> None:
    """Show one run or sweep: what it changed, where it came from, how it went, and how to continue it.

    RUN is a folder, a unique prefix of an identity or a timestamp, or `last`; <sweep>/3 is a sweep's point 3.
    """
    found = find_run(run)
    if as_json:
        print_json(described(found))
    else:
        print_run(found)


def described(run: Run) -> dict[str, Any]:
    """Returns all that is known of a run, for programs."""
    return {
        **run_as_json(run),
        "changes": run.changes,
        "record": {} if run.is_damaged else asdict(run.record),
        "summary": summary_of(run),
        "artefacts": dict(artefacts_of(run.folder)),
        "continue": how_to_continue(run),
        "points": [run_as_json(point) for point in run.points] if run.kind == "sweep" else None,
    }


def print_run(run: Run) -> None:
    """Prints all that is known of a run."""
    out = console()
    out.print(facts_table({"folder": str(run.folder), "status": state_text(run), **facts_of(run)}))
    if run.state == "failed" and run.record.error:
        out.print(Text(printable(f"\n{run.record.error}"), style="red"))
    if run.kind == "sweep":
        print_runs(run.points, is_one_task=True)
    if run.changes and run.kind != "sweep":
        rows = [[key, *(_side(sides, name) for name in ("default", "value"))] for key, sides in run.changes.items()]
        out.print(make_table("differs from the task", "default", "here", rows=rows))
    summary = summary_of(run)
    if summary:
        rows = [[name, *map(number_text, values.values())] for name, values in summary.items()]
        out.print(make_table("metric", "#first", "#last", "#lowest", "#highest", rows=rows))
    damage = damage_of(run.source)
    if damage is not None and run.state != "running":  # Then its last line may be being written.
        out.print(Text(f"{printable(damage)}: what is whole counts here.", style="magenta"))
    files = artefacts_of(run.folder)
    if files:
        out.print(make_table("file", "#size", rows=[[name, size_text(size)] for name, size in files]))
    echo(how_to_continue(run))


def facts_of(run: Run) -> dict[str, str | Text]:
    """Returns where a run came from, by name."""
    record = launched_record(run)
    if run.is_damaged:
        return {}
    facts = {
        "identity": f"{run.identity} ({run.kind})",
        "started": time_text(run.created_s),
        "took": duration_text(run.seconds) + _launches_text(run.record.launches),
        "command": record.command,
        "typed in": record.working_directory,
        "commit": commit_text(record.git),
        "seed": run.record.seed,
        "data": _pairs(record.data),
        "starts from": record.origin,
        "machine": _pairs(
            vars(record.machine) if record.machine else {}, ("host", "user", "available_cpus", "slurm_job_id")
        ),
        "Python": record.python,
        "packages": _pairs(record.packages, ("torch", "pytorch-lightning", "hydra-core", "numpy")),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def commit_text(git: Git | None) -> str | None:
    """Returns a commit with its branch and how many files were changed besides."""
    if git is None:
        return None
    if not git.commit:
        return "; ".join(git.problems) or None
    changed = len(git.changed) + len(git.deleted)
    besides = f", {changed} file{'s' if changed > 1 else ''} changed and not committed" if changed else ""
    missing = f"; not on record: {'; '.join(git.problems)}" if git.problems else ""
    return f"{git.commit[:12]} ({git.branch}{besides}){missing}"


def summary_of(run: Run) -> dict[str, dict[str, float]]:
    """Returns each metric's first, last, lowest and highest value; none where the metrics cannot be read."""
    try:
        rows = read_metrics(run.source)
    except UNREADABLE:
        return {}
    names = dict.fromkeys(name for row in rows for name in row if name not in FIXED_COLUMNS)
    summary = {}
    for name in names:
        values = [row[name] for row in rows if name in row]
        finite = [value for value in values if math.isfinite(value)] or values
        summary[name] = {"first": values[0], "last": values[-1], "lowest": min(finite), "highest": max(finite)}
    return summary


def artefacts_of(folder: Path) -> list[tuple[str, int]]:
    """Returns the files of a run with their sizes in bytes; W&B's and Hydra's folders count as one each."""
    found = []
    try:
        for path in sorted(folder.iterdir()):
            if path.name in (".hydra", "wandb", ".code", ".slurm"):
                found.append((f"{path.name}/", sum(one.lstat().st_size for one in path.rglob("*") if one.is_file())))
            elif path.is_symlink() or not path.is_dir():
                found.append((path.name, path.lstat().st_size))
            else:
                found += [(f"{path.name}/{file.name}", file.lstat().st_size) for file in sorted(path.glob("*.ckpt"))]
    except OSError:  # It is being written, or may not be read.
        return found
    return found


def _side(sides: dict[str, Any], name: str) -> str:
    return value_text(sides[name]) if name in sides else "–"


def _launches_text(launches: list[Launch]) -> str:
    return f" in {len(launches)} launches" if len(launches) > 1 else ""


def _pairs(values: dict[str, Any], names: tuple[str, ...] | None = None) -> str | None:
    return ", ".join(f"{name} {values[name]}" for name in names or values if values.get(name) is not None) or None
