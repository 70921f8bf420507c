"""Scores individuals by the total reward in a gymnasium environment.

Axes: n episodes.
"""

import importlib.util
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import UInt64
from omegaconf import DictConfig
from typing_extensions import override

from common.errors import ConfigError
from common.ne.evaluator.base import BaseEvaluator, Episodes
from common.ne.evaluator.physics import PHYSICS
from common.ne.evaluator.rollout import BatchedRollout, GymnasiumRollout, Players
from common.ne.population.actor import Actors
from common.ne.population.networks.base import Arrays, taken
from common.ne.population.spaces import Spaces, spaces_of
from common.utils.beartype import ge, not_empty, shape_checked
from common.utils.misc import nearest

Backend = Literal["auto", "numba", "numpy", "gymnasium"]

StartStates = Literal["shared", "individual"]

SECONDS_PER_PICTURE = 1 / 30
"""Where an environment does not say how fast it runs."""


@dataclass
class ScoreGymConfig:
    """Configures the evaluation.

    Attributes:
        environment: The environment's id in gymnasium.
        num_episodes: Episodes that each individual plays in a generation; its fitness is their mean total reward.
        start_states: Whether all individuals of a generation begin their episodes in the same states (`shared`, so that
            luck is shared too), or each in its own (`individual`). They are new in each generation.
        backend: What plays: network and physics compiled together (`numba`), physics of our own in NumPy (`numpy`), or
            gymnasium's environments (`gymnasium`); `auto`: the fastest that there is for this environment and that is
            installed. A part of the run's identity, because their results differ in the last bits.
    """

    environment: Annotated[str, not_empty()]
    num_episodes: Annotated[int, ge(1)] = 1
    start_states: StartStates = "shared"
    backend: Backend = "auto"


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

        config = node.config
        cls(ScoreGymConfig(config.environment))._make()
        config.backend = _choose_backend(config.environment, config.backend)
        return {"environment": config.environment, "gymnasium": gymnasium.__version__}

    @override
    @cached_property
    def spaces(self) -> Spaces:
        environment = self._make()
        return spaces_of(self.config.environment, environment.observation_space, environment.action_space)

    @override
    @shape_checked
    def play(
        self, actors: Actors, arrays: Arrays, individuals: np.ndarray, seeds: UInt64[np.ndarray, " n"]
    ) -> Episodes:
        if self.config.backend == "numba":
            return self._compiled_rollout(actors).play(arrays, individuals, seeds)  # type: ignore[no-any-return]
        players = taken(arrays, individuals)
        if self.config.backend == "numpy":
            return BatchedRollout(PHYSICS[self.config.environment], actors, players, seeds).play()
        return GymnasiumRollout(self.environments, self._make, actors, players, individuals, seeds).play()

    @override
    def record(
        self, actors: Actors, arrays: Arrays, seed: int, render_mode: str = "rgb_array"
    ) -> tuple[list[np.ndarray], float]:
        if render_mode != "human":
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # Draws without a screen.
        environment = self._make(render_mode=render_mode)
        fps = environment.metadata.get("render_fps")
        player = Players(actors, arrays)
        observation, _ = environment.reset(seed=seed)
        pictures, is_over = [environment.render()], False
        while not is_over:
            action = player.act(np.asarray(observation, np.float32)[None])[0]
            observation, _, terminated, truncated, _ = environment.step(action)
            pictures.append(environment.render())
            is_over = terminated or truncated
        environment.close()
        return pictures, 1 / fps if fps else SECONDS_PER_PICTURE

    def _compiled_rollout(self, actors: Actors) -> Any:
        if self._compiled is None:
            import torch

            from common.ne.compiled.rollout import CompiledRollout

            self._compiled = CompiledRollout(self.config.environment, actors, torch.get_num_threads())
        return self._compiled

    def _make(self, **settings: Any) -> Any:
        """Makes the environment.

        Raises:
            ConfigError: there is none of this name, its module may not be named, or it cannot be made.
        """
        import gymnasium

        _check_name(self.config.environment)
        try:
            return gymnasium.make(self.config.environment, **settings)
        except Exception as error:  # Anybody's code; a missing package is the usual cause.
            raise ConfigError(
                f"evaluator.config.environment={self.config.environment!r} cannot be made: {error}"
            ) from error


def _check_name(name: str) -> None:
    """Checks that gymnasium knows an environment, or that it is a project's: naming a module imports it.

    Raises:
        ConfigError: neither.
    """
    import gymnasium

    module, _, _ = name.rpartition(":")
    if name in gymnasium.registry or module.startswith("projects."):
        return
    if module:
        raise ConfigError(
            f"evaluator.config.environment={name!r}: a configuration may name the modules of projects alone. Import "
            f"{module} in the project's train.py, and name the environment without it."
        )
    meant = nearest(name, gymnasium.registry)
    hint = f" Did you mean {meant}?" if meant else ""
    raise ConfigError(
        f"evaluator.config.environment={name!r}: gymnasium has no such environment.{hint} One of your own is named "
        "'<module that registers it>:<id>'."
    )


def _choose_backend(name: str, wanted: Backend) -> Backend:
    """Returns the backend that plays an environment.

    Raises:
        ConfigError: the one that is wanted cannot.
    """
    has_numba = importlib.util.find_spec("numba") is not None
    possible: list[Backend] = ["gymnasium"]
    if name in PHYSICS:
        possible = ["numba", "numpy", "gymnasium"] if has_numba else ["numpy", "gymnasium"]
    if wanted == "auto":
        return possible[0]
    if wanted not in possible:
        reason = "Numba is not installed" if name in PHYSICS else f"only {', '.join(PHYSICS)} have physics of our own"
        raise ConfigError(
            f"evaluator.config.backend={wanted} cannot play {name}: {reason}. Use {possible[0]}, or auto."
        )
    return wanted
