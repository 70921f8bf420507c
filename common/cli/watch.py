"""`ai-research watch`: a live table of what is running."""

import time

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.cli.find import all_points, newest_first, task_folders
from common.cli.options import project_argument, task_argument
from common.cli.output import console, json_option, overrides_text, print_json, run_as_json, state_text
from common.cli.runs import Run, forget_queue
from common.run.metrics import results_text
from common.utils.table import make_table
from common.utils.text import duration_text, short_names

REFRESH_S = 2.0


@click.command()
@project_argument
@task_argument
@click.option("--once", is_flag=True, help="Print the table once, and leave.")
@json_option
def command(project: str | None, task: str | None, once: bool, as_json: bool) -> None:
    """Follow what is running, here and on SLURM, of all projects, of one PROJECT or of one TASK. Ctrl-C leaves.

    --json prints once.
    """
    if as_json:
        print_json([run_as_json(run) for run in runs_under_way(project, task)])
    elif once:
        console().print(table_of(runs_under_way(project, task)))
    else:
        follow(project, task)


def follow(project: str | None, task: str | None) -> None:
    """Shows the table until Ctrl-C; the runs themselves go on."""
    try:
        with Live(console=console(), auto_refresh=False) as live:
            while True:
                live.update(table_of(runs_under_way(project, task)), refresh=True)
                time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        click.echo("The runs go on.")


def runs_under_way(project: str | None, task: str | None) -> list[Run]:
    """Returns the runs and points that run, or wait in SLURM's queue, newest first."""
    forget_queue()
    runs = all_points(newest_first(task_folders(project, task)))
    return [run for run in runs if run.state in ("running", "queued")]


def table_of(runs: list[Run]) -> Table:
    """Returns the table: how far each run is, where it runs, and its newest metrics."""
    short = short_names(key for run in runs for key in run.overrides)
    rows: list[list[str | Text]] = [
        [
            f"{run.project}/{run.task}/{run.title}",
            state_text(run),
            duration_text(run.seconds),
            place_of(run),
            overrides_text(run.overrides, short),
            results_text(run.results, run.record.engine.results),
        ]
        for run in runs
    ]
    table = make_table("run", "status", "#took", "where", "overrides", "newest metrics", rows=rows)
    table.caption = f"{len(runs)} under way, {time.strftime('%H:%M:%S')}"
    return table


def place_of(run: Run) -> str:
    """Returns the machine and the process, or SLURM's job."""
    machine, launches, slurm = run.record.machine, run.record.launches, run.record.slurm
    if slurm is not None:
        return f"SLURM {slurm.job_id}" + ("" if slurm.task is None else f"_{slurm.task}")
    return f"{machine.host if machine else '?'}, process {launches[-1].pid if launches else '?'}"
