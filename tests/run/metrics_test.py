"""`metrics.csv`: every row, every digit, and never half a file."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.run import metrics
from common.run.atomic import write_atomically, write_text_atomically
from common.run.metrics import FILE_NAME, FIXED_COLUMNS, MetricsFile, read_last_metrics, read_metrics

Opener = Callable[[], MetricsFile]


@pytest.fixture
def metrics_file(tmp_path: Path) -> Iterator[Opener]:
    """Opens the folder's file, as often as asked, and closes it in the end."""
    opened: list[MetricsFile] = []

    def open_file() -> MetricsFile:
        opened.append(MetricsFile(tmp_path))
        return opened[-1]

    yield open_file
    for file in opened:
        file.close()


def without_time(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


def test_columns_grow_and_rows_keep_their_values(metrics_file: Opener, tmp_path: Path) -> None:
    file = metrics_file()
    file.append({"train/loss": 1.5, "epoch": 0}, step=1)
    file.append({"val/loss": 0.5, "epoch": 0}, step=1)
    file.append({"train/loss": 1.25, "epoch": 1}, step=2)
    file.close()
    assert without_time(read_metrics(tmp_path)) == [
        {"step": 1, "epoch": 0, "train/loss": 1.5},
        {"step": 1, "epoch": 0, "val/loss": 0.5},
        {"step": 2, "epoch": 1, "train/loss": 1.25},
    ]
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert lines[0] == ",".join([*FIXED_COLUMNS, "train/loss", "val/loss"])
    assert {line.count(",") for line in lines} == {4}


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-300, 5e-324, 1.7976931348623157e308, -0.0, 2**53 + 1, 3, -7, 1e22])
def test_a_number_survives_to_the_last_bit_even_when_columns_are_added(
    metrics_file: Opener, tmp_path: Path, value: float
) -> None:
    file = metrics_file()
    file.append({"x": value}, step=1)
    file.append({"y": value}, step=2)
    first, second = read_metrics(tmp_path)
    assert repr(first["x"]) == repr(second["y"]) == repr(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_survives(metrics_file: Opener, tmp_path: Path, value: float) -> None:
    file = metrics_file()
    file.append({"x": value})
    file.append({"y": 0.0})
    assert repr(read_metrics(tmp_path)[0]["x"]) == repr(value)


def test_a_row_is_on_disk_as_soon_as_it_is_appended(metrics_file: Opener, tmp_path: Path) -> None:
    file = metrics_file()
    for step in range(3):
        file.append({"x": float(step)}, step=step)
        assert read_metrics(tmp_path)[-1]["step"] == step


def test_a_second_process_continues_the_file(metrics_file: Opener, tmp_path: Path) -> None:
    first = metrics_file()
    first.append({"x": 1.0}, step=1)
    first.close()
    second = metrics_file()
    second.append({"x": 2.0}, step=2)
    assert [row["x"] for row in read_metrics(tmp_path)] == [1.0, 2.0]


def test_a_second_process_that_logs_other_metrics_loses_none(metrics_file: Opener, tmp_path: Path) -> None:
    first = metrics_file()
    first.append({"x": 1.0}, step=1)
    first.close()
    second = metrics_file()
    second.append({"y": 2.0}, step=2)
    assert without_time(read_metrics(tmp_path)) == [{"step": 1, "x": 1.0}, {"step": 2, "y": 2.0}]


def test_a_name_with_a_comma_or_a_line_break_stays_one_column(metrics_file: Opener, tmp_path: Path) -> None:
    file = metrics_file()
    file.append({'a,b"\nc': 1.0})
    assert read_metrics(tmp_path)[0]['a,b"\nc'] == 1.0


def test_no_file_means_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []


def test_a_failing_rewrite_keeps_the_rows(
    metrics_file: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = metrics_file()
    file.append({"x": 1.0}, step=1)

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        file.append({"y": 2.0}, step=2)
    assert without_time(read_metrics(tmp_path)) == [{"step": 1, "x": 1.0}]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [FILE_NAME]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), ValueError("x")])
def test_a_failing_writer_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["file"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text_atomically(path, "old")
    with path.open() as reader:
        write_text_atomically(path, "né→w")
        assert reader.read() == "old"  # Whoever had it open still reads the old one.
    assert path.read_text() == "né→w"


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 10_000])
def test_last_values_are_those_of_the_whole_file(
    tmp_path: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BLOCK_BYTES", block_bytes)
    file = MetricsFile(tmp_path)
    for step in range(30):
        file.append({"a": step / 7, **({"rare": 1.5} if step == 3 else {}), **({"epoch": 1} if step % 2 else {})}, step)
    file.close()
    expected: dict[str, float] = {}
    for row in read_metrics(tmp_path):
        expected |= row
    assert read_last_metrics(tmp_path) == expected
    whole = (tmp_path / "metrics.csv").read_text()
    (tmp_path / "metrics.csv").write_text(whole + "30,9,0.")  # Being written.
    assert read_last_metrics(tmp_path) == expected


def test_there_are_no_last_values_without_a_file_or_rows(tmp_path: Path) -> None:
    assert read_last_metrics(tmp_path) == {}
    (tmp_path / "metrics.csv").write_text("step,epoch,time\n")
    assert read_last_metrics(tmp_path) == {}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": cut_short,
    "random bytes": lambda path: path.write_bytes(bytes(range(256)) * 3),
    "another type": lambda path: path.write_text('{"step": 1}\n'),
    "another digit": lambda path: path.write_text(path.read_text().replace("0.25", "0.75")),
    "a line less": lambda path: path.write_text("\n".join([*path.read_text().split("\n")[:2], ""])),
}


def three_rows(file: MetricsFile) -> dict[str, object]:
    """Writes three rows, and one more behind the state that is returned."""
    for step, value in enumerate([0.5, 0.25, 0.125]):
        file.append({"x": value}, step)
    state = file.state_dict()
    file.append({"later": 1.0}, 3)
    file.close()
    return state


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_rebuilt_from_the_checkpoint_and_says_so(
    metrics_file: Opener, tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    state = three_rows(metrics_file())
    damage(tmp_path / FILE_NAME)
    file = metrics_file()
    file.load_state_dict(state)
    assert [row["x"] for row in read_metrics(tmp_path)] == [0.5, 0.25, 0.125]
    assert "its 3 rows were taken from the checkpoint" in caplog.text
    file.append({"x": 1.0}, 3)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3]


def test_bytes_behind_the_rows_that_count_are_cut_off_with_a_line(
    metrics_file: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = three_rows(metrics_file())
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(bytes(4))
    metrics_file().load_state_dict(state)
    assert b"\0" not in (tmp_path / FILE_NAME).read_bytes()
    assert len(read_metrics(tmp_path)) == 3
    assert "ends with 4 bytes that are no row: the 3 rows that count are whole" in caplog.text


def test_a_whole_file_is_cut_back_without_a_word(
    metrics_file: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows behind the checkpoint, a new column among them, are what a killed run leaves."""
    state = three_rows(metrics_file())
    metrics_file().load_state_dict(state)
    assert [row["x"] for row in read_metrics(tmp_path)] == [0.5, 0.25, 0.125]
    assert (tmp_path / FILE_NAME).read_text().startswith("step,epoch,time,x\n")
    assert caplog.text == ""


@pytest.mark.parametrize(("damage", "num_left"), [("missing", 0), ("empty", 0), ("a line less", 1), ("half", 1)])
def test_what_is_too_long_for_a_checkpoint_is_kept_as_far_as_it_is_whole_and_its_loss_is_said(
    metrics_file: Opener,
    tmp_path: Path,
    damage: str,
    num_left: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(metrics, "COPY_BYTES", 50)
    state = three_rows(metrics_file())
    assert state["text"] is None
    DAMAGES[damage](tmp_path / FILE_NAME)
    metrics_file().load_state_dict(state)
    assert [row["x"] for row in read_metrics(tmp_path)] == [0.5, 0.25, 0.125][:num_left]
    assert f"it was lost up to step 2, but for {num_left} of 3 rows" in caplog.text


def test_rows_that_no_checkpoint_belongs_to_are_not_dropped_silently(
    metrics_file: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    three_rows(metrics_file())
    metrics_file().clear()
    assert read_metrics(tmp_path) == []
    assert "its 4 rows are dropped: no checkpoint belongs to them" in caplog.text


def test_a_link_is_neither_read_nor_written_through(metrics_file: Opener, tmp_path: Path) -> None:
    target = tmp_path / "precious.csv"
    target.write_text("step,epoch,time\n1,,2\n")
    (tmp_path / FILE_NAME).symlink_to(target)
    with pytest.raises(ConfigError, match=r"metrics\.csv is a symbolic link"):
        read_metrics(tmp_path)
    metrics_file().clear()
    metrics_file().append({"x": 1.0}, 1)
    assert target.read_text() == "step,epoch,time\n1,,2\n"
    assert len(read_metrics(tmp_path)) == 1
