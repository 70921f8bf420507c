"""What an engine says of itself, once: all that launching, continuing, listing, comparing and loading need to know.

A runner declares it, and the record of each run carries it. So nothing outside an engine's own folder knows its keys,
and what is said here of a run holds for it even where the engine is not installed.
"""

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["minimize", "maximize"]


@dataclass
class Budget:
    """A limit on how long a run goes on; a larger one continues it.

    Attributes:
        key: The configuration's key.
        column: The column of `metrics.csv` that counts towards it; None where none does.
        offset: How much more is done than a row's number says: 1 where the first is number 0.
        is_clock: Whether it is a matter of the machine's speed: runs that are to be alike must not end by it.
    """

    key: str
    column: str | None = None
    offset: int = 0
    is_clock: bool = False


@dataclass
class Engine:
    """What an engine is; the defaults are those of one that says nothing.

    Attributes:
        budgets: How long its runs go on.
        without_effect: Further keys, or parents of keys, that do not change the result of the steps that are taken.
        objective: The metric by which runs are judged; None where there is none.
        direction: What its runs do with it.
        results: How the names of metrics begin that say how a run came out, those first that say most.
        checkpoints: The folder of a run's checkpoints, below the run's own.
        chosen: What a run may choose by itself: by key the name under which a checkpoint holds what it chose.
        loader: The module whose `load_run(folder, allowed_targets)` loads a run; None where that cannot be done.
    """

    budgets: list[Budget] = field(default_factory=list)
    without_effect: list[str] = field(default_factory=list)
    objective: str | None = None
    direction: Direction = "minimize"
    results: list[str] = field(default_factory=list)
    checkpoints: str = "checkpoints"
    chosen: dict[str, str] = field(default_factory=dict)
    loader: str | None = None

    @property
    def keys_without_effect(self) -> list[str]:
        """The keys that two runs may differ in and still be of one identity."""
        return [*(budget.key for budget in self.budgets), *self.without_effect]
