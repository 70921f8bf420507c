"""`ai-research doctor`: whether this machine is ready for runs."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

import click
from rich.text import Text

from common.cli import checks, machine_checks
from common.cli.checks import Finding, Verdict
from common.cli.output import console, json_option, print_json
from common.utils.table import make_table

CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    checks.check_python,
    checks.check_packages,
    machine_checks.check_torch,
    checks.check_torchvision,
    checks.check_outputs,
    checks.check_interrupted_runs,
    checks.check_shared_memory,
    checks.check_git,
    checks.check_wandb,
    machine_checks.check_slurm,
    machine_checks.check_containers,
)

STYLES: dict[Verdict, str] = {"good": "green", "warning": "yellow", "fault": "bold red"}


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Check whether this machine is ready for runs; ends with status 1 if a run would fail."""
    findings = [finding for check in CHECKS for finding in check()]
    num_faults = sum(finding.verdict == "fault" for finding in findings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows: list[list[str | Text]] = [
            [Text(one.verdict, style=STYLES[one.verdict]), one.subject, one.detail, one.remedy] for one in findings
        ]
        console().print(make_table("", "what", "seen", "what mends it", rows=rows))
        click.echo("A run would fail." if num_faults else "Runs will work.")
    sys.exit(1 if num_faults else 0)
