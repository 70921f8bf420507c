"""`provenance.json`, the record of a run: what was launched, where it came from, and how each of its launches ended.

This file has the one schema, the one reader and the one writer. What is read is checked, so that nothing that uses a
record has to expect anything else than the schema says.
"""

import functools
import json
import time
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from common.engine import Engine
from common.errors import RunError
from common.run.atomic import write_text_atomically
from common.run.files import REMEDY, read_bytes
from common.run.identity import is_larger_budget

FILE_NAME = "provenance.json"

Kind = Literal["plain", "point", "sweep"]
"""A plain run, one point of a sweep, or the folder that holds a sweep's points; they never continue each other."""

Status = Literal["queued", "running", "finished", "stopped", "failed"]
"""How a run stands: `queued` in a cluster, `stopped` by a person or a signal, `failed` by an error.

A run of which any launch has finished is `stopped` by an error, too: what was finished is still there.
"""

MOST_DIGITS = 300
"""An integer with more is no number that a run could have, and too large for a float."""


@dataclass
class ChangedFile:
    """What a file that differs from the commit holds, as text or, where it is none, as base64.

    Attributes:
        mode: Git's: 100644, 100755 for a program, 120000 for a link, whose target is the text.
        text: The content.
        base64: The content.
    """

    mode: str
    text: str | None = None
    base64: str | None = None


@dataclass
class Git:
    """The state of the code: see `common.run.uncommitted`.

    Attributes:
        commit: The commit's hash; empty where nothing could be recorded.
        branch: The branch's name.
        folder: Where the code lies in its repository; empty for its top.
        changed: The files that differ from the commit or are new, by name.
        deleted: The files of the commit that are not there.
        uncommitted_diff: The same for people to read, as far as it is short.
        problems: What could not be recorded, and why.
    """

    commit: str = ""
    branch: str = ""
    folder: str = ""
    changed: dict[str, ChangedFile] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    uncommitted_diff: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass
class Origin:
    """The checkpoint of another run that a run starts from: part of what its result depends on.

    Attributes:
        path: The file.
        fingerprint: Of its content.
        identity: Of the run that wrote it; None where that is unknown.
    """

    path: str
    fingerprint: str
    identity: str | None = None

    def __str__(self) -> str:
        """Returns it for people."""
        run = f" of run {self.identity}" if self.identity else ""
        return f"{self.path}{run} (fingerprint {self.fingerprint})"


@dataclass
class Machine:
    """What is known of a machine; see `common.run.provenance.machine`."""

    host: str | None = None
    user: str | None = None
    platform: str | None = None
    processor: str | None = None
    available_cpus: int | None = None
    slurm_job_id: str | None = None


@dataclass
class SlurmTask:
    """A job of SLURM's, or one task of an array.

    Attributes:
        job_id: The job's number, the array's where there is one.
        task: The number within the array; None where there is none.
        job_ids: Of a sweep that was submitted in pieces, the numbers of all.
        num_restarts: How often the job had been queued again when it last wrote its record; None before that.
    """

    job_id: int
    task: int | None = None
    job_ids: list[int] = field(default_factory=list)
    num_restarts: int | None = None


@dataclass
class Launch:
    """One process's work on a run, from its start to its end.

    Attributes:
        started: When it began.
        pid: The process, on the machine that the record names.
        budget: How long the run was to go on by then.
        ended: When it ended; None while it runs, and for good where it was killed.
        status: How it ended.
        error: What went wrong.
        result: What the subtask returned.
        metrics: The last value of each metric when it finished; a launch that goes on from there takes the last rows
            of `metrics.csv` back.
        seconds: How long it took.
    """

    started: str
    pid: int | None = None
    budget: dict[str, Any] = field(default_factory=dict)
    ended: str | None = None
    status: Status = "running"
    error: str | None = None
    result: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None


@dataclass
class Record:
    """What is on record of a run. `status` and all from `command` on tell of the newest launch.

    Attributes:
        kind: What was launched.
        identity: What the result depends on; see `common.run.identity`.
        budget: How long the run is to go on.
        code: Fingerprints of the code's files.
        packages: Versions of the packages that can change a result.
        engine: What runs it, in its own words.
        status: How the run stands.
        overrides: Of a sweep's point, the overrides that the sweep varies.
        created_ns: When the folder was made, in nanoseconds since 1970.
        changes: What the configuration changes of the task's defaults; see `common.run.changes`.
        given: The overrides that do so, by key.
        command: The command, ready for a shell.
        working_directory: Where it was typed.
        started: When the first launch began.
        ended: When the newest one ended; None while it runs.
        error: What ended it, unless it finished.
        seed: The seed.
        data: What the components say of the data that is used.
        origin: The checkpoint of another run that this one starts from; None where it starts from scratch.
        git: The state of the code; None before the first launch.
        python: Python's version.
        machine: Where it ran.
        snapshot: The hash of the copy of the code that it runs from; None where it runs from the repository.
        slurm: The job that runs it.
        result: What the subtask returned when it finished.
        seconds: How long the newest launch took.
        launches: All launches, from the first to the newest.
    """

    kind: Kind
    identity: str
    budget: dict[str, Any]
    code: dict[str, str]
    packages: dict[str, str]
    engine: Engine = field(default_factory=Engine)
    status: Status = "running"
    overrides: list[str] = field(default_factory=list)
    created_ns: int = field(default_factory=time.time_ns)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    command: str | None = None
    working_directory: str | None = None
    started: str | None = None
    ended: str | None = None
    error: str | None = None
    seed: int | None = None
    data: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    git: Git | None = None
    python: str | None = None
    machine: Machine | None = None
    snapshot: str | None = None
    slurm: SlurmTask | None = None
    result: Any = None
    seconds: float | None = None
    launches: list[Launch] = field(default_factory=list)

    @property
    def wandb_id(self) -> str:
        """The W&B id of the run: it follows from the record, so that every launch logs to one run."""
        return f"{self.identity}-{self.created_ns:x}"

    @property
    def has_finished(self) -> bool:
        """Whether any of its launches has finished, at whatever budget."""
        return self.status == "finished" or any(launch.status == "finished" for launch in self.launches)

    def is_finished_at(self, budget: dict[str, Any]) -> bool:
        """Returns whether all that is asked for is done."""
        return self.status == "finished" and not is_larger_budget(budget, self.budget)


REQUIRED = {*(one.name for one in fields(Record) if one.default is one.default_factory is MISSING)} | {
    "status",
    "created_ns",
}
"""What every record has had since its folder was made."""


class DamagedRecordError(RunError):
    """A `provenance.json` that is missing, cannot be read, or says what no record says.

    Args:
        path: The file.
        what: What is wrong with it, with its name.
        identity: The run's identity, where that much can be read.
    """

    def __init__(self, path: Path, what: str, identity: str | None = None) -> None:
        super().__init__(f"{path.parent} holds a damaged run: {what}.")
        self.folder = path.parent
        self.what = what
        self.identity = identity


def read_record(folder: Path) -> Record:
    """Returns what a run's `provenance.json` says.

    Raises:
        DamagedRecordError: it cannot be read, or is not a run's record.
    """
    path = folder / FILE_NAME
    try:
        content: Any = json.loads(read_bytes(folder, FILE_NAME), parse_int=_integer)
    except FileNotFoundError as error:
        raise DamagedRecordError(path, f"no {FILE_NAME}: not a run, or not yet one") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        reason = reason.partition(f". {REMEDY}")[0]
        raise DamagedRecordError(path, f"{FILE_NAME} cannot be read: {reason}") from error
    try:
        return _checked_record(content)
    except ValueError as error:
        identity = content.get("identity") if isinstance(content, dict) else None
        what = f"{FILE_NAME} is not a run's record: {error}"
        raise DamagedRecordError(path, what, identity if isinstance(identity, str) else None) from error


def write_record(folder: Path, record: Record) -> None:
    """Writes a run's `provenance.json`, whole or not at all."""
    write_text_atomically(folder / FILE_NAME, json.dumps(asdict(record), indent=2, default=str) + "\n")


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _checked_record(content: Any) -> Record:
    """Returns the record that was read.

    Raises:
        ValueError: it is none; says which field is wrong, and what it holds.
    """
    if not isinstance(content, dict):
        raise ValueError("it holds no keys")
    missing = sorted(REQUIRED - content.keys())
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    record = _checked(Record, content, "")
    if not record.identity:
        raise ValueError("identity is empty")
    if not 0 <= record.created_ns < 2**63:
        raise ValueError(f"created_ns={record.created_ns}, which is no time in nanoseconds since 1970")
    checkpoints = record.engine.checkpoints
    if Path(checkpoints).name != checkpoints:  # It would lead out of the run's folder.
        raise ValueError(f"engine.checkpoints={_short(checkpoints)}, which is no folder's name")
    return record


T = TypeVar("T")


def _checked(schema: type[T], content: dict[str, Any], place: str) -> T:
    """Returns a dataclass, filled from a JSON object; keys that it does not know are passed over."""
    hints = _hints_of(schema)  # type: ignore[arg-type]  # A class is hashable.
    known = {name: value for name, value in content.items() if name in hints}
    return schema(**{name: _value(hints[name], value, place + name) for name, value in known.items()})


@functools.cache
def _hints_of(schema: type) -> dict[str, Any]:
    return get_type_hints(schema)


def _value(hint: Any, value: Any, place: str) -> Any:
    """Returns a value as its type hint wants it.

    Args:
        hint: What the schema says; of unions it knows only "or None".
        value: What the file says.
        place: The field's name, for error texts.

    Raises:
        ValueError: it is of another type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or (value is None and NoneType in arguments):
        return value
    if NoneType in arguments:
        (hint,) = (argument for argument in arguments if argument is not NoneType)
        return _value(hint, value, place)
    if is_dataclass(hint) and isinstance(value, dict):
        needed = {one.name for one in fields(hint) if one.default is one.default_factory is MISSING}
        if needed <= value.keys():
            return _checked(hint, value, f"{place}.")  # type: ignore[arg-type]  # It is a class, no instance.
    elif origin is list and isinstance(value, list):
        return [_value(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(value)]
    elif origin is dict and isinstance(value, dict):
        return {key: _value(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    elif origin is Literal:
        if isinstance(value, str) and value in arguments:
            return value
    elif type(value) is hint or (hint is float and type(value) is int):
        return value
    raise ValueError(f"{place}={_short(value)}, which is not {_described(hint)}")


def _described(hint: Any) -> str:
    """Returns what a type hint wants, for people."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    names = {str: "a text", int: "a whole number", float: "a number", list: "a list"}
    return names.get(get_origin(hint) or hint, "a mapping of the right keys")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
