"""`ai-research sync`: uploads what W&B has logged offline."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from common.cli.environment import unreachable_because
from common.cli.find import all_points, find_run, newest_first, task_folders
from common.cli.options import runs_argument
from common.cli.output import echo, json_option, print_json
from common.cli.runs import Run
from common.errors import ConfigError, RunError
from common.utils.wandb import login_wandb


@dataclass
class Upload:
    """What is to be uploaded of one W&B run.

    Attributes:
        run: The run.
        pieces: The offline folders that were not uploaded yet, in the order in which they began.
        error: Why it could not be uploaded; None where it was, or was not tried.
    """

    run: Run
    pieces: list[Path]
    error: str | None = None


@click.command()
@runs_argument
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded, and upload nothing.")
@json_option
def command(runs: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Upload what W&B has logged offline, of RUNS or of all.

    The pieces of one run go in the order in which they began. What has been uploaded is marked, so a second call goes
    on where the first was stopped. Runs that are still running wait for a later call.
    """
    meant = (find_run(name) for name in runs) if runs else newest_first(task_folders())
    uploads = list(uploads_of(all_points(meant)))
    if uploads and not dry_run:
        check_server()
        upload_all(uploads, is_shown=not as_json)
    if as_json:
        print_json([_as_row(upload) for upload in uploads])
    else:
        print_uploads(uploads, dry_run)
    failed = [upload for upload in uploads if upload.error]
    if failed:
        raise RunError(f"{len(failed)} of {len(uploads)} runs could not be uploaded; the next call tries them again.")


def uploads_of(runs: Iterator[Run]) -> Iterator[Upload]:
    """Yields what is to be uploaded of each run that is not running."""
    for run in runs:
        pieces = [piece for piece in sorted(run.folder.glob("wandb/offline-run-*")) if not is_uploaded(piece)]
        if pieces and run.state != "running":
            yield Upload(run, pieces)


def is_uploaded(piece: Path) -> bool:
    """Returns whether W&B has marked a piece as uploaded."""
    return any(piece.glob("*.wandb.synced"))


def check_server() -> None:
    """Checks that an upload can begin: W&B itself would try for minutes.

    Raises:
        ConfigError: there is no key, or no server.
    """
    if not login_wandb():
        raise ConfigError("There is no W&B key: put it into WANDB_KEY.txt below AI_RESEARCH_PATH, or `wandb login`.")
    reason = unreachable_because()
    if reason is not None:
        raise ConfigError(f"Nothing was uploaded: {reason}. Type the command where the server can be reached.")


def upload_all(uploads: list[Upload], is_shown: bool) -> None:
    """Uploads run by run, with a bar that counts pieces."""
    total = sum(len(upload.pieces) for upload in uploads)
    with Progress(disable=not is_shown) as progress:
        bar = progress.add_task("Uploading", total=total)
        for upload in uploads:
            progress.update(bar, description=f"{upload.run.task}/{upload.run.title}")
            upload.error = error_of_upload(upload)
            progress.advance(bar, len(upload.pieces))


def error_of_upload(upload: Upload) -> str | None:
    """Uploads the pieces of one run, in one process so that W&B keeps their order; returns what went wrong."""
    words = [sys.executable, "-m", "wandb", "sync", "--yes", *map(str, upload.pieces)]
    environment = {**os.environ, "WANDB_DATA_DIR": str(upload.run.folder / "wandb")}
    # In the run's folder: W&B writes a log of its own below the working directory.
    result = subprocess.run(
        words,
        cwd=upload.run.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if all(is_uploaded(piece) for piece in upload.pieces):
        return None
    said = [line for line in (result.stderr + result.stdout).splitlines() if "error" in line.lower()]
    return said[-1] if said else f"`wandb sync` ended with status {result.returncode} and marked nothing as uploaded"


def print_uploads(uploads: list[Upload], dry_run: bool) -> None:
    """Prints a line per run."""
    if not uploads:
        click.echo("Nothing to upload.")
    for upload in uploads:
        outcome = upload.error or ("would be uploaded" if dry_run else "uploaded")
        echo(f"{upload.run.folder}: {len(upload.pieces)} piece(s) {outcome}")


def _as_row(upload: Upload) -> dict[str, Any]:
    return {
        "run": str(upload.run.folder),
        "pieces": [str(piece) for piece in upload.pieces],
        "uploaded": all(is_uploaded(piece) for piece in upload.pieces),
        "error": upload.error,
    }
