"""`ai-research reproduce`: runs a run again from its commit, and compares to the last bit."""

import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from common.cli.differences import first_difference_of_metrics, first_difference_of_parameters
from common.cli.environment import differences_from, locked_versions
from common.cli.find import find_run
from common.cli.options import run_argument
from common.cli.output import echo, json_option, print_json
from common.cli.restore import budget_spent, budgets_before, chosen_settings, replaying_command
from common.cli.runs import Run, read_run
from common.errors import ConfigError, RunError
from common.launch.role import REPLAY_VARIABLE
from common.run.checkpoint import last_checkpoint, read_newest_checkpoint
from common.run.code import code_fingerprints
from common.run.identity import changed_files
from common.run.metrics import read_last_metrics, read_metrics
from common.run.origin import fingerprint_of
from common.run.restored import restore_code
from common.utils.misc import available_cpus, repository_path
from common.utils.text import printable

LOCK = "requirements.txt"

POLL_S = 0.5


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
        ConfigError: says why it cannot.
    """
    if run.kind == "sweep":
        raise ConfigError(f"{run.folder.name} is a sweep: give one of its points, such as {run.folder.name}/0.")
    if run.state in ("damaged", "running", "queued"):
        raise ConfigError(f"{run.folder} is {run.state}{f': {run.problem}' if run.problem else ''}.")

    origin = run.record.origin
    if origin is not None and fingerprint_of(Path(origin.path)) != origin.fingerprint:
        raise ConfigError(f"{origin.path}, which the run starts from, has changed since. Nothing was run.")
    if run.state != "finished" and run.metrics.get("step") is None:
        raise ConfigError(f"{run.folder} has logged nothing before it ended, so there is nothing to compare.")


def reproduce(run: Run, scratch: Path, keep: bool) -> Reproduction:
    """Restores a run's code, runs its command, and compares.

    Args:
        run: The run.
        scratch: An empty folder.
        keep: Whether the folder will be kept.
    """
    code, outputs = scratch / "code", scratch / "outputs"
    restore_code(run.record.git, repository_path(), code)
    check_restored(run, code)
    is_finished, last_step = run.state == "finished", run.metrics.get("step")
    differences = environment_differences(run, code)
    for line in differences:
        click.secho(printable(f"The environment differs: {line}"), fg="yellow", err=True)
    checkpoint = last_checkpoint(run.checkpoints)
    before = read_newest_checkpoint(checkpoint) if checkpoint else {}
    chosen = chosen_settings(before, run.record.engine)
    for budget in budgets_before(run):
        replayed(replaying_command(run, code, {**chosen, **budget}), code, outputs)
    words = replaying_command(run, code, {**chosen, **(budget_spent(run) if is_finished else {})})
    again = replayed(words, code, outputs, None if is_finished else last_step)
    metrics = first_difference_of_metrics(read_metrics(run.source), read_metrics(again.folder), is_finished=is_finished)
    parameters = None
    if is_finished and checkpoint:
        after = read_newest_checkpoint(again.folder / checkpoint.relative_to(run.folder))
        parameters = first_difference_of_parameters(before, after)
    folder = str(scratch) if keep else None
    return Reproduction(str(run.folder), shlex.join(words), differences, metrics, parameters, is_finished, folder)


def check_restored(run: Run, code: Path) -> None:
    """Checks that the restored code is what the run ran on, and says what else of it is not on record.

    Raises:
        ConfigError: a file differs from the fingerprint on record.
    """
    git, project = run.record.git, code / "projects" / run.project
    restored = code_fingerprints([code / "common", project], code)
    different = changed_files(restored, run.record.code)
    problems = git.problems if git is not None else []
    if different:
        first = different[0]
        state = (
            "is missing" if first not in restored else "was not there" if first not in run.record.code else "differs"
        )
        reasons = [problem for problem in problems if first in problem] or problems
        why = f" What could not be recorded at the launch: {'; '.join(reasons)}." if reasons else ""
        raise ConfigError(f"The restored code is not what the run ran on: {first} {state}. Nothing was run.{why}")
    for problem in problems:
        click.secho(f"Not restored, since it was not recorded: {problem}", fg="yellow", err=True)


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


def replayed(words: list[str], code: Path, outputs: Path, last_step: float | None = None) -> Run:
    """Runs a command from restored code, with outputs of its own, and returns the run that it made or continued.

    Args:
        words: The script and its overrides.
        code: The restored code.
        outputs: For the outputs.
        last_step: Where the run may be stopped; None for one that goes to its end.

    Raises:
        RunError: it did not end as it should.
    """
    click.echo(f"Running {shlex.join(words)}", err=True)
    paths = [str(code), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), REPLAY_VARIABLE: "yes"}
    environment |= {"AI_RESEARCH_PATH": str(outputs), "WANDB_MODE": "offline"}
    # What it prints goes to stderr: stdout is for the outcome.
    with subprocess.Popen([sys.executable, *words], cwd=code, env=environment, stdout=sys.stderr) as process:
        try:
            while last_step is not None and process.poll() is None and _step_of(outputs) <= last_step:
                time.sleep(POLL_S)
            if last_step is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()
        except BaseException:
            process.kill()
            raise
    folders = [path.parent for path in outputs.glob("data/*/*/*/provenance.json")]
    # One that did not go to its end may fail where it failed.
    if (process.returncode and last_step is None) or len(folders) != 1:
        raise RunError(f"The reproduction ended with status {process.returncode}; what it printed is above.")
    return read_run(folders[0])


def _step_of(outputs: Path) -> float:
    """Returns how far the one run has come whose outputs lie in a folder; less than any step before it began."""
    try:
        (path,) = outputs.glob("data/*/*/*/metrics.csv")
        return read_last_metrics(path.parent).get("step", -1)
    except (OSError, ValueError):
        return -1


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
