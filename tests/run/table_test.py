"""A table of numbers is read as far as it is whole."""

import pytest

from common.run.table import parse, rendered

WHOLE = b"step,epoch,x\n1,0,0.5\n2,,nan\n3,1,-1e-300\n"


def test_a_whole_table_comes_back_as_it_was() -> None:
    table = parse(WHOLE)
    assert table.fault is None
    assert table.columns == ["step", "epoch", "x"]
    assert table.rows == [["1", "0", "0.5"], ["2", "", "nan"], ["3", "1", "-1e-300"]]
    assert rendered(table).encode() == WHOLE


@pytest.mark.parametrize(
    ("content", "num_rows", "fault"),
    [
        (b"", 0, "is empty"),
        (WHOLE + b"\0\0\0\0", 3, "ends with 4 bytes that are no row"),
        (WHOLE + b"4,1,0.2", 3, "ends with 7 bytes that are no row"),
        (WHOLE + b"\0\0\n", 3, "has damaged lines (1 of 4)"),
        (WHOLE.replace(b"2,,nan", b"2,,\xff\xfe"), 2, "has damaged lines (1 of 3)"),
        (WHOLE.replace(b"2,,nan", b"2,nan"), 2, "has damaged lines (1 of 3)"),
        (WHOLE.replace(b"2,,nan\n", b"2,,na"), 1, "has damaged lines (1 of 2)"),
        (WHOLE[:7], 0, "is not a table of metrics"),
        (WHOLE[4:], 0, "is not a table of metrics"),
        (b'"step\n' * 2000, 0, "is not a table of metrics"),
        (b"step,step\n1,2\n", 0, "is not a table of metrics"),
        (b'{"step": 1}\n', 0, "is not a table of metrics"),
        (bytes(range(256)) * 50, 0, "is not a table of metrics"),
    ],
)
def test_what_is_whole_of_a_damaged_table_is_read(content: bytes, num_rows: int, fault: str) -> None:
    table = parse(content)
    assert (len(table.rows), table.fault) == (num_rows, fault)
