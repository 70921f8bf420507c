"""What an environment shows, and what it can be told.

Axes: o numbers of an observation; k numbers of a continuous action; n episodes; x outputs of a network.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from common.errors import ConfigError
from common.utils.beartype import shape_checked

ActionKind = Literal["discrete", "multi_discrete", "box"]


@dataclass(frozen=True, eq=False)
class Spaces:
    """The observations and actions of an environment.

    Attributes:
        observation_low: Least value of each number of an observation, o numbers, −inf where there is none.
        observation_high: Greatest value, likewise.
        kind: What an action is: one choice, several choices, or numbers.
        num_choices: How many there are for each choice; empty for `box`.
        first_choices: The number of the first choice of each, usually 0; empty for `box`.
        action_low: Least value of each number of an action, k numbers, −inf where there is none; empty unless `box`.
        action_high: Greatest value, likewise.
    """

    observation_low: np.ndarray
    observation_high: np.ndarray
    kind: ActionKind
    num_choices: tuple[int, ...]
    first_choices: tuple[int, ...]
    action_low: np.ndarray
    action_high: np.ndarray

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

        A choice is the largest of its outputs, the first of equals. A number bounded on both sides is reached through
        one tanh, from the bounds' middle; any other is the output itself, cut where there is a bound.

        Args:
            outputs: Any numbers; the network has no function of its own at its end.

        Returns:
            int64, n for `discrete` and n × choices for `multi_discrete`; float32, n × k, for `box`.
        """
        if self.kind == "discrete":
            return np.asarray(outputs.argmax(axis=1) + self.first_choices[0])
        if self.kind == "multi_discrete":
            ends = np.cumsum(self.num_choices)[:-1]
            parts = np.split(outputs, ends, axis=1)
            chosen = np.stack([part.argmax(axis=1) for part in parts], axis=1)
            return np.asarray(chosen + np.array(self.first_choices))
        low, high = self.action_low, self.action_high
        is_bounded = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(is_bounded, low, 0.0), np.where(is_bounded, high, 0.0)
        mapped = low + (np.tanh(outputs) + 1) / 2 * (high - low)
        actions = np.where(is_bounded, mapped, np.clip(outputs, self.action_low, self.action_high))
        return np.asarray(actions, np.float32)


def spaces_of(name: str, observation_space: Any, action_space: Any) -> Spaces:
    """Returns the spaces of a gymnasium environment.

    Args:
        name: The environment's id, for the error.
        observation_space: Its observation space.
        action_space: Its action space.

    Raises:
        ConfigError: networks that take and return vectors cannot play it.
    """
    from gymnasium.spaces import Box, Discrete, MultiDiscrete

    if not isinstance(observation_space, Box) or len(observation_space.shape) != 1:
        is_image = isinstance(observation_space, Box) and len(observation_space.shape) > 1
        raise ConfigError(
            f"{name} shows {'images or other arrays' if is_image else 'no vectors'} ({observation_space}), and "
            "networks here take vectors. Choose an environment whose observations are a Box of one axis."
        )
    low, high = (np.asarray(bound, np.float64) for bound in (observation_space.low, observation_space.high))
    none = np.zeros(0)
    if isinstance(action_space, Discrete):
        return Spaces(low, high, "discrete", (int(action_space.n),), (int(action_space.start),), none, none)
    if isinstance(action_space, MultiDiscrete) and len(action_space.shape) == 1:
        choices, first = (tuple(map(int, values)) for values in (action_space.nvec, action_space.start))
        return Spaces(low, high, "multi_discrete", choices, first, none, none)
    if isinstance(action_space, Box) and len(action_space.shape) == 1:
        bounds = (np.asarray(bound, np.float64) for bound in (action_space.low, action_space.high))
        return Spaces(low, high, "box", (), (), *bounds)
    raise ConfigError(
        f"{name} takes actions of a kind that is not supported: {action_space}. Supported are Discrete, MultiDiscrete "
        "of one axis, and Box of one axis."
    )
