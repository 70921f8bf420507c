"""Loads a run back, whichever engine it used, as that engine says."""

import importlib
from pathlib import Path
from typing import Any

from common.check.targets import is_allowed
from common.errors import ConfigError
from common.run.finished import read_settled_record
from common.run.record import DamagedRecordError


def load(folder: str | Path, allowed_targets: tuple[str, ...] = ()) -> Any:
    """Loads a run: what deep learning trained (`common.dl.load.LoadedRun`), or evolution (`common.ne.load`).

    Args:
        folder: The run's folder.
        allowed_targets: What the project's runner allows besides the standing list.

    Raises:
        ConfigError: the folder is not a run's, it has nothing to load, or it names something that it may not.
    """
    folder = Path(folder).expanduser()
    try:
        loader = read_settled_record(folder).engine.loader
    except DamagedRecordError as damage:
        raise ConfigError(f"{folder} is not a run's folder: {damage.what}.") from damage
    if loader is None:
        raise ConfigError(f"{folder} is a run of an engine that does not say how its runs are loaded.")
    function = f"{loader}.load_run"
    if not is_allowed(function, allowed_targets):
        raise ConfigError(
            f"{folder} says that {function} loads it, which is not installed here, or which a run may not name. "
            "Python code widens the list: load(folder, allowed_targets=(…,))."
        )
    return importlib.import_module(loader).load_run(folder, allowed_targets)
