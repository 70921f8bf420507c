"""What `ai-research` costs: its start, and listing many runs.

    python benchmarks/cli.py [--folders 2000] [--repeats 7]

Prints a table, and exits with 1 if a bound fails. Turns alternate between what is compared; a bound is judged by the
median of the ratios within a turn. Times are the processor's: the files are in the system's cache, so that nobody
waits for a disk, and what other programs take is not in it.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common.cli.find import newest_first, task_folders
from common.cli.ls import NEWEST
from common.cli.output import run_as_json

STARTUP_BOUND, READING_BOUND, SECONDS_BOUND = 3.0, 5.0, 1.0
NUM_CODE_FILES, NUM_ROWS = 110, 60
"""As many as a run of classify_mnist has on record, and as many rows as ten epochs log."""


def make_runs(root: Path, number: int) -> None:
    """Makes run folders with records and metrics of the usual size."""
    code = {f"common/some/module_{index}.py": f"{index:012x}" for index in range(NUM_CODE_FILES)}
    columns = ["train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy"]
    rows = [f"{step},{step // 6},{1.7e9 + step},0.123456789,0.987654321,,,," for step in range(NUM_ROWS)]
    rows += [f"{NUM_ROWS},9,1700000100.0,,,0.13579,0.97531,,", f"{NUM_ROWS},9,1700000101.0,,,,,0.1,0.9"]
    metrics = "\n".join([",".join(["step", "epoch", "time", *columns]), *rows, ""])
    for index in range(number):
        folder = root / "data" / "project" / "task" / time.strftime("%Y-%m-%d_%H-%M-%S", time.gmtime(1.7e9 + index))
        (folder / ".hydra").mkdir(parents=True)
        record = {
            "status": "finished", "kind": "plain", "identity": f"{index:012x}", "budget": {"trainer.max_epochs": 10},
            "code": code, "packages": {}, "created_ns": int((1.7e9 + index) * 1e9), "seed": index,
            "changes": {"litmodule.optimizer.lr": {"default": 0.002, "value": 0.001 * index}},
            "given": {"litmodule.optimizer.lr": 0.001 * index}, "git": {"commit": "0" * 40, "uncommitted_diff": ""},
            "launches": [{"started": "2026-01-31T12:00:00+00:00", "ended": "2026-01-31T12:01:30+00:00"}],
        }  # fmt: skip
        (folder / "provenance.json").write_text(json.dumps(record, indent=2))
        (folder / "metrics.csv").write_text(metrics)


def read_bare(root: Path, most: int | None) -> int:
    """Reads the files that a listing of the newest runs needs, and nothing else; returns their bytes."""
    task = root / "data" / "project" / "task"
    names = sorted(os.listdir(task), reverse=True)[:most]  # noqa: PTH208  # The barest loop there is.
    total = 0
    for name in names:
        for file in ("provenance.json", "metrics.csv"):
            with open(task / name / file, "rb") as opened:  # noqa: PTH123
                total += len(opened.read())
    return total


def read_listing(most: int | None) -> int:
    """Does what `ls` does, but for printing."""
    found = 0
    for run in newest_first(task_folders()):
        run_as_json(run)
        found += 1
        if found == most:
            break
    return found


def seconds_of(action: Callable[[], object]) -> float:
    """Returns the processor time that a call takes, its processes' included; what other programs take is not in it."""
    before = _processor_time()
    action()
    return _processor_time() - before


def _processor_time() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def in_process(*words: str) -> Callable[[], object]:
    """Returns a call that runs Python in a process of its own, and waits."""
    return lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def compare(name: str, ours: Callable[[], object], other: Callable[[], object], repeats: int, bound: float) -> bool:
    """Prints how long two calls take, taking turns after a first of each; returns whether the bound holds."""
    ours(), other()
    turns = [(seconds_of(ours), seconds_of(other)) for _ in range(repeats)]
    ratio = statistics.median(one / another for one, another in turns)
    medians = [statistics.median(column) for column in zip(*turns, strict=True)]
    holds = ratio <= bound
    verdict = "passes" if holds else "FAILS"
    print(f"{name:<46} {medians[0]:.3f} s  {medians[1]:.3f} s  ratio {ratio:.2f}  ≤ {bound}  {verdict}", flush=True)
    return holds


def main() -> None:
    """Measures, and exits with 1 if a bound fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    repeats = arguments.repeats
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        os.environ["AI_RESEARCH_PATH"] = scratch
        make_runs(root, arguments.folders)
        program, cli_library = in_process("-m", "common.cli", "--help"), in_process("-c", "import click")
        holds = [compare("--help, and importing click", program, cli_library, repeats, STARTUP_BOUND)]
        for name, most in (
            ("ls --all, and reading its files", None),
            (f"ls, and reading {NEWEST} runs' files", NEWEST),
        ):
            ours, bare = (lambda most=most: read_listing(most)), (lambda most=most: read_bare(root, most))
            holds.append(compare(f"{name}", ours, bare, repeats, READING_BOUND))
        listing = in_process("-m", "common.cli", "ls")
        seconds = statistics.median(seconds_of(listing) for _ in range(repeats))
        holds.append(seconds < SECONDS_BOUND)
        verdict = "passes" if holds[-1] else "FAILS"
        start = time.perf_counter()
        listing()
        waited, load = time.perf_counter() - start, os.getloadavg()[0]
        print(f"`ls` over {arguments.folders} folders, as a whole: {seconds:.3f} s  < {SECONDS_BOUND} s  {verdict}")
        print(f"  by the clock on the wall, with a load of {load:.1f}: {waited:.3f} s")
    sys.exit(0 if all(holds) else 1)


if __name__ == "__main__":
    main()
