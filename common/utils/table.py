"""Tables for a terminal."""

from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from common.utils.text import printable


def make_table(*columns: str, rows: Iterable[Sequence[str | Text]] = ()) -> Table:
    """Returns a table; a column whose name starts with `#` is aligned to the right, without the sign.

    The first column, which names what the row is about, stays in one line. Brackets are text, and no mark-up; what
    would steer the terminal is escaped.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if name.startswith("#") else "left"
        table.add_column(name.removeprefix("#"), justify=justify, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    return table
