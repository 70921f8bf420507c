"""`metrics.csv`: every logged scalar, readable without an account or a network.

One row per log call: `step` (optimiser steps or generations done), `epoch`, `time` (seconds since 1970), then one
column per metric, in the order in which they first appeared; a metric that a call did not log is empty in its row.
Numbers are written with every digit that they have.

A checkpoint knows how far the file went: rows, bytes and a checksum and, up to `COPY_BYTES`, the text itself. What a
power failure or a hand did to the file since is mended from that when the run goes on, or said.
"""

import logging
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from common.run.atomic import write_text_atomically
from common.run.files import UnusableFileError, open_file, open_to_read, read_bytes
from common.run.table import Table, header_of, numbers_of, parse, rendered, text_of
from common.utils.text import number_text

log = logging.getLogger(__name__)

FILE_NAME = "metrics.csv"
FIXED_COLUMNS = ("step", "epoch", "time")

COPY_BYTES = 1_000_000
"""A longer text is in no checkpoint; a row has about a hundred bytes."""

BLOCK_BYTES = 16_384
"""How much is read at a time from a file's end."""


class MetricsFile:
    """Appends to a run's `metrics.csv`. Each row is handed to the operating system at once.

    What is in the file already is kept, unless `load_state_dict` says how much of it, or `clear` that nothing.

    Args:
        folder: The run's folder.
        name: The file's name.
    """

    def __init__(self, folder: Path, name: str = FILE_NAME) -> None:
        self.path = folder / name
        self._file: TextIO | None = None
        self._hold(_read_table(folder, name))

    def state_dict(self) -> dict[str, Any]:
        """Returns how far the file goes, and what tells whether it is still whole."""
        return {
            "columns": list(self.columns),
            "num_rows": self.num_rows,
            "num_bytes": self._num_bytes,
            "checksum": self._checksum,
            "last_step": self._last_step,
            "text": self._text,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cuts the file back to how far it went when the state was taken; where it is damaged, mends it and says so."""
        self._rewrite(self._table_at(state))

    def clear(self) -> None:
        """Empties the file."""
        if self.num_rows:
            log.warning(
                "%s: its %d rows are dropped: no checkpoint belongs to them, so the run begins again.",
                *(self.path, self.num_rows),
            )
        self._rewrite(Table(list(FIXED_COLUMNS)))

    def append(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends a row.

        Args:
            metrics: Scalars by name; `epoch` goes to its own column.
            step: Optimiser steps taken, or generations done, so far; None where there are none.
        """
        new = [name for name in metrics if name not in self.columns]
        if new or self._file is None:
            self._add_columns(new)
            descriptor = open_file(self.path.parent, self.path.name, os.O_WRONLY | os.O_APPEND)
            self._file = os.fdopen(descriptor, "w", newline="", encoding="utf-8")
        row = {**metrics, "step": step, "time": round(time.time(), 3)}
        line = ",".join(text_of(row.get(column)) for column in self.columns) + "\n"
        self._file.write(line)
        self._file.flush()
        self._count(line, step)

    def close(self) -> None:
        """Closes the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add_columns(self, names: list[str]) -> None:
        """Rewrites the file with further columns, and leaves it closed."""
        self._rewrite(self._table_at(self.state_dict()).in_columns([*self.columns, *names]))

    def _rewrite(self, table: Table) -> None:
        self.close()
        write_text_atomically(self.path, rendered(table))
        self._hold(table)

    def _hold(self, table: Table) -> None:
        """Takes over what the file holds."""
        self.columns = table.columns or list(FIXED_COLUMNS)
        text = rendered(Table(self.columns, table.rows))
        self.num_rows = len(table.rows)
        self._num_bytes, self._checksum = _sums(text)
        self._text: str | None = text if self._num_bytes <= COPY_BYTES else None
        self._last_step: int | str | None = table.last("step")

    def _count(self, line: str, step: int | None) -> None:
        """Takes over one more row."""
        self.num_rows += 1
        self._num_bytes += len(line)  # Numbers are ASCII.
        self._checksum = zlib.crc32(line.encode(), self._checksum)
        self._text = self._text + line if self._text is not None and self._num_bytes <= COPY_BYTES else None
        self._last_step = self._last_step if step is None else step

    def _table_at(self, state: Mapping[str, Any]) -> Table:
        """Returns what the file held at a state, or what can be had of that, and says what was damaged."""
        found = _read_table(self.path.parent, self.path.name)
        table = found.in_columns(state["columns"]).first(state["num_rows"])
        if _sums(rendered(table)) == (state["num_bytes"], state["checksum"]):
            if found.fault is not None and table.rows:
                log.warning("%s %s: the %d rows that count are whole.", self.path, found.fault, len(table.rows))
            return table
        what = f"{self.path} {found.fault or 'is not what was written'}"
        if state["text"] is not None:
            log.warning("%s: its %d rows were taken from the checkpoint.", what, state["num_rows"])
            return parse(state["text"].encode())
        log.warning(
            "%s: it was lost up to step %s, but for %d of %d rows. With more than %d bytes it was too long for the "
            "checkpoint; the run itself is whole.",
            *(what, state["last_step"], len(table.rows), state["num_rows"], COPY_BYTES),
        )
        return table


def read_metrics(folder: Path, name: str = FILE_NAME) -> list[dict[str, float]]:
    """Returns the rows of a run's `metrics.csv`, each with the metrics that it has; none where there is no file.

    Args:
        folder: The run's folder.
        name: Another file's name, of the same form.

    Raises:
        UnusableFileError: it is not a table of metrics at all; lines that are no rows are passed over.
    """
    try:
        content = read_bytes(folder, name)
    except FileNotFoundError:
        return []
    table = parse(content)
    if not table.columns and content:
        raise UnusableFileError(f"{folder / name} {table.fault}")
    return [numbers_of(table.columns, row) for row in table.rows]


def read_last_metrics(folder: Path) -> dict[str, float]:
    """Returns the last value of each metric of a run; none where there is no file.

    The file is read from its end, and only as far as needed.

    Raises:
        UnusableFileError: it is not a table of metrics.
    """
    try:
        with open_to_read(folder, FILE_NAME) as file:
            columns = header_of(file)
            if not columns:
                if file.tell():
                    raise UnusableFileError(f"{folder / FILE_NAME} is not a table of metrics")
                return {}
            return _last_numbers(file, columns)
    except FileNotFoundError:
        return {}


def damage_of(folder: Path) -> str | None:
    """Returns what is wrong with a run's `metrics.csv`; None where nothing is, or where there is none."""
    try:
        fault = parse(read_bytes(folder, FILE_NAME)).fault
    except FileNotFoundError:
        return None
    except UnusableFileError as error:
        return str(error)
    return None if fault is None else f"{FILE_NAME} {fault}"


def _read_table(folder: Path, name: str) -> Table:
    """Returns what is whole of a file, whatever its condition."""
    try:
        return parse(read_bytes(folder, name))
    except FileNotFoundError:
        return Table([], fault="is missing")
    except UnusableFileError as error:
        return Table([], fault=f"cannot be read ({error})")


def _sums(text: str) -> tuple[int, int]:
    content = text.encode()
    return len(content), zlib.crc32(content)


def _last_numbers(file: BinaryIO, columns: list[str]) -> dict[str, float]:
    """Returns the last number in each column that has one; the file is at the end of its header."""
    last = dict[str, float]()
    for line in _lines_from_end(file):
        cells = line.split(",")
        try:
            numbers = numbers_of(columns, cells) if len(cells) == len(columns) else {}
        except ValueError:
            continue
        last = numbers | last
        if len(last) == len(columns):
            break
    return {name: last[name] for name in columns if name in last}


def _lines_from_end(file: BinaryIO) -> Iterator[str]:
    """Yields the lines of a file, from the last back to where it is; one that is being written is left out."""
    header_end = file.tell()
    end = file.seek(0, os.SEEK_END)
    rest = b""
    is_first = True
    while end > header_end:
        start = max(header_end, end - BLOCK_BYTES)
        file.seek(start)
        lines = (file.read(end - start) + rest).split(b"\n")
        rest = lines.pop(0) if start > header_end else b""
        whole = lines[:-1] if is_first else lines
        yield from (line.decode(errors="replace") for line in reversed(whole) if line)
        end, is_first = start, is_first and not lines


def results_text(results: dict[str, float], first: Sequence[str], most: int = 3) -> str:
    """Returns the metrics that say most about a result.

    Args:
        results: The metrics.
        first: How the names of those begin that say most, the best first; where there are none, all are alike.
        most: How many are returned.
    """
    for stage in (*first, ""):
        chosen = [(name, value) for name, value in results.items() if name.startswith(stage)]
        if chosen:
            return ", ".join(f"{name} {number_text(value)}" for name, value in chosen[:most])
    return ""
