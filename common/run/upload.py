"""Uploading while a run goes on, from a node without internet: `wandb-osh`, on one that has it, is asked to.

The two meet in a folder that `wandb-osh` makes when it starts: a file there names what to upload, and is removed when
that is done. Without that folder nobody listens, and nothing is asked.
"""

import logging
from pathlib import Path

log = logging.getLogger(__name__)

MEETING_FOLDER = "~/.wandb_osh_command_dir"
"""Where `wandb-osh` looks unless it is told otherwise."""


class Uploads:
    """Asks for uploads of a run's offline W&B files. Neither a slow nor an absent listener delays the run.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "wandb"
        self.meeting_folder = Path(MEETING_FOLDER).expanduser()
        self.has_failed = False

    def request(self) -> None:
        """Asks for one upload, unless the run logs online, nobody listens, or the last request still waits."""
        piece = self._next_piece()
        if piece is None or self.has_failed or not self.meeting_folder.is_dir():
            return
        from wandb_osh.hooks import TriggerWandbSyncHook
        from wandb_osh.util.hash_id import hash_id

        if (self.meeting_folder / f"{hash_id(str(piece))}.command").exists():
            return
        try:
            logging.getLogger("wandb_osh").setLevel(logging.ERROR)  # It would greet in each launch.
            TriggerWandbSyncHook(self.meeting_folder)(piece)
        except OSError as error:
            self.has_failed = True
            log.warning("wandb-osh cannot be asked for uploads (%s), and is not asked again by this launch.", error)

    def _next_piece(self) -> Path | None:
        """Returns what an earlier launch left that is not uploaded yet, in its order, or what this launch writes."""
        pieces = sorted(path.resolve() for path in self.folder.glob("offline-run-*"))
        newest = (self.folder / "latest-run").resolve()
        if newest not in pieces:
            return None
        return next((piece for piece in pieces if not any(piece.glob("*.synced"))), newest)
