"""What a run writes down, and shows, in each generation.

`metrics.csv` holds what follows from the configuration, to the last bit; `timings.csv` what follows from the machine.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.outputs.wandb import BaseRun
from common.run.metrics import MetricsFile
from common.utils.beartype import shape_checked
from common.utils.terminal import screen_size

TIMINGS_FILE_NAME = "timings.csv"


class Records:
    """Writes metrics and timings of each generation, and sends them to W&B.

    Args:
        folder: The run's folder.
        run: The W&B run.
    """

    def __init__(self, folder: Path, run: BaseRun) -> None:
        self.files = (MetricsFile(folder), MetricsFile(folder, TIMINGS_FILE_NAME))
        self.run = run

    def state_dict(self) -> dict[str, Any]:
        """Returns how far the files go."""
        return {file.path.name: file.state_dict() for file in self.files}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cuts the files back to how far they went when the state was taken."""
        for file in self.files:
            file.load_state_dict(state[file.path.name])

    def clear(self) -> None:
        """Empties the files."""
        for file in self.files:
            file.clear()

    def append(self, generation: int, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Appends a row to each file that has something to say.

        Args:
            generation: The generation, from 0.
            metrics: What follows from the configuration.
            timings: What follows from the machine.
        """
        for file, row in zip(self.files, (metrics, timings), strict=True):
            if row:
                file.append(row, generation)
        self.run.log({**metrics, **timings}, generation)

    def close(self) -> None:
        """Closes the files."""
        for file in self.files:
            file.close()


@contextmanager
def records_of(folder: Path, run: BaseRun, *, is_first: bool) -> Iterator[Records | None]:
    """Opens a run's records while the block runs, on the one rank that writes."""
    if not is_first:
        yield None
        return
    records = Records(folder, run)
    try:
        yield records
    finally:
        records.close()


@shape_checked
def fitness_metrics(fitness: Float64[np.ndarray, " p"]) -> dict[str, float]:
    """Returns the columns that describe a generation's fitness; NaN is counted, and otherwise left out.

    Args:
        fitness: Of each of p individuals.
    """
    valid = fitness[~np.isnan(fitness)]
    summaries: dict[str, Any] = {"best": np.max, "mean": np.mean, "median": np.median, "std": np.std, "worst": np.min}
    metrics = {
        f"fitness/{name}": float(summary(valid)) if len(valid) else np.nan for name, summary in summaries.items()
    }
    return {**metrics, "fitness/num_nan": float(len(fitness) - len(valid))}


REFRESH_EVERY_S = 0.25


class ProgressBar:
    """A bar in the terminal; nothing where the output is no terminal.

    Args:
        config: The subtask's budgets.
        generation: Generations that earlier launches have done.
        is_first: Whether this rank is the one that speaks.
    """

    def __init__(self, config: NeuroevolutionSubtaskConfig, generation: int, *, is_first: bool) -> None:
        from tqdm import tqdm

        columns, rows = screen_size(sys.stderr)  # tqdm shows nothing where a terminal tells no size.
        self.config = config
        self.started_s = time.monotonic()
        self.num_done = 0
        self.bar: Any = tqdm(
            total=config.num_generations,
            initial=generation,
            unit="gen",
            disable=None if is_first else True,
            mininterval=REFRESH_EVERY_S,
            ncols=columns,
            nrows=rows,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"
            if config.num_generations
            else "{desc}{n_fmt} [{elapsed}, {rate_fmt}{postfix}]",
        )

    def advance(self, best: float, champion: float, elapsed_s: float) -> None:
        """Shows that a generation is done.

        Args:
            best: Its best fitness.
            champion: The champion's mean on fresh episodes.
            elapsed_s: How long the run has gone on, all launches added up.
        """
        self.num_done += 1
        left_s = self._seconds_left(elapsed_s)
        left = "" if left_s is None else f", left={self.bar.format_interval(left_s)}"
        self.bar.set_postfix_str(f"best={best:.5g}, champion={champion:.5g}{left}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Leaves the bar as it is."""
        self.bar.close()

    def _seconds_left(self, elapsed_s: float) -> float | None:
        """Returns the time until the first of the budgets that can be foreseen is spent; None if none can."""
        left = []
        if self.config.num_generations is not None:
            per_generation_s = (time.monotonic() - self.started_s) / self.num_done
            left.append((self.config.num_generations - self.bar.n - 1) * per_generation_s)
        if self.config.num_minutes is not None:
            left.append(60 * self.config.num_minutes - elapsed_s)
        return max(0.0, min(left)) if left else None
