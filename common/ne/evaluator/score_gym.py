"""Scores individuals by the total reward in a gymnasium environment.

Axes: n episodes.
"""

import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, cast

import numpy as np
from jaxtyping import UInt64
from omegaconf import DictConfig, OmegaConf
from typing_extensions import override

from common.errors import ConfigError
from common.ne.evaluator.base import BaseEvaluator, Episodes, joined_episodes, never
from common.ne.evaluator.environment import make_environment, registration_of
from common.ne.evaluator.physics import PHYSICS
from common.ne.evaluator.rollout import BatchedRollout, Players
from common.ne.evaluator.rollout_gymnasium import GymnasiumRollout
from common.ne.population.actor import Actors
from common.ne.population.networks.base import Arrays, taken
from common.ne.population.spaces import Spaces, spaces_of
from common.utils.beartype import ge, not_empty, shape_checked

log = logging.getLogger(__name__)

Backend = Literal["auto", "numba", "numpy", "gymnasium"]

StartStates = Literal["shared", "individual"]

SECONDS_PER_PICTURE = 1 / 30
"""Where an environment does not say how fast it runs."""

MAX_PICTURES = 300
"""More than these are not held in memory."""

MAX_FILMED_STEPS = 10_000
"""After which a film ends, whatever the episode does."""

MAX_COPIED_NUMBERS = 2**25
"""Numbers of individuals, each copied once for each of its episodes, that are held at once: 256 MB."""


@dataclass
class ScoreGymConfig:
    """Configures the evaluation.

    Attributes:
        environment: The environment's id in gymnasium.
        num_episodes: Episodes that each individual plays in a generation; its fitness is their mean total reward.
        start_states: Whether all individuals of a generation begin their episodes in the same states (`shared`, so that
            luck is shared too), or each in its own (`individual`). They are new in each generation.
        max_steps: Steps after which an episode ends; null: as the environment says.
        kwargs: What the environment's own class takes, such as `{is_slippery: false}`.
        wrappers: Gymnasium's wrappers, the innermost first, each by its `name` and its arguments, such as
            `[{name: FrameStackObservation, stack_size: 4}]`.
        backend: What plays: network and physics compiled together (`numba`), physics of our own in NumPy (`numpy`), or
            gymnasium's environments (`gymnasium`); `auto`: the fastest that there is for this environment and that is
            installed. A part of the run's identity, because their results differ in the last bits.
    """

    environment: Annotated[str, not_empty()]
    num_episodes: Annotated[int, ge(1)] = 1
    start_states: StartStates = "shared"
    max_steps: Annotated[int, ge(1)] | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    wrappers: list[dict[str, Any]] = field(default_factory=list)
    backend: Backend = "auto"


class Film:
    """Pictures of an episode, thinned out as it grows longer.

    Attributes:
        pictures: Each height × width × 3, bytes.
        every: Of how many pictures one was kept.
        num_shown: How many there were.
    """

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []
        self.every, self.num_shown = 1, 0

    def add(self, picture: Any) -> None:
        """Takes up the next picture.

        Raises:
            ConfigError: it is none.
        """
        if picture is not None and (np.ndim(picture) != 3 or np.shape(picture)[2] != 3):
            raise ConfigError(f"render() gave {type(picture).__name__}, where a picture with three colours belongs.")
        if self.num_shown % self.every == 0 and picture is not None:
            self.pictures.append(np.asarray(picture))
        if len(self.pictures) > MAX_PICTURES:
            self.pictures, self.every = self.pictures[::2], 2 * self.every
        self.num_shown += 1


class ScoreGym(BaseEvaluator):
    """Plays episodes of a gymnasium environment, each to the environment's own end.

    Args:
        config: See its own fields.
    """

    config: ScoreGymConfig

    def __init__(self, config: ScoreGymConfig) -> None:
        super().__init__(config)
        self.environments: list[Any] = []
        self._compiled: Any = None

    @classmethod
    def settle(cls, node: DictConfig) -> dict[str, Any]:
        """Looks the environment up, and writes down which backend is used.

        Args:
            node: The evaluator's node of the configuration, changed in place.

        Returns:
            The environment and gymnasium's version.

        Raises:
            ConfigError: there is no such environment, it cannot be made, or the backend cannot play it.
        """
        import gymnasium

        values = cast(dict[str, Any], OmegaConf.to_container(node.config, resolve=True))
        config = ScoreGymConfig(**{key: value for key, value in values.items() if not key.startswith("_")})
        environment = cls(config)._make()
        if environment.spec is not None and environment.spec.max_episode_steps is None:
            log.warning(
                "%s has no time limit: an episode that the environment does not end never ends. "
                "evaluator.config.max_steps sets one.",
                config.environment,
            )
        node.config.backend = _choose_backend(config)
        return {"environment": config.environment, "gymnasium": gymnasium.__version__}

    @override
    @cached_property
    def spaces(self) -> Spaces:
        environment = self._make()
        return spaces_of(self.config.environment, environment.observation_space, environment.action_space)

    @override
    @shape_checked
    def play(
        self,
        actors: Actors,
        arrays: Arrays,
        individuals: np.ndarray,
        seeds: UInt64[np.ndarray, " n"],
        is_cancelled: Callable[[], bool] = never,
    ) -> Episodes:
        if self.config.backend == "numba":
            return self._compiled_rollout(actors).play(arrays, individuals, seeds)  # type: ignore[no-any-return]
        if self.config.backend == "numpy":
            return self._play_batched(actors, arrays, individuals, seeds, is_cancelled)
        return GymnasiumRollout(self.environments, self._make, actors, arrays, individuals, seeds).play(is_cancelled)

    @override
    def registration(self) -> dict[str, Any]:
        return registration_of(self.config.environment)

    @override
    @property
    def can_be_cancelled(self) -> bool:
        return self.config.backend != "numba"

    @override
    def record(
        self, actors: Actors, arrays: Arrays, seed: int, render_mode: str = "rgb_array"
    ) -> tuple[list[np.ndarray], float]:
        if render_mode != "human":
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # Draws without a screen.
        environment = self._make(render_mode=render_mode)
        modes = environment.metadata.get("render_modes") or ["nothing"]
        if render_mode not in modes:
            raise ConfigError(f"{self.config.environment} can be drawn as {', '.join(modes)}, not as {render_mode}.")
        fps = environment.metadata.get("render_fps")
        player, film = Players(actors, arrays), Film()
        observation, _ = environment.reset(seed=seed)
        film.add(environment.render())
        is_over = False
        while not is_over:
            action = player.act(np.asarray(observation, np.float32)[None])[0]
            observation, _, terminated, truncated, _ = environment.step(action)
            film.add(environment.render())
            is_over = terminated or truncated or film.num_shown == MAX_FILMED_STEPS
        environment.close()
        return film.pictures, film.every * (1 / fps if fps else SECONDS_PER_PICTURE)

    def _play_batched(
        self,
        actors: Actors,
        arrays: Arrays,
        individuals: np.ndarray,
        seeds: np.ndarray,
        is_cancelled: Callable[[], bool],
    ) -> Episodes:
        """Plays so many episodes at a time that copies of their individuals fit into little memory."""
        size_of_individual = sum(array[0].size for array in arrays.values())
        num = max(1, MAX_COPIED_NUMBERS // size_of_individual)
        physics = PHYSICS[self.config.environment]
        parts = [slice(start, start + num) for start in range(0, len(seeds), num)] or [slice(0)]
        return joined_episodes(
            [
                BatchedRollout(physics, actors, taken(arrays, individuals[part]), seeds[part]).play(is_cancelled)
                for part in parts
            ]
        )

    def _compiled_rollout(self, actors: Actors) -> Any:
        if self._compiled is None:
            import torch

            from common.ne.compiled.rollout import CompiledRollout

            self._compiled = CompiledRollout(self.config.environment, actors, torch.get_num_threads())
        return self._compiled

    def _make(self, **settings: Any) -> Any:
        config = self.config
        return make_environment(config.environment, config.kwargs, config.wrappers, config.max_steps, **settings)


def _choose_backend(config: ScoreGymConfig) -> Backend:
    """Returns the backend that plays an environment.

    Raises:
        ConfigError: the one that is wanted cannot.
    """
    obstacles: dict[Backend, str | None] = {"numba": None, "numpy": None, "gymnasium": None}
    if config.environment not in PHYSICS:
        obstacles["numba"] = obstacles["numpy"] = f"only {', '.join(PHYSICS)} have physics of our own"
    elif config.kwargs or config.wrappers or config.max_steps is not None:
        obstacles["numba"] = obstacles["numpy"] = "kwargs, wrappers and max_steps are gymnasium's"
    elif config.backend in ("auto", "numba"):
        obstacles["numba"] = _numba_obstacle()
    possible = [backend for backend, obstacle in obstacles.items() if obstacle is None]
    if config.backend == "auto":
        if config.environment in PHYSICS and obstacles["numba"] is not None:
            log.warning("Episodes are played by %s, which is slower: %s.", possible[0], obstacles["numba"])
        return possible[0]
    if config.backend not in possible:
        raise ConfigError(
            f"evaluator.config.backend={config.backend} cannot play {config.environment}: {obstacles[config.backend]}. "
            f"Use {possible[0]}, or auto."
        )
    return config.backend


def _numba_obstacle() -> str | None:
    """Returns why Numba cannot be used here; None if it can. Installed is not usable."""
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed"
    try:
        import numba

        importlib.import_module("common.ne.compiled.rollout")
    except Exception as error:  # It fails to import, or finds no place for what it compiles.
        return f"Numba does not work here ({type(error).__name__}: {str(error).splitlines()[0]})"
    return "NUMBA_DISABLE_JIT is set" if numba.config.DISABLE_JIT else None  # type: ignore[attr-defined]
