"""What every run has, whichever engine it uses: a folder, a record, metrics, checkpoints, plots.

A `Record` is what `provenance.json` says of a run: what was launched, where it came from, how it stands. A `Launch` is
one process's work on the run, of which the record keeps each. A `Run` is what lies behind a folder: its path, its lock
and its record.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.run.loading import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports what loads a run, and with it hydra-zen, when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from common.run import loading

    return getattr(loading, name)
