"""What is shown of points that run elsewhere: a table that fits the terminal, or lines."""

import io
import os
import pty
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from common.dl.engine import DEEP_LEARNING
from common.launch.display import MOST_ROWS, Job, State, displayed, view_of
from common.launch.point import Point
from common.run.metrics import MetricsFile


def job_of(folder: Path, *overrides: str, state: State = "pending") -> Job:
    folder.mkdir(exist_ok=True)
    point = Point(0, [], list(overrides), OmegaConf.create(), 1, 1, {}, {}, {}, {}, DEEP_LEARNING, "")
    return Job(point, folder, state)


def write_metrics(folder: Path) -> None:
    file = MetricsFile(folder)
    file.append({"val/loss": 0.123456, "train/loss": 0.5}, step=3)
    file.close()


def lines_of(jobs: list[Job], width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(view_of(jobs, console))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Lets this process write to a terminal; yields where to read what that shows."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setenv("TERM", "xterm")
        yield master
    os.close(master)


def shown_on(master: int) -> str:
    shown = b""
    while select.select([master], [], [], 0)[0]:
        shown += os.read(master, 65536)
    return shown.decode()


def test_each_job_has_a_row_with_its_state_time_and_last_metrics(tmp_path: Path) -> None:
    running = job_of(tmp_path / "0", "litmodule.optimizer.lr=0.1", "net.layers=[relu]", state="running")
    running.since_s -= 61
    write_metrics(tmp_path / "0")
    lines = lines_of([running, job_of(tmp_path / "1", "litmodule.optimizer.lr=1e+38", state="failed")])
    assert [" ".join(line.split()) for line in lines if "lr=" in line] == [
        "lr=0.1 layers=[relu] running 1 min 01 s val/loss 0.1235",
        "lr=1e+38 failed 0 s",
    ]
    assert lines[-1] == "0 pending · 1 running · 0 finished · 1 failed"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (50, 12), (200, 70)])
def test_what_runs_and_what_failed_is_listed_where_not_all_fit(tmp_path: Path, width: int, height: int) -> None:
    states: dict[int, State] = {3: "running", 90: "failed", 95: "running"}
    names = [f"{index}_{'x' * 90}" for index in range(100)]
    jobs = [job_of(tmp_path, name, state=states.get(index, "finished")) for index, name in enumerate(names)]
    for job in jobs[10:80]:
        job.enter("pending")
    lines = lines_of(jobs, width, height)
    assert [line.split("_")[0].strip() for line in lines if "xx" in line] == ["3", "10", "11", "12", "90", "95"]
    assert lines[-1].startswith("70 pending · 2 running · 27 finished")
    assert max(map(len, lines)) <= width
    for job in jobs:
        job.enter("running")
    assert len(lines_of(jobs, width, height)) < height
    assert sum("xx" in line for line in lines_of(jobs, width, height)) == min(MOST_ROWS, height - 6)


def test_long_names_leave_room_for_state_time_and_figures(tmp_path: Path) -> None:
    write_metrics(tmp_path)
    (row,) = [line for line in lines_of([job_of(tmp_path, f"key={'x' * 200}", state="running")]) if "xx" in line]
    assert "running" in row
    assert "0 s   val/loss 0.1235" in row


def test_time_is_how_long_it_waits_and_then_how_long_it_has_run(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    seconds = []
    for state in ("running", "pending", "running", "finished"):  # In between it was queued again.
        job.since_s -= 100
        seconds.append(round(job.seconds))
        job.enter(state)
    job.since_s -= 100
    assert [*seconds, round(job.seconds)] == [100, 100, 100, 200, 200]


def test_terminal_shows_the_table_below_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(tmp_path, "seed=0")
    with terminal(monkeypatch) as master, displayed([job]) as display:
        shown = shown_on(master)
        assert "1 pending" in shown
        assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # The cursor is visible.
        print("Printed meanwhile.", flush=True)
        display.tell(job, "running")
        write_metrics(tmp_path)
        shown = shown_on(master)
        assert "seed=0" in shown[shown.index("Printed meanwhile.") :]
        job.enter("finished")
        with monkeypatch.context() as patch:
            patch.setattr("common.launch.display.REFRESH_S", 0.0)
            display.refresh()
        assert "val/loss 0.1235" in shown_on(master)


def test_without_a_terminal_each_change_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of(tmp_path, "seed=0")
    with displayed([job]) as display:
        display.tell(job, "running")
        write_metrics(tmp_path)
        display.refresh()
        display.tell(job, "finished")
    assert capsys.readouterr().out == "seed=0: running\nseed=0: finished  val/loss 0.1235\n"
