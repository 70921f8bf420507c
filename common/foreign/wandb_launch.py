"""W&B's launcher of jobs is not loaded at the start of each run.

W&B imports it for one small module inside; that takes 0.4 s of processor time (wandb 0.20 to 0.28). The package around
that module is executed when one of its own names is asked for.
"""

from common.foreign.import_hooks import postpone


def install() -> None:
    """Arranges this for when W&B is imported."""
    postpone("wandb.sdk.launch")
