"""Small environments of every kind, which fail if they are used as they must not be."""

import random
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
    "whole": spaces.Box(0, 4, (2,), np.int64),
    "unbounded_whole": spaces.Box(np.iinfo(np.int32).min, np.iinfo(np.int32).max, (1,), np.int32),
    "matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float64),
    "choices_in_rows": spaces.MultiDiscrete([[2, 3], [4, 2]]),
}

OBSERVATION_SPACES: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(5, start=2),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(4),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float64),
    "dict": spaces.Dict({"place": spaces.Box(-1, 1, (2,), np.float32), "mode": spaces.Discrete(3)}),
    "tuple": spaces.Tuple((spaces.Discrete(4), spaces.Box(0, 9, (1,), np.int64))),
    "picture": spaces.Box(0, 255, (40, 50, 3), np.uint8),
    "sequence": spaces.Sequence(spaces.Discrete(3)),
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


class Shows(gymnasium.Env[Any, Any]):
    """Shows samples of a space for five steps.

    Args:
        kind: Which observation space.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, kind: str) -> None:
        self.observation_space = OBSERVATION_SPACES[kind]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.left = 5
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return self.observation_space.sample(), float(action), self.left == 0, False, {}


class Odd(gymnasium.Env[np.ndarray, Any]):
    """Does what environments must not, or need not be ready for.

    Args:
        reward: What a step gives: a number, or something else.
        blot: What stands in every third observation in the place of a number, if anything.
        shape: Of what it shows, whatever its space says.
        uses_globals: Whether it draws from the global random numbers, which it seeds as one did long ago.
        is_endless: Whether its episodes never end.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Discrete(2)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human"]}

    def __init__(
        self,
        reward: Any = 1.0,
        blot: float | None = None,
        shape: tuple[int, ...] = (2,),
        uses_globals: bool = False,
        is_endless: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.reward, self.blot, self.shape = reward, blot, shape
        self.uses_globals, self.is_endless, self.render_mode = uses_globals, is_endless, render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self.uses_globals:
            np.random.seed(seed)
        self.num_steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        self.num_steps += 1
        reward = random.random() + np.random.random() if self.uses_globals else self.reward
        return self._observe(), reward, self.num_steps == 7 and not self.is_endless, False, {}

    def render(self) -> None:
        """Draws nothing."""

    def _observe(self) -> np.ndarray:
        shown = self.np_random.standard_normal(self.shape)
        if self.blot is not None and self.num_steps % 3 == 2:
            shown[0] = self.blot
        return shown


for kind in OBSERVATION_SPACES:
    gymnasium.register(f"Shows-{kind}-v0", Shows, kwargs={"kind": kind}, disable_env_checker=True)
gymnasium.register("Odd-v0", Odd, disable_env_checker=True)
for kind in ACTION_SPACES:
    gymnasium.register(f"Toy-{kind}-v0", Toy, kwargs={"kind": kind}, disable_env_checker=True)
gymnasium.register("Toy-failing-v0", Toy, kwargs={"fails_at": 2}, disable_env_checker=True)
gymnasium.register("Toy-image-v0", Toy, kwargs={"shape": (4, 4, 3)}, disable_env_checker=True)
gymnasium.register("Toy-nan-v0", Toy, kwargs={"reward": float("nan")}, disable_env_checker=True)
