"""What every run has, whichever engine it uses: a folder, a record, metrics, checkpoints, plots."""

from common.run.loading import LoadedRun, load

__all__ = ["LoadedRun", "load"]
