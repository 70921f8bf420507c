"""The errors that a person can meet, and the one place that prints them.

Exit statuses: 2 for a mistake in the command or the configuration, 1 for a run that failed, 75 for a run that was
stopped and that the same command continues, 130 for a second Ctrl-C.
The traceback is shown with `HYDRA_FULL_ERROR=1`, and is always in the run's log.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

FULL_ERROR_VARIABLE = "HYDRA_FULL_ERROR"
INTERRUPTED = 130


class AIResearchError(Exception):
    """An error whose message is all that a person needs: what is wrong, what was received, what to do."""

    exit_status = 1


class ConfigError(AIResearchError):
    """A mistake in the command, the configuration or the surroundings, found before anything has started."""

    exit_status = 2


class ContractError(ConfigError, TypeError):
    """A class that does not give what its base asks for, found when it is defined.

    A project's file defines its classes while it is imported, before anything can catch an error: so this one is told
    by Python's last hook.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        sys.excepthook = _report_uncaught


class RunError(AIResearchError):
    """A run that started and could not go on."""


class RunStoppedError(AIResearchError):
    """A run that was asked to stop, has saved, and that the same command continues."""

    exit_status = 75


@contextmanager
def report_errors() -> Iterator[None]:
    """Turns whatever is raised inside into one short message on stderr and the right exit status.

    Hydra prints errors by itself, always with status 1, unless `HYDRA_FULL_ERROR` is set; so that is set while the
    block runs, and only a person who had set it before sees the traceback.
    """
    before = os.environ.get(FULL_ERROR_VARIABLE)
    os.environ[FULL_ERROR_VARIABLE] = "1"
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as end:  # Lightning ends the process with status 1 on Ctrl-C.
        sys.exit(INTERRUPTED if isinstance(end.__context__, KeyboardInterrupt) else end.code)
    except Exception as error:
        if before == "1":
            traceback.print_exc()
        else:
            _print(message_of(error))
        sys.exit(exit_status_of(error))
    finally:
        if before is None:
            os.environ.pop(FULL_ERROR_VARIABLE, None)
        else:
            os.environ[FULL_ERROR_VARIABLE] = before


def _report_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Stands for `sys.excepthook`."""
    if not isinstance(error, AIResearchError) or os.environ.get(FULL_ERROR_VARIABLE) == "1":
        sys.__excepthook__(kind, error, trace)
        return
    _print(message_of(error))
    sys.exit(error.exit_status)


def exit_status_of(error: BaseException) -> int:
    """Returns the process's exit status for an error: Hydra's own errors are mistakes in the command."""
    if isinstance(error, AIResearchError):
        return error.exit_status

    from hydra.errors import HydraException, InstantiationException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, InstantiationException):
        return exit_status_of(error.__cause__) if isinstance(error.__cause__, AIResearchError) else 1
    return 2 if isinstance(error, HydraException | OmegaConfBaseException) else 1


def message_of(error: BaseException) -> str:
    """Returns what a person should read about an error, without a traceback."""
    if isinstance(error, RunStoppedError):
        return str(error)
    if isinstance(error, AIResearchError):
        return f"Error: {error}"

    from hydra.errors import HydraException, InstantiationException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        key = str(error).rpartition("full_key: ")[2]
        return f"{message_of(error.__cause__)}\n  while building {key}"
    if isinstance(error, MissingConfigException) and "Config search path" in str(error):
        return "Error: " + str(error).partition("\nConfig search path")[0]
    if isinstance(error, HydraException | OmegaConfBaseException):
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
        return "Error: " + "\n".join(str(part) for part in (error, cause) if part is not None and str(part))
    return (
        f"Error: {type(error).__name__}: {error}{_place_of(error)}\n"
        f"  The whole traceback: the same command with {FULL_ERROR_VARIABLE}=1 in front."
    )


def _place_of(error: BaseException) -> str:
    """Returns the innermost place in this repository that the error passed through, or nothing."""
    root = str(Path(__file__).resolve().parents[1])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    return f"\n  at {own[-1].filename}:{own[-1].lineno}" if own else ""


def _print(message: str) -> None:
    from common.utils.text import printable  # Only here: everything imports this module.

    print(f"\n{printable(message)}", file=sys.stderr)
