"""Lets the champion of a run play again: `python projects/ne_control_score/play.py <run folder>`.

Prints the total reward of each episode; `--gif FILE` records the first, `--window` shows them on the screen.
"""

import argparse
from pathlib import Path

import numpy as np

from common.errors import report_errors
from common.ne.load import load_run
from common.ne.outputs.gif import write_gif
from common.ne.random_numbers import episode_seeds


def main() -> None:
    """Plays."""
    arguments = _parse_arguments()
    loaded = load_run(arguments.folder.expanduser())
    seeds = episode_seeds(arguments.seed, 0, "recording", 1, arguments.episodes, is_shared=True)[0]
    rewards = loaded.play(seeds)
    for number, reward in enumerate(rewards):
        print(f"episode {number}: total reward {reward:.2f}")
    print(f"mean {np.mean(rewards):.2f} over {len(rewards)} episodes")
    if arguments.gif is not None:
        write_gif(arguments.gif, *loaded.record(int(seeds[0])))
        print(f"written: {arguments.gif}")
    if arguments.window:
        for seed in seeds:
            loaded.record(int(seed), "human")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a run's folder, which holds champion.pt")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the start states")
    parser.add_argument("--gif", type=Path, help="where to write a recording of the first episode")
    parser.add_argument("--window", action="store_true", help="show the episodes on the screen")
    return parser.parse_args()


if __name__ == "__main__":
    with report_errors():
        main()
