"""Compares a sweep whose points run two at a time with one whose points run one after the other, on this machine.

    python benchmarks/sweep_parallel.py --data-dir ../shared/data               # 8 points of mlp, 20 epochs of MNIST
    python benchmarks/sweep_parallel.py --data-dir ../shared/data --points 4 --epochs 2

Both give each point one CPU. Each command is timed from its start to its end, start-up of its processes included. Every
point's metrics must be the same in both, to the last bit; the ratio of the times is the figure.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common.run.metrics import read_metrics  # noqa: E402  # Where it lies is known only now.

ONE, TWO = 1, 2


def main() -> None:
    """Measures, prints, and fails if a point's metrics differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="the folder that holds MNIST/raw")
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        roots = {number: Path(scratch) / str(number) for number in (ONE, TWO)}
        times_s = {number: run_sweep(root, number, arguments) for number, root in roots.items()}
        different = [name for name in points_of(roots[ONE]) if metrics(roots[ONE], name) != metrics(roots[TWO], name)]
    print(f"one after the other  {times_s[ONE]:8.1f} s")
    print(f"two at a time        {times_s[TWO]:8.1f} s")
    print(f"ratio                {times_s[ONE] / times_s[TWO]:8.2f}")
    print(f"points that differ   {len(different)} of {arguments.points}")
    sys.exit(1 if different else 0)


def run_sweep(root: Path, max_parallel: int, arguments: argparse.Namespace) -> float:
    """Runs the sweep and returns how long it took, in seconds."""
    command = [
        sys.executable,
        str(REPOSITORY / "projects" / "classify_mnist" / "train.py"),
        "task=mlp",
        f"config.data_dir={arguments.data_dir}",
        "datamodule.config.source=mnist",
        f"trainer.max_epochs={arguments.epochs}",
        "litmodule.optimizer.lr=" + ",".join(f"{(number + 1) * 1e-3:g}" for number in range(arguments.points)),
        "hydra.launcher.cpus_per_task=1",
        f"hydra.launcher.max_parallel={max_parallel}",
        "trainer.enable_progress_bar=false",
        "logger=none",
    ]
    environment = os.environ | {"AI_RESEARCH_PATH": str(root), "PYTHONPATH": str(REPOSITORY)}
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def points_of(root: Path) -> list[str]:
    """Returns the names of the points' folders."""
    return sorted(path.name for path in root.glob("data/*/*/*/[0-9]*"))


def metrics(root: Path, name: str) -> list[dict[str, float]]:
    """Returns a point's metrics without their times."""
    (folder,) = root.glob(f"data/*/*/*/{name}")
    return [{key: value for key, value in row.items() if key != "time"} for row in read_metrics(folder)]


if __name__ == "__main__":
    main()
