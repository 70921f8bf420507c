"""Where Numba keeps what it has compiled, so that a machine compiles a kernel once.

Numba itself notices only changes of the file that a cached function stands in. Here the folder's name follows from all
files whose functions are compiled into it.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import numba

from common.run.identity import fingerprint_files

CACHE_VARIABLE = "NUMBA_CACHE_DIR"


def use_cache_for(sources: list[Path]) -> None:
    """Lets functions that are decorated from now on be cached.

    Args:
        sources: All files on which what is compiled depends. A folder that the user names goes unchanged.
    """
    if CACHE_VARIABLE not in os.environ:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        settings: Any = numba.config
        settings.CACHE_DIR = str(_writable(base / "ai_research") / "numba" / fingerprint_files(sources))


def _writable(folder: Path) -> Path:
    """Returns a folder or, where a container's user has no home to write to, one that lasts as long as the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp())
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp())
