"""Records the champion as an animated picture."""

import logging
from pathlib import Path

import numpy as np

from common.errors import ConfigError
from common.ne.champion import Champion
from common.ne.evaluator.base import BaseEvaluator
from common.ne.outputs.wandb import BaseRun
from common.ne.population.actor import Actors
from common.ne.random_numbers import episode_seeds
from common.run.atomic import write_atomically

log = logging.getLogger(__name__)

FILE_NAME = "champion.gif"
MAX_PICTURES = 150
"""More pictures than this are thinned out."""

MAX_WIDTH = 320


def record_champion(
    evaluator: BaseEvaluator, actors: Actors, champion: Champion, run: BaseRun, folder: Path, seed: int
) -> list[Path]:
    """Records an episode of the champion as a GIF, and sends it to W&B.

    Args:
        evaluator: Plays the episode.
        actors: Says what individuals are.
        champion: Who plays.
        run: The W&B run.
        folder: The run's folder.
        seed: The run's seed, from which the start state follows.

    Returns:
        The file; nothing where the environment cannot be drawn on this machine.
    """
    start = int(episode_seeds(seed, 0, "recording", 1, 1, is_shared=True)[0, 0])
    try:
        pictures, seconds = evaluator.record(actors, champion.arrays, start)
        if not pictures:
            raise ConfigError(f"{type(evaluator).__name__} drew nothing.")
        write_gif(folder / FILE_NAME, pictures, seconds)
    except Exception as error:  # Anybody's code, on a machine that may have no screen. The run is finished without.
        log.warning("No GIF of the champion: %s", str(error).partition("\n")[0] or type(error).__name__)
        return []
    run.log_video(folder / FILE_NAME)
    return [folder / FILE_NAME]


def write_gif(path: Path, pictures: list[np.ndarray], seconds: float) -> None:
    """Writes a GIF at the pace of the episode.

    Args:
        path: The file.
        pictures: Each height × width × 3, bytes.
        seconds: Between two pictures.
    """
    from PIL import Image

    every = -(-len(pictures) // MAX_PICTURES)
    images = [Image.fromarray(picture) for picture in pictures[::every]]
    scale = min(1.0, MAX_WIDTH / images[0].width)
    size = round(images[0].width * scale), round(images[0].height * scale)
    # 64 colours without dithering: drawn figures keep their edges, and the file is a tenth as large.
    small = [image.resize(size).quantize(64, dither=Image.Dither.NONE) for image in images]
    options = {"append_images": small[1:], "duration": max(20, round(1000 * seconds * every)), "loop": 0}
    write_atomically(path, lambda file: small[0].save(file, format="GIF", save_all=True, **options))
