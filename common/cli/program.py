"""The program: its subcommands, each imported when it is called."""

import difflib
import importlib
import io
import os
import sys
import traceback

import click

COMMANDS = {
    "ls": "List runs and sweeps, newest first.",
    "show": "Show one run or sweep: what it changed, where it came from, how it went.",
    "compare": "Compare runs: which keys differ, and what the seeds say.",
    "report": "Write a run or a sweep as one HTML file.",
    "watch": "Follow what is running, here and on SLURM.",
    "reproduce": "Run a run again from its commit, and compare to the last bit.",
    "sync": "Upload what W&B has logged offline.",
    "clean": "Remove what failed, is empty or superseded, after asking.",
    "doctor": "Check whether this machine is ready for runs.",
    "new": "Make a new project that works from the first minute.",
}


class LazyGroup(click.Group):
    """Knows its subcommands by name and first line, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a subcommand, or returns None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"common.cli.{cmd_name}").command
        command.short_help = COMMANDS[cmd_name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest subcommand where there is none of the name given."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint} Commands: {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def program() -> None:
    """See, compare and reproduce runs, by what lies in their folders below AI_RESEARCH_PATH.

    RUN is a folder, a unique prefix of a run's identity or timestamp, or `last`. Every command has --json.
    """


def main() -> None:
    """Runs the program; an error is one short message, and the exit status tells its kind."""
    for stream in (sys.stdout, sys.stderr):  # Without a module of ours: each switches on the type checks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        program(prog_name="ai-research")
    except Exception as error:
        from common.errors import FULL_ERROR_VARIABLE, exit_status_of, message_of
        from common.utils.text import printable

        if os.environ.get(FULL_ERROR_VARIABLE) == "1":
            traceback.print_exc()
        else:
            click.echo(printable(message_of(error)), err=True)
        sys.exit(exit_status_of(error))
