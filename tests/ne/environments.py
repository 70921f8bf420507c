"""Small environments of every kind, which fail if they are used as they must not be."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

ACTION_SPACES: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3),
    "discrete_from_minus_1": spaces.Discrete(3, start=-1),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "bounded": spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32)),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "half_bounded": spaces.Box(0.0, np.inf, (1,), np.float32),
    "binary": spaces.MultiBinary(2),
}


class Toy(gymnasium.Env[np.ndarray, Any]):
    """Shows three random numbers; rewards the first of them and actions near 1; ends after 3 to 9 steps.

    Args:
        kind: Which action space.
        fails_at: The step at which it raises an error, if ever.
        shape: Of an observation.
        reward: What a step gives instead, if anything.
    """

    num_steps: ClassVar[int] = 0
    """Steps of all environments of this class, for tests to look at."""

    def __init__(
        self,
        kind: str = "discrete",
        fails_at: int | None = None,
        shape: tuple[int, ...] = (3,),
        reward: float | None = None,
    ) -> None:
        self.action_space = ACTION_SPACES[kind]
        self.observation_space = spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.fails_at, self.reward = fails_at, reward
        self.left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.left, self.step_number = int(self.np_random.integers(3, 10)), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.left > 0, "stepped beyond the episode's end"
        assert self.action_space.contains(action), action
        if self.step_number == self.fails_at:
            raise ZeroDivisionError("a mistake in somebody's environment")
        self.left -= 1
        self.step_number += 1
        Toy.num_steps += 1
        reward = float(self.shown.flat[0]) - float(np.square(np.asarray(action, np.float64) - 1).sum())
        return self._observe(), reward if self.reward is None else self.reward, self.left == 0, False, {}

    def _observe(self) -> np.ndarray:
        self.shown = self.np_random.standard_normal(self.observation_space.shape).astype(np.float32)
        return self.shown


for kind in ACTION_SPACES:
    gymnasium.register(f"Toy-{kind}-v0", Toy, kwargs={"kind": kind}, disable_env_checker=True)
gymnasium.register("Toy-failing-v0", Toy, kwargs={"fails_at": 2}, disable_env_checker=True)
gymnasium.register("Toy-image-v0", Toy, kwargs={"shape": (4, 4, 3)}, disable_env_checker=True)
gymnasium.register("Toy-nan-v0", Toy, kwargs={"reward": float("nan")}, disable_env_checker=True)
