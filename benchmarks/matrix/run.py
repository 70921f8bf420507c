"""Runs a configuration once in peace and once interrupted, and says what came of it."""

import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.matrix.compare import differences
from benchmarks.matrix.draw import TASKS, Configuration
from benchmarks.matrix.interruption import COUNTS_VARIABLE, EXCEPTION, INTERRUPTION_VARIABLE
from benchmarks.matrix.launch import Launch

REPOSITORY = Path(__file__).resolve().parents[2]
SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR2", "SIGKILL", "SIGKILL")
MOMENTS = {
    "learning": ("train", "train", "backward", "val", "test", "epoch_end", "save", "write", "after"),
    "evolving": ("play", "play", "after"),
}
"""At which events a project's runs are interrupted; `after` is a time from outside."""

FAILING_MOMENTS = ("train", "play")
"""Where an exception may come."""

REFUSED, FAILED, STOPPED = 2, 1, 75
LONGEST_S = 4.0
"""Latest time of an interruption from outside."""

Verdict = Literal["identical", "refused", "different"]


@dataclass
class Outcome:
    """What came of a configuration.

    Attributes:
        configuration: What was run.
        interruptions: What was to interrupt it, each in a launch of its own.
        verdict: `refused` only where nothing was written.
        problems: What differs, or went wrong.
    """

    configuration: Configuration
    interruptions: list[str] = field(default_factory=list)
    verdict: Verdict = "identical"
    problems: list[str] = field(default_factory=list)


class Root:
    """A root of outputs, in which one command is launched again and again.

    Args:
        folder: The root.
        configuration: Says the command.
    """

    def __init__(self, folder: Path, configuration: Configuration) -> None:
        self.folder, self.configuration = folder, configuration
        self.counts: dict[str, int] = {}
        folder.mkdir(parents=True)

    @property
    def runs(self) -> list[Path]:
        """The folders of its runs."""
        project = self.configuration.project
        return sorted(path for path in (self.folder / "data" / project / TASKS[project]).glob("[!.]*") if path.is_dir())

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not any(self.folder.iterdir())

    def launch(self, interruption: str | None = None) -> tuple[int, str]:
        """Gives the command, and returns its status and what it printed."""
        project = self.configuration.project
        script = Path(__file__).parent / project / "train.py"
        words = [str(script), f"task={TASKS[project]}", *self.configuration.overrides]
        what, _, moment = (interruption or "").partition("@")
        is_outside = moment.startswith("after:")
        counts = self.folder.with_suffix(".json")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "CHAOS_"))}
        environment |= {"AI_RESEARCH_PATH": str(self.folder), "PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "offline"}
        environment |= {COUNTS_VARIABLE: str(counts), "OMP_WAIT_POLICY": "passive"}  # Threads that wait do not spin.
        environment |= {INTERRUPTION_VARIABLE: interruption} if interruption and not is_outside else {}
        live = Launch(words, environment, on_terminal=self.configuration.on_terminal)
        if is_outside:
            live.kill_after(signal.Signals[what], float(moment.removeprefix("after:")))
        result = live.wait()
        self.counts = json.loads(counts.read_text()) if counts.is_file() else {}
        return result


def try_configuration(
    configuration: Configuration,
    rng: random.Random,
    interruptions: list[str] | None = None,
    max_interruptions: int = 3,
) -> Outcome:
    """Runs a configuration in peace and interrupted.

    Args:
        configuration: What to run.
        rng: Decides when and how it is interrupted.
        interruptions: When and how, if that is decided.
        max_interruptions: How many are drawn at most.
    """
    outcome = Outcome(configuration)
    with tempfile.TemporaryDirectory(prefix="matrix") as scratch:
        try:
            _try(outcome, Path(scratch), rng, interruptions, max_interruptions)
        except TimeoutError as error:
            outcome.problems.append(str(error))
    if outcome.problems:
        outcome.verdict = "different"
    return outcome


def _try(
    outcome: Outcome, scratch: Path, rng: random.Random, interruptions: list[str] | None, max_interruptions: int
) -> None:
    peaceful = Root(scratch / "peaceful", outcome.configuration)
    status, output = peaceful.launch()
    if status == REFUSED:
        outcome.verdict = "refused"
        outcome.problems += [] if peaceful.is_empty else ["refused, but something was written"]
        outcome.problems += [f"refused with a traceback: {output[-300:]}"] if "Traceback" in output else []
        return
    if status != 0:
        outcome.problems.append(f"in peace it ended with status {status}: {last_words(output)}")
        return
    drawn = list(draw_interruptions(outcome.configuration, peaceful.counts, rng))
    outcome.interruptions = interruptions or drawn[:max_interruptions]
    disturbed = Root(scratch / "disturbed", outcome.configuration)
    for interruption in [*outcome.interruptions, None]:
        status, disturbed_output = disturbed.launch(interruption)
        if status not in expected_statuses(interruption, outcome.configuration.num_ranks):
            outcome.problems.append(
                f"after {interruption} it ended with status {status}: {last_words(disturbed_output)}"
            )
            return
        if status == 0:
            break
    if len(disturbed.runs) != 1:
        outcome.problems.append(f"{len(disturbed.runs)} folders of runs")
        return
    num_ranks, is_timed = outcome.configuration.num_ranks, outcome.configuration.is_timed
    outcome.problems += differences(disturbed.runs[0], peaceful.runs[0], num_ranks=num_ranks, is_timed=is_timed)
    ours, theirs = results_of(disturbed_output), results_of(output)
    if ours != theirs and not is_timed:
        outcome.problems.append(f"reported: {ours} instead of {theirs}")


def draw_interruptions(configuration: Configuration, counts: dict[str, int], rng: random.Random) -> Iterator[str]:
    """Yields one to three interruptions, whose events come in a run whose events were counted."""
    left = dict(counts)
    for _ in range(rng.choice([1, 1, 2, 3])):
        moments = [moment for moment in MOMENTS[configuration.project] if left.get(moment) or moment == "after"]
        moment = rng.choice(moments)
        rank = f"/{rng.randrange(2)}" if configuration.num_ranks > 1 and moment not in ("after", "write") else ""
        if moment == "after":
            yield f"{rng.choice(SIGNALS)}@after:{LONGEST_S * rng.random() ** 2:.2f}"
            continue
        number = rng.randint(1, left[moment])
        what = rng.choice(SIGNALS if moment not in FAILING_MOMENTS else (*SIGNALS, EXCEPTION))
        left = {name: count - count * number // left[moment] for name, count in left.items()}
        yield f"{what}@{moment}:{number}{rank}"


def expected_statuses(interruption: str | None, num_ranks: int) -> set[int]:
    """Returns with which statuses a launch may end; 0 where the interruption came too late, or never."""
    if interruption is None:
        return {0}
    what = interruption.partition("@")[0]
    if what == EXCEPTION:
        return {0, FAILED}
    expected = {0, STOPPED, -signal.Signals[what]}
    expected |= {130, FAILED} if what == "SIGINT" and "after" in interruption else set()
    return expected | ({FAILED, -signal.SIGABRT} if num_ranks > 1 else set())


def results_of(output: str) -> list[str]:
    """Returns the lines of a run's closing block that name results."""
    lines = output.replace("\r", "\n").splitlines()
    return [line.strip() for line in lines if line.startswith("  ") and "/" in line.strip().partition(" ")[0]]


def last_words(output: str) -> str:
    """Returns the end of what was printed, in a line."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-500:]


def command_of(outcome: Outcome) -> str:
    """Returns the command that repeats what was done."""
    configuration = outcome.configuration
    words = ["python benchmarks/chaos.py --repeat", configuration.project]
    words += ["--terminal"] if configuration.on_terminal else []
    words += ["--interruptions", *outcome.interruptions] if outcome.interruptions else []
    words += ["--overrides", *(_quoted(override) for override in configuration.overrides)]
    return " ".join(words)


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set("{}[] ") else word


if sys.platform != "linux":
    sys.exit("The matrix needs Linux: it looks at /proc.")
