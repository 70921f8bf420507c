"""The closing block: what came out, and where it lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def print_summary(folder: Path, metrics: Mapping[str, float], plots: Sequence[Path], wandb: str | None) -> None:
    """Prints how a run ended, for a person to read.

    Args:
        folder: The run's folder.
        metrics: Final metrics by name.
        plots: The pictures drawn.
        wandb: The W&B link or the command that uploads, or None where W&B is off.
    """
    width = max([len(name) for name in metrics], default=0)
    print()
    for name, value in metrics.items():
        print(f"  {name:<{width}}  {value:.4f}")
    print(f"\n  folder  {folder}")
    if plots:
        print(f"  plots   {', '.join(path.name for path in plots)}")
    if wandb:
        print(f"  W&B     {wandb}")
