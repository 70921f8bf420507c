"""How wide a terminal is, whatever it says of itself."""

import fcntl
import io
import os
import pty
import struct
import sys
import termios

import pytest

from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.outputs.records import ProgressBar
from common.utils.terminal import COLUMNS, ROWS, is_terminal, screen_size


@pytest.fixture
def terminal(request: pytest.FixtureRequest):
    """A pseudo-terminal with so many rows and columns: our end, and a stream to the other."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *request.param, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        yield ours, stream
    os.close(ours)


@pytest.mark.parametrize(
    ("terminal", "size"), [((30, 160), (160, 30)), ((0, 0), (COLUMNS, ROWS))], indirect=["terminal"]
)
def test_a_terminal_that_tells_no_size_counts_as_one_of_80_columns(terminal, size: tuple[int, int]) -> None:
    assert screen_size(terminal[1]) == size


def test_a_stream_without_a_terminal_has_the_same_size() -> None:
    assert screen_size(io.StringIO()) == (COLUMNS, ROWS)


@pytest.mark.parametrize("terminal", [(24, 80)], indirect=True)
@pytest.mark.parametrize(("name", "expected"), [("xterm", True), ("dumb", False)])
def test_a_dumb_terminal_is_not_drawn_over(terminal, monkeypatch, name: str, expected: bool) -> None:
    monkeypatch.setenv("TERM", name)
    monkeypatch.setattr(sys, "stdout", terminal[1])
    assert is_terminal() is expected


@pytest.mark.parametrize("terminal", [(0, 0)], indirect=True)
def test_evolution_shows_its_bar_in_a_terminal_without_a_size(terminal, monkeypatch) -> None:
    ours, stream = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    config = NeuroevolutionSubtaskConfig(output_dir="x", data_dir="x", num_generations=10)
    ProgressBar(config, 3, is_first=True).close()
    assert "3/10" in os.read(ours, 4096).decode()
