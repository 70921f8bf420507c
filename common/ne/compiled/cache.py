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
        settings: Any = numba.config
        settings.CACHE_DIR = str(_writable_folder() / "numba" / fingerprint_files(sources))


def _writable_folder() -> Path:
    """Returns the user's cache or, where there is no home to write to, a folder that lasts as long as the process."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai_research"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # A container's user may have neither a home nor a name.
        return Path(tempfile.mkdtemp())
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp())
