"""The progress bar: generations, the best fitness, the champion, and the time left."""

import sys
import time
from typing import Any

from common.ne.config import NeuroevolutionSubtaskConfig
from common.utils.terminal import screen_size

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
