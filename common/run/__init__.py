"""What every run has, whichever engine it uses: a folder, a record, metrics, checkpoints, plots.

Seven nouns lead from the command line to a result. A `Command` is what a person asks for. Its `Search` chooses what is
to run: one point for a plain run, several for a sweep. A `Point` is one such configuration, composed and settled. A
`Record` is what `provenance.json` says of a run: what was launched, where it came from, how it stands. A `Run` is what
lies behind a folder: its path, its lock and its record. A `Launch` is one process's work on the run, of which the
record keeps each. An `Outcome` is how a point ended, by its run's record.
"""

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(folder: str | Path, allowed_targets: tuple[str, ...] = ()) -> Any:
    """Loads a run, as its engine says: what was trained (`common.dl.load.LoadedRun`), or evolved (`common.ne.load`).

    Args:
        folder: The run's folder.
        allowed_targets: What the project's runner allows besides the standing list.

    Raises:
        ConfigError: the folder is not a run's, it has nothing to load, or it names something that it may not.
    """
    import importlib  # All of these only here: whoever imports a module of this package has no use for them.

    from common.errors import ConfigError
    from common.run.finished import read_settled_record
    from common.run.record import DamagedRecordError

    folder = Path(folder).expanduser()
    try:
        loader = read_settled_record(folder).engine.loader
    except DamagedRecordError as damage:
        raise ConfigError(f"{folder} is not a run's folder: {damage.what}.") from damage
    if loader is None:
        raise ConfigError(f"{folder} is a run of an engine that does not say how its runs are loaded.")
    function = f"{loader}.load_run"
    is_known = any(f"{function}.".startswith(f"{name}.") for name in ("common", "projects", *allowed_targets))
    try:
        load_run = getattr(importlib.import_module(loader), "load_run", None) if is_known else None
    except ImportError:
        load_run = None
    if load_run is None:
        raise ConfigError(
            f"{folder} says that {function} loads it, which is not installed here, or which a run may not name. "
            "Python code widens the list: load(folder, allowed_targets=(…,))."
        )
    return load_run(folder, allowed_targets)
