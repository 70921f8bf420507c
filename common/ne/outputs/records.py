"""What a run writes down in each generation.

`metrics.csv` holds what follows from the configuration, to the last bit; `timings.csv` what follows from the machine.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from common.ne.outputs.wandb import BaseRun
from common.run.metrics import MetricsFile
from common.utils.beartype import shape_checked

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
