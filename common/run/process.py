"""Who wrote something: a process, told from one that has its number later."""

import os
import re
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    """A process, on this machine or another.

    Attributes:
        host: The machine's name.
        pid: Its number there.
        start_time: When it started, in clock ticks since the machine did; None where that cannot be known.
    """

    host: str
    pid: int
    start_time: int | None

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it runs on this machine; of another machine nothing is known here."""
        return self.is_here and process_start_time(self.pid) == self.start_time and self.start_time is not None

    @property
    def stamp(self) -> str:
        """The process as a part of a file's name."""
        return f"{self.pid}-{self.start_time}-{_safe(self.host)}"

    def as_json(self) -> dict[str, Any]:
        """Returns it in plain containers."""
        return asdict(self)


def this_process() -> Process:
    """Returns the process that asks."""
    return Process(socket.gethostname(), os.getpid(), process_start_time(os.getpid()))


def process_of(facts: Any) -> Process | None:
    """Returns the process that plain containers describe, or None where they describe none."""
    if not isinstance(facts, dict):
        return None
    host, pid, start_time = (facts.get(name) for name in ("host", "pid", "start_time"))
    is_whole = isinstance(host, str) and type(pid) is int and (start_time is None or type(start_time) is int)
    return Process(host, pid, start_time) if is_whole else None  # type: ignore[arg-type]  # As was just looked at.


def is_stamp_of_dead(stamp: str) -> bool | None:
    """Returns whether the process of a stamp is gone; None where that is unknown: another machine's, or no stamp."""
    match = re.fullmatch(r"(\d+)-(\d+)-(.+)", stamp)
    if match is None or match[3] != _safe(socket.gethostname()):
        return None
    return process_start_time(int(match[1])) != int(match[2])


def process_start_time(pid: int) -> int | None:
    """Returns when a process started, in clock ticks since boot; a reused number has another. None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _safe(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", host)[:64]
