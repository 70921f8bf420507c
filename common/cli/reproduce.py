"""`ai-research reproduce`: runs a run again from its commit, and compares to the last bit."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from common.cli.differences import first_difference_of_metrics, first_difference_of_parameters
from common.cli.environment import differences_from, locked_versions
from common.cli.find import find_run
from common.cli.options import run_argument
from common.cli.output import echo, json_option, print_json
from common.cli.restore import budget_spent, chosen_settings, replaying_command, restore_code
from common.cli.runs import Run, read_run
from common.errors import ConfigError, RunError
from common.run.checkpoint import last_checkpoint, read_newest_checkpoint
from common.run.metrics import read_metrics
from common.utils.misc import available_cpus
from common.utils.text import printable

LOCK = "requirements.txt"


@dataclass
class Reproduction:
    """What came of running a run again.

    Attributes:
        run: The folder of the run.
        command: What was run.
        environment: In what the environment differs from the recorded one.
        metrics: The first difference of the metrics; None where they are the same.
        parameters: The first difference of the final parameters; None where they are the same, or were not compared.
        is_finished: Whether the run went to its end; otherwise only what it had logged was compared.
        scratch: Where the reproduction lies, if it was kept.
    """

    run: str
    command: str
    environment: list[str]
    metrics: str | None
    parameters: str | None
    is_finished: bool
    scratch: str | None

    @property
    def is_identical(self) -> bool:
        """Whether nothing differs that was compared."""
        return self.metrics is None and self.parameters is None


@click.command()
@run_argument
@click.option("--keep", is_flag=True, help="Keep the scratch folder with the restored code and the new run.")
@json_option
def command(run: str, keep: bool, as_json: bool) -> None:
    """Run RUN again from its commit and uncommitted changes, with its seed, and compare to the last bit.

    The code is restored into a scratch folder; this repository and the run itself are not touched. Ends with status 1
    if a metric or a final parameter differs in a bit.
    """
    found = find_run(run)
    check_reproducible(found)
    scratch = Path(tempfile.mkdtemp(prefix="ai-research-reproduce-"))
    try:
        outcome = reproduce(found, scratch, keep)
    finally:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)
    if as_json:
        print_json({**asdict(outcome), "identical": outcome.is_identical})
    else:
        print_outcome(outcome)
    sys.exit(0 if outcome.is_identical else 1)


def check_reproducible(run: Run) -> None:
    """Checks that a run can be run again.

    Raises:
        ConfigError: it is a sweep, is damaged, or still runs.
    """
    if run.kind == "sweep":
        raise ConfigError(f"{run.folder.name} is a sweep: give one of its points, such as {run.folder.name}/0.")
    if run.state in ("damaged", "running", "queued"):
        raise ConfigError(f"{run.folder} is {run.state}{f': {run.problem}' if run.problem else ''}.")


def reproduce(run: Run, scratch: Path, keep: bool) -> Reproduction:
    """Restores a run's code, runs its command, and compares.

    Args:
        run: The run.
        scratch: An empty folder.
        keep: Whether the folder will be kept.
    """
    code, outputs = scratch / "code", scratch / "outputs"
    restore_code(run.record.git, code)
    differences = environment_differences(run, code)
    for line in differences:
        click.secho(printable(f"The environment differs: {line}"), fg="yellow", err=True)
    checkpoint = last_checkpoint(run.folder)
    before = read_newest_checkpoint(checkpoint) if checkpoint else {}
    words = replaying_command(run, code, {**chosen_settings(before), **budget_spent(run)})
    echo(f"Running {shlex.join(words)}", is_error=True)
    again = replayed(words, code, outputs)
    is_finished = run.state == "finished"
    metrics = first_difference_of_metrics(read_metrics(run.source), read_metrics(again.folder), is_finished=is_finished)
    parameters = None
    if is_finished and checkpoint:
        after = read_newest_checkpoint(again.folder / checkpoint.relative_to(run.folder))
        parameters = first_difference_of_parameters(before, after)
    folder = str(scratch) if keep else None
    return Reproduction(str(run.folder), shlex.join(words), differences, metrics, parameters, is_finished, folder)


def environment_differences(run: Run, code: Path) -> list[str]:
    """Returns in what this environment differs from the one on record, and from the lock of the restored code."""
    found = differences_from(run.record.packages)
    named = {one.name.lower().replace("_", "-") for one in found}
    lock = differences_from(locked_versions(code / LOCK)) if (code / LOCK).is_file() else []
    others = [one for one in lock if one.installed and one.name.lower().replace("_", "-") not in named]
    lines = [*map(str, found), *(f"{one} (by the lock)" for one in others)]
    machine = run.record.machine
    facts: dict[str, tuple[Any, Any]] = {"Python": (run.record.python, platform.python_version())}
    if machine is not None:
        facts["processor"] = (machine.processor, platform.machine())
        facts["CPUs"] = (machine.available_cpus, available_cpus())
    return [
        *lines,
        *(f"{name} {now} instead of {then}" for name, (then, now) in facts.items() if then not in (None, now)),
    ]


def replayed(words: list[str], code: Path, outputs: Path) -> Run:
    """Runs a command from restored code, with outputs of its own, and returns the run that it made.

    Raises:
        RunError: it did not go to its end.
    """
    paths = [str(code), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"AI_RESEARCH_PATH": str(outputs), "WANDB_MODE": "offline"}
    # What it prints goes to stderr: stdout is for the outcome.
    result = subprocess.run([sys.executable, *words], cwd=code, env=environment, stdout=sys.stderr, check=False)
    folders = [path.parent for path in outputs.glob("data/*/*/*/provenance.json")]
    if result.returncode or len(folders) != 1:
        raise RunError(f"The reproduction ended with status {result.returncode}; what it printed is above.")
    return read_run(folders[0])


def print_outcome(outcome: Reproduction) -> None:
    """Prints whether the run was met, or the first difference."""
    if outcome.is_identical and outcome.is_finished:
        click.secho("Bit-identical: metrics.csv (times aside) and the final parameters.", fg="green")
    elif outcome.is_identical:
        click.secho(
            "Bit-identical as far as the run went: what its metrics.csv holds. It has no final parameters.", fg="green"
        )
    if outcome.metrics:
        click.secho(f"The metrics differ first in {outcome.metrics}.", fg="red")
    if outcome.parameters:
        click.secho(f"The final parameters differ first in {outcome.parameters}.", fg="red")
    if outcome.environment and not outcome.is_identical:
        echo("The environment differs too: " + "; ".join(outcome.environment))
    if outcome.scratch:
        click.echo(f"Kept: {outcome.scratch}")
