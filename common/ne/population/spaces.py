"""What an environment shows, and what it can be told.

Axes: o numbers of an observation; k numbers of a continuous action; n episodes; x outputs of a network.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from common.errors import ConfigError
from common.utils.beartype import shape_checked

ActionKind = Literal["discrete", "multi_discrete", "multi_binary", "box"]

WIDEST = 2.0**31 - 1
"""Bounds from here on, as those of whole types, are none: no network's tanh could tell what lies between them."""

MOST = 2.0**62
"""The greatest whole number that is an action: float64 goes beyond what int64 can hold."""


@dataclass(frozen=True, eq=False)
class Spaces:
    """The observations and actions of an environment.

    Attributes:
        observation_low: Least value of each number of an observation, o numbers, −inf where there is none.
        observation_high: Greatest value, likewise.
        kind: What an action is: one choice, several choices, several times yes or no, or numbers.
        num_choices: How many there are for each choice; empty for `box`; 1 for each yes or no.
        first_choices: The number of the first choice of each, usually 0; empty for `box`.
        action_low: Least value of each number of an action, k numbers, −inf where there is none; empty unless `box`.
        action_high: Greatest value, likewise.
        action_shape: The axes of an action; empty for `discrete`.
        action_dtype: The type of its numbers.
    """

    observation_low: np.ndarray
    observation_high: np.ndarray
    kind: ActionKind
    num_choices: tuple[int, ...]
    first_choices: tuple[int, ...]
    action_low: np.ndarray
    action_high: np.ndarray
    action_shape: tuple[int, ...]
    action_dtype: np.dtype[Any]

    @property
    def num_inputs(self) -> int:
        """Numbers that a network is shown, o."""
        return len(self.observation_low)

    @property
    def num_outputs(self) -> int:
        """Numbers that a network must return, x: one for each choice, or for each number of an action."""
        return len(self.action_low) if self.kind == "box" else sum(self.num_choices)

    @shape_checked
    def actions_of(self, outputs: Float64[np.ndarray, "n x"]) -> np.ndarray:
        """Returns the actions that a network's outputs stand for.

        A choice is the largest of its outputs, the first of equals; yes is what is above 0. A number bounded on both
        sides is reached through one tanh, from the bounds' middle; any other is the output itself, cut where there is a
        bound. Where the space's numbers are whole, the nearest one is taken.

        Args:
            outputs: Any numbers; the network has no function of its own at its end.

        Returns:
            n actions of the space's own shape and type.
        """
        if self.kind == "box":
            actions = self._numbers(outputs)
        elif self.kind == "multi_binary":
            actions = outputs > 0
        else:
            parts = np.split(outputs, np.cumsum(self.num_choices)[:-1], axis=1)
            chosen = np.stack([part.argmax(axis=1) for part in parts], axis=1)
            actions = chosen + np.array(self.first_choices)
        return np.asarray(actions, self.action_dtype).reshape(len(outputs), *self.action_shape)

    def _numbers(self, outputs: np.ndarray) -> np.ndarray:
        is_bounded = np.isfinite(self.action_low) & np.isfinite(self.action_high)
        low, high = np.where(is_bounded, self.action_low, 0.0), np.where(is_bounded, self.action_high, 0.0)
        mapped = low + (np.tanh(outputs) + 1) / 2 * (high - low)
        actions = np.where(is_bounded, mapped, np.clip(outputs, self.action_low, self.action_high))
        if np.issubdtype(self.action_dtype, np.integer):
            whole = np.iinfo(self.action_dtype)
            return np.asarray(np.rint(np.clip(np.nan_to_num(actions), max(whole.min, -MOST), min(whole.max, MOST))))
        limits = np.finfo(self.action_dtype)
        return np.asarray(np.clip(actions, limits.min, limits.max))


def spaces_of(name: str, observation_space: Any, action_space: Any) -> Spaces:
    """Returns the spaces of a gymnasium environment.

    Args:
        name: The environment's id, for the error.
        observation_space: Its observation space, a Box of one axis; see `adapted`.
        action_space: Its action space.

    Raises:
        ConfigError: networks that return vectors cannot play it.
    """
    from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

    assert isinstance(observation_space, Box), observation_space  # `adapted` sees to it.
    seen = (np.asarray(observation_space.low, np.float64), np.asarray(observation_space.high, np.float64))
    shape, dtype, none = tuple(action_space.shape or ()), np.dtype(action_space.dtype or object), np.zeros(0)
    if isinstance(action_space, Discrete):
        choice, start = int(action_space.n), int(action_space.start)
        return Spaces(*seen, "discrete", (choice,), (start,), none, none, shape, dtype)
    if isinstance(action_space, MultiDiscrete):
        choices, first = (tuple(map(int, values.flat)) for values in (action_space.nvec, action_space.start))
        return Spaces(*seen, "multi_discrete", choices, first, none, none, shape, dtype)
    if isinstance(action_space, MultiBinary):
        num = int(np.prod(shape))
        return Spaces(*seen, "multi_binary", (1,) * num, (0,) * num, none, none, shape, dtype)
    if isinstance(action_space, Box):
        bounds = (np.asarray(bound, np.float64).ravel() for bound in (action_space.low, action_space.high))
        low, high = (np.where(np.abs(bound) < WIDEST, bound, np.copysign(np.inf, bound)) for bound in bounds)
        return Spaces(*seen, "box", (), (), low, high, shape, dtype)
    raise ConfigError(
        f"{name} takes actions of a kind that is not supported: {action_space}. Supported are Discrete, MultiDiscrete, "
        "MultiBinary and Box."
    )
