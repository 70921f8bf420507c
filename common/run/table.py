"""Tables of numbers as text: a line of names, then a line per row; a damaged one is read as far as it is whole."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

FIRST_COLUMN = "step"

MOST_HEADER_LINES = 1000
"""A name may have line breaks in it; what goes on for longer is no header."""


@dataclass
class Table:
    """What a file holds.

    Attributes:
        columns: The names; none where the first line is damaged.
        rows: The cells of the rows that are whole, as they are written.
        fault: What is wrong with the file, or None.
    """

    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    fault: str | None = None

    def in_columns(self, columns: Sequence[str]) -> "Table":
        """Returns the same rows with other columns: cells of new ones are empty, those of missing ones go."""
        places = [self.columns.index(name) if name in self.columns else None for name in columns]
        rows = [["" if place is None else row[place] for place in places] for row in self.rows]
        return Table(list(columns), rows)

    def first(self, num_rows: int) -> "Table":
        """Returns the table with its first rows only."""
        return Table(self.columns, self.rows[:num_rows])

    def last(self, column: str) -> str | None:
        """Returns the last text of a column that is not empty."""
        if column not in self.columns:
            return None
        place = self.columns.index(column)
        return next((row[place] for row in reversed(self.rows) if row[place]), None)


def parse(content: bytes) -> Table:
    """Returns what is whole of a table."""
    if not content:
        return Table([], fault="is empty")
    file = io.BytesIO(content)
    columns = header_of(file)
    if not columns:
        return Table([], fault="is not a table of metrics")
    *lines, tail = content[file.tell() :].split(b"\n")
    found = [_cells_of(line, len(columns)) for line in lines]
    rows = [cells for cells in found if cells is not None]
    if len(rows) < len(found):
        return Table(columns, rows, f"has damaged lines ({len(found) - len(rows)} of {len(found)})")
    return Table(columns, rows, f"ends with {len(tail)} bytes that are no row" if tail else None)


def header_of(file: io.BufferedIOBase) -> list[str]:
    """Reads the names in a table's first line, and leaves the file behind it; none where that is damaged."""
    text = b""
    for _ in range(MOST_HEADER_LINES):
        line = file.readline()
        text += line
        if not line.endswith(b"\n"):
            return []
        if text.count(b'"') % 2 == 0:  # Otherwise a name goes on in the next line.
            break
    try:
        columns = next(csv.reader(io.StringIO(text.decode(), newline="")), [])
    except (UnicodeDecodeError, csv.Error):
        return []
    return columns if columns[:1] == [FIRST_COLUMN] and len(set(columns)) == len(columns) else []


def numbers_of(columns: Sequence[str], cells: Sequence[str]) -> dict[str, float]:
    """Returns the numbers of a row, by name; cells that are empty are left out."""
    return {name: _number(cell) for name, cell in zip(columns, cells, strict=True) if cell}


def rendered(table: Table) -> str:
    """Returns a table as it is written."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(table.columns)
    text.writelines(f"{','.join(row)}\n" for row in table.rows)
    return text.getvalue()


def text_of(value: float | None) -> str:
    """Returns a number as a cell, with every digit that it has; no number is an empty one."""
    return "" if value is None else repr(value)


def _cells_of(line: bytes, num_columns: int) -> list[str] | None:
    """Returns a row's cells, or None where the line is no row."""
    try:
        cells = line.decode("ascii").split(",")
        [_number(cell) for cell in cells if cell]
    except ValueError:
        return None
    return cells if len(cells) == num_columns else None


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
