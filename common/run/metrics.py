"""`metrics.csv`: every logged scalar, readable without an account or a network.

One row per log call: `step` (optimiser steps or generations done), `epoch`, `time` (seconds since 1970), then one
column per metric, in the order in which they first appeared; a metric that a call did not log is empty in its row.
Numbers are written with every digit that they have.
"""

import csv
import io
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from common.run.atomic import write_text_atomically

FILE_NAME = "metrics.csv"
FIXED_COLUMNS = ("step", "epoch", "time")

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
        self.columns = _columns_of(self.path) or list(FIXED_COLUMNS)
        self.num_rows = len(read_metrics(folder, name))
        self._file: TextIO | None = None

    def state_dict(self) -> dict[str, Any]:
        """Returns how far the file goes."""
        return {"columns": list(self.columns), "num_rows": self.num_rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cuts the file back to how far it went when the state was taken."""
        self.num_rows = state["num_rows"]
        self._set_columns(list(state["columns"]))

    def clear(self) -> None:
        """Empties the file."""
        self.load_state_dict({"columns": FIXED_COLUMNS, "num_rows": 0})

    def append(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends a row.

        Args:
            metrics: Scalars by name; `epoch` goes to its own column.
            step: Optimiser steps taken, or generations done, so far; None where there are none.
        """
        new = [name for name in metrics if name not in self.columns]
        if new or self._file is None:
            self._set_columns([*self.columns, *new])
            self._file = self.path.open("a", newline="")
        row = {**metrics, "step": step, "time": round(time.time(), 3)}
        csv.writer(self._file, lineterminator="\n").writerow([_text(row.get(column)) for column in self.columns])
        self._file.flush()
        self.num_rows += 1

    def close(self) -> None:
        """Closes the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _set_columns(self, columns: list[str]) -> None:
        """Rewrites the file with these columns, and leaves it closed."""
        self.close()
        rows = read_metrics(self.path.parent, self.path.name)[: self.num_rows]
        self.columns = columns
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(row.get(column)) for column in columns] for row in rows)
        write_text_atomically(self.path, text.getvalue())


def read_metrics(folder: Path, name: str = FILE_NAME) -> list[dict[str, float]]:
    """Returns the rows of a run's `metrics.csv`, each with the metrics that it has; none where there is no file.

    Args:
        folder: The run's folder.
        name: Another file's name, of the same form.
    """
    path = folder / name
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            {name: _number(value) for name, value in row.items() if value not in ("", None)}
            for row in csv.DictReader(file)
        ]


def read_last_metrics(folder: Path) -> dict[str, float]:
    """Returns the last value of each metric of a run; none where there is no file.

    The file is read from its end, and only as far as needed.
    """
    try:
        with (folder / FILE_NAME).open("rb") as file:
            columns = next(csv.reader([file.readline().decode()]), [])
            texts = _last_texts(file, columns)
    except FileNotFoundError:
        return {}
    return {name: _number(texts[name]) for name in columns if name in texts}


def _last_texts(file: BinaryIO, columns: list[str]) -> dict[str, str]:
    """Returns the last text in each column that has one; the file is at the end of its header."""
    last = dict[str, str]()
    for line in _lines_from_end(file):
        for name, text in zip(columns, line.split(","), strict=False):
            if text:
                last.setdefault(name, text)
        if len(last) == len(columns):
            break
    return last


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
        yield from (line.decode() for line in reversed(whole) if line)
        end, is_first = start, is_first and not lines


def _columns_of(path: Path) -> list[str]:
    """Returns the columns of a file that an earlier process wrote; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
