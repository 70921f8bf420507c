"""The README's first command in a pseudo-terminal, with everything as shipped: what is shown, and what kills leave."""

import ctypes
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.interrupted import CTRL_C, Typed, has_passed
from benchmarks.terminal import Screen
from tests.processes import WarmProcess

pytestmark = pytest.mark.slow

PER_EPOCH = 102
WHOLE_BAR = re.compile(r"Epoch \d+: +\d+%\|.*\| *\d+/102 \[[^]]*\]")
IN_CREATE = 0x100


def wait_for_a_file_in(folder: Path) -> None:
    """Returns as soon as a file is made in a folder."""
    libc = ctypes.CDLL(None)
    events = libc.inotify_init()
    libc.inotify_add_watch(events, os.fsencode(folder), IN_CREATE)
    os.read(events, 4096)
    os.close(events)


@pytest.fixture(scope="module")
def peaceful(shipped: Any) -> Typed:
    """The command that was left in peace; its output was a pipe."""
    return Typed(shipped.root)


def test_killed_at_every_kind_of_moment_the_command_ends_in_the_same_bits(tmp_path: Path, peaceful: Typed) -> None:
    typed = Typed(tmp_path, options={"start": WarmProcess})

    def interrupt(
        number: signal.Signals, columns: int, moment: Callable[[str], object], then: Callable[[], object] = bool
    ) -> str:
        typed.options["columns"] = columns
        terminal = typed.interrupt(number, moment, then)
        assert typed.problems == []
        bars = [line for line in terminal.screen.drawn if line.startswith("Epoch")]
        assert all(WHOLE_BAR.fullmatch(line) and len(line) <= (columns or 80) for line in bars), bars
        return terminal.text

    def interrupt_in_start_up(number: signal.Signals, columns: int) -> None:
        """The launch waits where it looks for a key of W&B's, since that is a pipe, until the signal has been sent."""
        typed.options["columns"] = columns
        key = tmp_path / "netrc"
        os.mkfifo(key)
        position, terminal = typed.next_position(), typed.type()
        with key.open("w"):
            key.unlink()
            terminal.type(CTRL_C) if number == signal.SIGINT else terminal.process.send_signal(number)
        typed.note_end(terminal, {-number} if number == signal.SIGKILL else {75}, position)
        assert typed.problems == []

    def in_validation(text: str) -> bool:
        return "Validation DataLoader 0:" in text and "Epoch" in text

    def in_writing() -> None:
        assert typed.folder is not None
        wait_for_a_file_in(typed.folder / "lightning")

    for number, columns in ((signal.SIGKILL, 80), (signal.SIGTERM, 160), (signal.SIGINT, 0)):
        interrupt_in_start_up(number, columns)
    stopped = interrupt(signal.SIGINT, 80, has_passed(20, PER_EPOCH))
    assert "SIGINT: saving at the next step, then leaving (Ctrl-C again leaves at once, unsaved)." in stopped
    assert "The same command continues." in stopped
    interrupt(signal.SIGKILL, 0, in_validation)
    interrupt(signal.SIGKILL, 80, has_passed(PER_EPOCH, PER_EPOCH), in_writing)
    screen = typed.finish().screen
    typed.compare(peaceful)
    assert typed.problems == []
    assert [line for line in screen.lines if "folder" in line]


def test_the_screen_is_read_as_a_person_reads_it() -> None:
    """Otherwise nothing above would be worth anything."""
    screen = Screen(10)
    screen.write("Epoch 1: 5\rEpoch 2\r\nbelow\x1b[A\r\x1b[Kabove\r\n\nthirteen long")
    assert screen.lines == ["above", "below", "thirteen l", "ong"]
    drawn = ["Epoch 1: 5", "Epoch 2: 5", "below", "Epoch 2: 5", "above", "below", "thirteen l"]
    assert screen.drawn == drawn
