"""A pseudo-terminal in which a command is typed, and its screen as a person sees it.

It knows what progress bars and tables write: text, carriage returns, new lines, movements of the cursor,
and the erasing of lines.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)|\x1b")


END_WITHIN_S = 0.05
"""How soon a command's end is noticed."""


class Screen:
    """What stands in a terminal's lines, from the first that was written on.

    Attributes:
        lines: The lines as they are now.
        drawn: Every text that has stood on a line when the cursor left it, in order.

    Args:
        columns: Where a line is broken.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines = [""]
        self.drawn: list[str] = []
        self._row = self._column = 0

    def write(self, text: str) -> None:
        """Draws what a program has written."""
        for argument, command, control, plain in PIECE.findall(text):
            if plain:
                self._put(plain)
            elif control or command:
                self._leave()
                self._move(argument, command or control)

    def _put(self, text: str) -> None:
        for character in text:
            if self._column == self.columns:
                self._leave()
                self._go_to(self._row + 1, 0)
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1

    def _move(self, argument: str, command: str) -> None:
        number = int(argument) if argument.isdigit() else 1
        if command == "\r":
            self._column = 0
        elif command in ("\n", "B"):
            self._go_to(self._row + number, self._column)
        elif command == "A":
            self._go_to(self._row - number, self._column)
        elif command == "K":
            self.lines[self._row] = "" if argument == "2" else self.lines[self._row][: self._column]

    def _go_to(self, row: int, column: int) -> None:
        self._row, self._column = max(row, 0), column
        self.lines += [""] * (self._row + 1 - len(self.lines))

    def _leave(self) -> None:
        text = self.lines[self._row].rstrip()
        if text and text != (self.drawn or [""])[-1]:
            self.drawn.append(text)


class Terminal:
    """Runs one command, whose input, outputs and controlling terminal it is.

    Attributes:
        process: The command's process, which leads a session of its own.

    Args:
        words: The command.
        environment: All of its environment.
        columns: Its width; 0 where it tells none.
        start: Starts the process.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        columns: int = 80,
        start: Callable[..., Any] = subprocess.Popen,
    ) -> None:
        self._columns = columns
        self._pieces: list[bytes] = []
        self._is_open = True
        self._fresh = threading.Condition()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
        with open(os.ttyname(theirs), "r+b", buffering=0) as file:  # noqa: PTH123  # With the name that `start` may ask.
            self.process = start(
                list(words),
                env=dict(environment),
                stdin=file,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        self._theirs = theirs
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was written so far."""
        return b"".join(self._pieces).decode(errors="replace")

    @property
    def screen(self) -> Screen:
        """The screen, as it stands now."""
        screen = Screen(self._columns or 80)
        screen.write(self.text)
        return screen

    def type(self, keys: bytes) -> None:
        """Types keys, unless the command has ended. Ctrl-C reaches every process that the command has started."""
        with self._fresh:
            if self._is_open:
                os.write(self._ours, keys)

    def wait_for(self, has_come: Callable[[str], object]) -> bool:
        """Waits until what was written fulfils something, or the command has ended; returns whether it does."""
        with self._fresh:
            found = self._fresh.wait_for(lambda: "shown" if has_come(self.text) else "" if self._is_open else "ended")
        return found == "shown"

    def wait(self) -> int:
        """Waits until the command has ended; returns its status."""
        self._reader.join()
        status: int = self.process.wait()
        return status

    def _read(self) -> None:
        """Collects what is written, until the command has ended and all is read."""
        while True:
            is_over = self.process.poll() is not None
            is_ready = bool(select.select([self._ours], [], [], 0 if is_over else END_WITHIN_S)[0])
            if is_ready:
                self._pieces.append(os.read(self._ours, 65536))
            with self._fresh:
                self._is_open = is_ready or not is_over
                self._fresh.notify_all()
                if not self._is_open:
                    os.close(self._theirs)
                    os.close(self._ours)
                    return
