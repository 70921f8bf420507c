"""submitit's writer of scripts for SLURM, of which it has no public form that takes lines after the command.

Read for submitit 1.5.4.
"""

from typing import Any


def make_sbatch_string(**options: Any) -> str:
    """Returns a script for `sbatch`; the options are those of submitit's function of this name."""
    from submitit.slurm.slurm import _make_sbatch_string

    text: str = _make_sbatch_string(**options)
    return text
