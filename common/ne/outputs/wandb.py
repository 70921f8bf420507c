"""The W&B run of a neuroevolution run: a replica of the local files, whose failures never stop it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from common.run.upload import Uploads
from common.run.wandb import BestEffort, Mode, config_of, run_id, start_where_reachable, sync_command, wandb_settings


class BaseRun:
    """Logs nowhere; what it may be told, and how."""

    address: str | None = None
    """Where to see the run, or how to upload it; None where W&B is off."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Sends scalars."""

    def log_video(self, path: Path) -> None:
        """Sends a GIF."""

    def ask_for_upload(self) -> None:
        """Asks for an upload of what was logged so far, where the run cannot upload by itself."""

    def finish(self) -> None:
        """Ends the run."""


class NoRun(BaseRun):
    """Logs nowhere.

    Args:
        **settings: Those of the logger that it stands for, which have no effect.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()


class WandbRun(BestEffort, BaseRun):
    """Logs to W&B; the arguments are those of `wandb.init`.

    Args:
        project: The W&B project.
        name: The run's name; empty: its folder's.
        save_dir: The run's folder, where W&B keeps its files too.
        entity: Team or user; None: the user's own default.
        group: Groups runs.
        job_type: Tells runs of a group apart.
        notes: Any text.
        tags: Any words.
    """

    def __init__(
        self,
        project: str,
        name: str,
        save_dir: str,
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        notes: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self.folder = Path(save_dir)
        self.uploads = Uploads(self.folder)
        self.settings: dict[str, Any] = {
            "project": project,
            "name": name or self.folder.name,
            "dir": save_dir,
            "entity": entity,
        }
        self.settings |= {"group": group, "job_type": job_type, "notes": notes, "tags": tags}

    def start(self, mode: Mode) -> "WandbRun":
        """Starts the run with the whole configuration, and returns itself."""
        import wandb

        settings = {**self.settings, "id": run_id(self.folder), "resume": "allow", "mode": mode}
        self.run: Any = wandb.init(**settings, settings=wandb_settings(self.folder))
        self.pieces = Path(self.run.settings.sync_dir)
        config: Any = self.run.config
        config.update(config_of(self.folder))
        self.address = sync_command(self.folder) if mode == "offline" else str(self.run.url)
        return self

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Sends scalars; W&B ignores a step that it has from an earlier launch."""
        self.attempt(lambda: self.run.log(dict(metrics), step=step))

    def log_video(self, path: Path) -> None:
        """Sends a GIF."""
        import wandb

        self.attempt(lambda: self.run.log({"champion": wandb.Video(str(path), format="gif")}))

    def ask_for_upload(self) -> None:
        """Asks `wandb-osh`; see `Uploads`."""
        self.uploads.request()

    def finish(self) -> None:
        """Ends the run."""
        self.attempt(lambda: self.run.finish())
        self.uploads.request()


def start_run(logger: partial[BaseRun], folder: Path, *, is_first: bool) -> BaseRun:
    """Starts the configured run; W&B falls back to offline without a key or a network, and to nothing where it cannot.

    Args:
        logger: The configured partial.
        folder: The run's folder.
        is_first: Whether this rank is the one that logs.
    """
    if not is_first:
        return NoRun()
    run = logger()
    return start_where_reachable(folder, run.start) or NoRun() if isinstance(run, WandbRun) else run
