"""Measures what our stack costs: a training epoch beside simpler loops, and start-up beside bare imports.

`python benchmarks/train_overhead.py` prints a table and exits with 1 if a bound fails; see README.md beside this file.
Everything that is compared takes turns, so that a machine's good and bad minutes fall on all alike, and each bound is
judged by the median of the ratios within a turn.
"""

import argparse
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRAIN_FILE = ROOT / "projects" / "classify_mnist" / "train.py"
MNIST_SIZES = {"train": 60_000, "t10k": 10_000}

LOOPS = ("ours", "ours_unsaved", "bare", "bare_unclipped", "by_hand")
PIPELINES = ("ours", "per_sample_0", "per_sample_2")
PIPELINE_ROUNDS = 2

STOP_AT_FIRST_STEP = """
import os, runpy, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *args: os._exit(0))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
KINDS = {"epoch": "training + validation", "training": "training alone", "cpu": "CPU time of both"}
"""What contestants report about each epoch."""

START_UPS: dict[str, list[str]] = {
    "imports": ["-c", "import torch, hydra_zen, wandb"],
    "imports_cut": ["-c", "import os, torch, hydra_zen, wandb; os._exit(0)"],
    "first_step": [
        *("-c", f"import sys; sys.argv = [{str(TRAIN_FILE)!r}, *sys.argv[1:]]" + STOP_AT_FIRST_STEP),
        *("task=fnn", "datamodule.config.source=digits"),
    ],
    "cfg_job": [str(TRAIN_FILE), "task=fnn", "--cfg", "job"],
}
"""Arguments of the Python processes whose duration is measured."""

Times = dict[str, list[float]]
"""Seconds by name, in the order of the turns."""


@dataclass
class Line:
    """A line of the table.

    Attributes:
        label: What was measured.
        seconds: The median.
        ratio: To what the line is compared with, or None for what others are compared with.
        bound: For a person to read; empty where there is none.
        passed: None where there is no bound.
    """

    label: str
    seconds: float
    ratio: float | None = None
    bound: str = ""
    passed: bool | None = None


class Contestant:
    """A training program that waits for its turn before each epoch.

    Args:
        name: One of `benchmarks.contestants.CONTESTANTS`.
        task: Whose network it trains.
        arguments: This program's own.
        epochs: How many turns there will be.
        scratch: Where it may write.
    """

    def __init__(self, name: str, task: str, arguments: argparse.Namespace, epochs: int, scratch: Path) -> None:
        self.log_path = scratch / f"{name}.log"
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "benchmarks.contestants", name, f"--task={task}"]
        command += [
            f"--data-dir={arguments.data_dir}",
            f"--epochs={epochs}",
            f"--threads={arguments.threads}",
            f"--reports-fd={write_end}",
        ]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(scratch),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[write_end],
                text=True,
            )
        os.close(write_end)
        self.reports = os.fdopen(read_end)

    def run_epoch(self) -> dict[str, float]:
        """Lets it train and validate for one epoch, and returns the seconds with validation and without.

        Raises:
            SystemExit: it failed.
        """
        assert self.process.stdin is not None
        try:
            print(file=self.process.stdin, flush=True)
            times: dict[str, float] = json.loads(self.reports.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            sys.exit(f"A contestant failed. The end of its output:\n{self.log_path.read_text()[-2000:]}")
        return times

    def finish(self) -> None:
        """Waits for it to end."""
        self.process.communicate()
        self.reports.close()


def environment(scratch: Path) -> dict[str, str]:
    """Returns the environment of every process: outputs go to `scratch`, W&B stays offline, and `common` is found."""
    return {**os.environ, "AI_RESEARCH_PATH": str(scratch), "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)}


def race(
    names: Sequence[str], task: str, rounds: int, arguments: argparse.Namespace, scratch: Path
) -> dict[str, Times]:
    """Lets contestants train an epoch each in turn.

    Args:
        names: Who takes part.
        task: Whose network they train.
        rounds: How many epochs of each are measured, after one that warms up.
        arguments: This program's own.
        scratch: Where contestants may write.

    Returns:
        For each kind of time that contestants report: each contestant's seconds.
    """
    contestants = {name: Contestant(name, task, arguments, rounds + 1, scratch) for name in names}
    times: dict[str, Times] = {kind: {name: [] for name in names} for kind in KINDS}
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            for kind, seconds in contestants[name].run_epoch().items():
                times[kind][name] += [seconds] if number else []
    for contestant in contestants.values():
        contestant.finish()
    return times


def time_start_ups(repeats: int, scratch: Path) -> Times:
    """Measures each of `START_UPS` in turn, from process start to end, after one round that warms the disk cache."""
    times: Times = {name: [] for name in START_UPS}
    for number in range(repeats + 1):
        for name, command in START_UPS.items():
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, *command], env=environment(scratch), check=True, capture_output=True, stdin=None
            )
            times[name] += [time.perf_counter() - started] if number else []
    return times


def median_ratio(times: Times, name: str, base: str) -> float:
    """Returns the median, over turns, of one name's seconds divided by another's."""
    return statistics.median(mine / other for mine, other in zip(times[name], times[base], strict=True))


def at_most(label: str, times: Times, base: str, name: str, bound: float) -> Line:
    """Returns the line of something that may take at most `bound` times as long as `base`."""
    ratio = median_ratio(times, name, base)
    return Line(label, statistics.median(times[name]), ratio, f"≤ {bound}", ratio <= bound)


def describe_loops(loops: dict[str, Times]) -> list[Line]:
    """Returns the lines about the loop; the ratio is always ours to the line's own."""
    labels = {
        "ours_unsaved": "    the same without checkpoints",
        "bare": "(a) bare Lightning loop",
        "bare_unclipped": "    the same without gradient clipping",
        "by_hand": "(c) hand-written torch loop",
    }
    bounds = {"ours_unsaved": 1.03, "bare": 1.15}
    lines = []
    for kind, what in KINDS.items():
        lines.append(Line(f"our whole stack, {what}", statistics.median(loops[kind]["ours"])))
        for name, label in labels.items():
            ratio = median_ratio(loops[kind], "ours", name)
            line = Line(label, statistics.median(loops[kind][name]), ratio)
            if name in bounds and kind == "epoch":
                line.bound, line.passed = f"≤ {bounds[name]}", ratio <= bounds[name]
            lines.append(line)
    return lines


def describe_pipelines(pipelines: dict[str, Times]) -> list[Line]:
    """Returns the lines about the per-sample pipeline; its better setting is held against us.

    The bound is on `fnn`: of an epoch of `mlp` most is arithmetic, the same for all, which no data pipeline shortens.
    """
    lines = []
    for task, times in pipelines.items():
        lines.append(Line(f"our whole stack, task={task}", statistics.median(times["ours"])))
        names = PIPELINES[1:]
        best = min(names, key=lambda name: statistics.median(times[name]))
        for name in names:
            ratio = median_ratio(times, name, "ours")
            line = Line(f"(b) per-sample torchvision, {name[-1]} workers", statistics.median(times[name]), ratio)
            if name == best and task == "fnn":
                line.bound, line.passed = "≥ 5", ratio >= 5
            lines.append(line)
    return lines


def describe_start_ups(start_ups: Times) -> list[Line]:
    """Returns the lines about start-up."""
    return [
        Line("only importing torch, hydra_zen and wandb", statistics.median(start_ups["imports"])),
        Line(
            "    the same, cut off before its own end",
            statistics.median(start_ups["imports_cut"]),
            median_ratio(start_ups, "imports_cut", "imports"),
        ),
        at_most("task=fnn up to the first optimiser step", start_ups, "imports", "first_step", 2.5),
        at_most("task=fnn --cfg job", start_ups, "imports", "cfg_job", 2.0),
    ]


def print_table(title: str, header: str, lines: Sequence[Line]) -> None:
    """Prints lines below a title."""
    print(f"\n{title}\n  {'':46}{'seconds':>9}  {header:>12}  {'bound':>7}")
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        verdict = {True: "pass", False: "FAIL", None: ""}[line.passed]
        print(f"  {line.label:46}{line.seconds:9.3f}  {ratio:>12}  {line.bound:>7}  {verdict}")


def describe_machine(threads: int) -> dict[str, Any]:
    """Returns what the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        **{name: version(name) for name in ("torch", "pytorch-lightning", "hydra-zen", "wandb")},
    }


def find_data(wanted: Path, scratch: Path) -> tuple[Path, str]:
    """Returns a folder with MNIST, real where it is there and otherwise random bytes of the same size, and which."""
    if (wanted / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        return wanted.resolve(), "real MNIST"
    folder = scratch / "random" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split, count in MNIST_SIZES.items():
        labels = bytes(byte % 10 for byte in os.urandom(count))
        images = os.urandom(count * 28 * 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + images)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels)
    return scratch / "random", f"random bytes of MNIST's size ({wanted} has no MNIST)"


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=ROOT.parent / "shared" / "data", help="holds MNIST/raw")
    parser.add_argument("--epochs", type=int, default=10, help="epochs per loop that are measured")
    parser.add_argument("--repeats", type=int, default=5, help="times that each start-up is measured")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="torch's, the same for all; more than 1 only where the machine does nothing else",
    )
    parser.add_argument("--json", type=Path, help="receives the raw figures")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, and exits with 1 if a bound fails."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        arguments.data_dir, source = find_data(arguments.data_dir, scratch)
        machine = describe_machine(arguments.threads)
        print(f"Batch size 128, {source}\n{', '.join(f'{key} {value}' for key, value in machine.items())}")
        loops = race(LOOPS, "mlp", arguments.epochs, arguments, scratch)
        print_table("Seconds per epoch, task=mlp", "ours / this", describe_loops(loops))
        pipelines = {
            task: race(PIPELINES, task, PIPELINE_ROUNDS, arguments, scratch)["epoch"] for task in ("mlp", "fnn")
        }
        print_table("Seconds per epoch, data loaded sample by sample", "this / ours", describe_pipelines(pipelines))
        start_ups = time_start_ups(arguments.repeats, scratch)
        print_table("Seconds from process start", "this / first", describe_start_ups(start_ups))
    lines = [*describe_loops(loops), *describe_pipelines(pipelines), *describe_start_ups(start_ups)]
    if arguments.json:
        raw = {"machine": machine, "data": source, "loops": loops, "pipelines": pipelines, "start_ups": start_ups}
        arguments.json.write_text(json.dumps({**raw, "table": [asdict(line) for line in lines]}, indent=2))
    sys.exit(any(line.passed is False for line in lines))


if __name__ == "__main__":
    main()
