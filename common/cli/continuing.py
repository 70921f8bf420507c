"""Says how a run is continued."""

import shlex

from common.cli.runs import Run
from common.run.checkpoint import last_checkpoint
from common.run.code import code_fingerprints
from common.run.identity import changed_files
from common.run.record import Record
from common.utils.misc import repository_path

MOST_NAMED = 3


def how_to_continue(run: Run) -> str:
    """Returns what a person does next with a run, ready to be read."""
    if run.state == "damaged":
        return f"It cannot be continued: {run.problem}."
    if run.state == "queued" and run.record.slurm is not None:
        return f"SLURM has it as job {run.record.slurm.job_id}; `ai-research watch` follows it."
    if run.state == "running":
        return _while_running(launched_record(run))
    changed = changed_code(run)
    if changed:
        return _with_other_code(run, changed)
    command = f"  {typed_command(run)}"
    if run.state == "finished":
        budgets = [key for key, value in run.record.budget.items() if value not in (None, -1)]
        return f"Finished. With a larger {' or '.join(budgets) or 'budget'} the same command continues it:\n{command}"
    note = " It may meet the same error again." if run.state == "failed" else ""
    return f"The same command continues it.{note}\n{command}"


def typed_command(run: Run, *, is_new: bool = False) -> str:
    """Returns the command that launched a run, with the folder that it was typed in; a comment where none is known.

    Args:
        run: The run.
        is_new: Whether the command is to start elsewhere than the run did.
    """
    record = launched_record(run)
    if record.command is None:
        return "# not on record"
    words = shlex.split(record.command)
    if record.origin is None or is_new:
        words = [word for word in words if not word.lstrip("+").startswith("config.ckpt_path=")]
    return f"cd {shlex.quote(str(record.working_directory))} && {shlex.join(words)}"


def launched_record(run: Run) -> Record:
    """Returns the record that tells how a run was launched: for a sweep its first point's."""
    return run.points[0].record if run.kind == "sweep" and run.points else run.record


def changed_code(run: Run) -> list[str]:
    """Returns the files that a run executed and that are other ones now."""
    root = repository_path()
    return changed_files(code_fingerprints([root / "common", root / "projects" / run.project], root), run.record.code)


def _while_running(record: Record) -> str:
    host = record.machine.host if record.machine else None
    process = record.launches[-1].pid if record.launches else None
    return f"It is running as process {process} on {host}; `kill -USR2 {process}` there saves and stops it."


def _with_other_code(run: Run, changed: list[str]) -> str:
    names = ", ".join(changed[:MOST_NAMED])
    more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
    text = f"Since this run {names}{more} changed, so the same command starts a new run."
    checkpoint = last_checkpoint(run.checkpoints)
    if checkpoint is None:
        return text
    start = shlex.quote(f"config.ckpt_path={checkpoint}")
    return f"{text} From this one's state:\n  {typed_command(run, is_new=True)} {start}"
