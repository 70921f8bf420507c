"""Interrupts one command again and again in a pseudo-terminal, as it is typed and with everything as it is shipped.

    python benchmarks/interrupted.py                          # 20 interruptions of 60 epochs
    python benchmarks/interrupted.py --interruptions 5 --seed 2 --overrides trainer.max_epochs=3

The command is `python projects/classify_mnist/train.py task=fnn datamodule.config.source=digits trainer.max_epochs=60`.
Each launch is ended at a random moment, by SIGTERM, by SIGKILL, or by a typed Ctrl-C, which reaches W&B's service too;
a fifth of them while they start. Then the same command is typed again. In the end there must be one folder and one W&B
run, with the parameters, the optimiser's state and the metrics of an undisturbed run, to the last bit. The first bar of
each launch must show the epoch, the position and the total with which the checkpoint before it goes on.
"""

import argparse
import csv
import functools
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.terminal import Terminal  # noqa: E402  # Found by the line before, from wherever this is started.

COMMAND = ("projects/classify_mnist/train.py", "task=fnn", "datamodule.config.source=digits")
POSITION = re.compile(r"Epoch (\d+):[^\r\n]*?(\d+)/([\d?]+) \[")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
CTRL_C = b"\x03"
START_UP_SHARE = 0.2


@dataclass
class Typed:
    """A command that is typed again and again.

    Attributes:
        root: Its `AI_RESEARCH_PATH`.
        overrides: What is typed behind the shipped command.
        options: How the terminal is made.
        problems: What was not as it should be.
    """

    root: Path
    overrides: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path | None:
        """The run's folder, or None."""
        folders = sorted(self.root.glob("data/classify_mnist/fnn/[!.]*"))
        if len(folders) > 1:
            self.problems.append(f"{len(folders)} folders")
        return folders[0] if folders else None

    def type(self) -> Terminal:
        """Types the command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_"))}
        own = {"AI_RESEARCH_PATH": str(self.root), "NETRC": str(self.root / "netrc"), "PYTHONPATH": str(REPOSITORY)}
        words = [sys.executable, str(REPOSITORY / COMMAND[0]), *COMMAND[1:], *self.overrides]
        return Terminal(words, kept | own, **self.options)

    def interrupt(
        self, number: signal.Signals, has_come: Callable[[str], object], then: Callable[[], object] = bool
    ) -> Terminal:
        """Types the command, and ends it once the terminal shows something.

        Args:
            number: How; `SIGINT` is typed.
            has_come: Tells from all that was written whether the moment has come.
            then: Waits for something else after that.

        Returns:
            The terminal, whose process has ended.
        """
        position = self.next_position()
        terminal = self.type()
        terminal.wait_for(has_come)
        then()
        if number == signal.SIGINT:
            terminal.type(CTRL_C)
        elif terminal.process.returncode is None:
            terminal.process.send_signal(number)
        self.note_end(terminal, {75, -number, 130}, position)
        return terminal

    def finish(self) -> Terminal:
        """Types the command, and lets it come to its end."""
        position = self.next_position()
        terminal = self.type()
        self.note_end(terminal, {0}, position)
        return terminal

    def next_position(self) -> tuple[int, int]:
        """Returns the epoch and the batch with which the newest checkpoint goes on."""
        import torch

        path = self.folder and self.folder / "lightning" / "last.ckpt"
        if path is None or not path.is_file():
            return 0, 0
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
        return checkpoint["continuation"]["position"]["epoch"], batches["completed"]

    def note_end(self, terminal: Terminal, statuses: set[int], expected: tuple[int, int]) -> None:
        """Waits for a launch's end, and looks at it and at the bar that it opened with."""
        status = terminal.wait()
        if status not in statuses:
            self.problems.append(f"status {status}: {' / '.join(terminal.screen.lines[-4:])}")
        shown = POSITION.search(terminal.text)
        if shown is not None and ((int(shown[1]), int(shown[2])) != expected or not shown[3].isdigit()):
            self.problems.append(f"the bar opened with {shown[0]!r} instead of epoch and batch {expected}")

    def compare(self, other: "Typed") -> None:
        """Notes what differs from another run, and what should be there once."""
        ours, theirs = self.folder, other.folder
        assert ours is not None
        assert theirs is not None
        self.problems += [] if rows_of(ours) == rows_of(theirs) else ["metrics.csv differs"]
        self.problems += [
            f"{name} differs" for name in ("last.ckpt", "best.ckpt") if state_of(ours, name) != state_of(theirs, name)
        ]
        ids = {path.name.rpartition("-")[2] for path in ours.glob("wandb/offline-run-*")}
        self.problems += [] if len(ids) == 1 else [f"{len(ids)} W&B runs"]
        status = json.loads((ours / "provenance.json").read_text())["status"]
        self.problems += [] if status == "finished" else [f"status {status}"]


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of metrics.csv as text, without their times."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "time"} for row in csv.DictReader(file)]


def state_of(folder: Path, name: str) -> dict[str, Any]:
    """Returns parameters and states of a checkpoint, tensors as their bytes."""
    import torch

    checkpoint = torch.load(folder / "lightning" / name, map_location="cpu", weights_only=True)
    return {key: plain(checkpoint[key]) for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}


def plain(value: Any) -> Any:
    """Returns a value in which tensors are their bytes."""
    if hasattr(value, "numpy"):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def has_passed(batch: int, per_epoch: int) -> Callable[[str], bool]:
    """Returns a function that tells whether a bar has reached a batch, counted from the first epoch's first."""

    def look(text: str) -> bool:
        shown = POSITION.findall(text[-4000:])
        return bool(shown) and int(shown[-1][0]) * per_epoch + int(shown[-1][1]) >= batch

    return look


def main() -> int:
    """Runs the benchmark; returns 1 if anything was not as it should be."""
    arguments = _parse_arguments()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        overrides = tuple(arguments.overrides)
        peaceful, typed = (Typed(Path(scratch) / name, overrides) for name in ("peaceful", "interrupted"))
        started_s = time.monotonic()
        text = peaceful.finish().text
        print(
            f"undisturbed: {time.monotonic() - started_s:.0f} s; {peaceful.problems or 'as it should be'}", flush=True
        )
        last_epoch, _, per_epoch = POSITION.findall(text)[-1]
        num_batches = (int(last_epoch) + 1) * int(per_epoch)
        targets = sorted(rng.randrange(int(0.95 * num_batches)) for _ in range(arguments.interruptions))
        for index, target in enumerate(targets):
            number, is_start_up = rng.choice(SIGNALS), rng.random() < START_UP_SHARE
            moment = (lambda _: True) if is_start_up else has_passed(target, int(per_epoch))
            before = len(typed.problems)
            delay_s = rng.uniform(0, 8.0 if is_start_up else 0.5)
            screen = typed.interrupt(number, moment, functools.partial(time.sleep, delay_s)).screen
            shown = [line for line in screen.drawn if POSITION.search(line)]
            where = f"{shown[0][:20]} … {shown[-1][:30]}" if shown else "start-up"
            print(f"{index + 1}: {number.name} at {where}: {typed.problems[before:] or 'as it should be'}", flush=True)
        typed.finish()
        typed.compare(peaceful)
    print(f"after {arguments.interruptions} interruptions: {typed.problems or 'identical; one folder, one W&B run'}")
    return 1 if typed.problems or peaceful.problems else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interruptions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the signals")
    parser.add_argument("--overrides", nargs="*", default=["trainer.max_epochs=60"], help="what is typed besides")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
