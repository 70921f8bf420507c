"""Where a run starts that does not start from scratch: a checkpoint, told from others by its content."""

import hashlib
from pathlib import Path

from common.errors import ConfigError
from common.run.identity import LENGTH
from common.run.record import DamagedRecordError, Origin, read_record


def origin_of(checkpoint: Path) -> Origin:
    """Returns what is known of a checkpoint that a run starts from.

    Raises:
        ConfigError: it cannot be read.
    """
    return Origin(str(checkpoint), fingerprint_of(checkpoint), _identity_of_writer(checkpoint))


def fingerprint_of(path: Path) -> str:
    """Returns a fingerprint of what a file holds, however large it is.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]
    except OSError as error:
        raise ConfigError(f"config.ckpt_path={str(path)!r} cannot be read: {error.strerror}.") from error


def _identity_of_writer(checkpoint: Path) -> str | None:
    """Returns the identity of the run in whose folder a checkpoint lies, or None."""
    try:
        return read_record(checkpoint.parent.parent).identity
    except DamagedRecordError:
        return None
