"""Makes gymnasium's environments, and shows a network whatever they show as a vector.

Axes: h height, w width and c colours of a picture; o numbers of an observation.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import ConfigError
from common.utils.misc import nearest

WRAPPERS = (
    "AtariPreprocessing",
    "ClipAction",
    "ClipReward",
    "DelayObservation",
    "DtypeObservation",
    "FilterObservation",
    "FlattenObservation",
    "FrameStackObservation",
    "GrayscaleObservation",
    "MaxAndSkipObservation",
    "RescaleAction",
    "RescaleObservation",
    "ReshapeObservation",
    "ResizeObservation",
    "StickyAction",
    "TimeAwareObservation",
)
"""Gymnasium's wrappers that a configuration may name: an episode stays a function of its start seed, and no file is
written."""

PICTURE_SIZE = 16
"""Pictures are shown in grey, in this many rows and columns at most, each the mean of what it covers."""


def make_environment(
    name: str, kwargs: Mapping[str, Any], wrappers: Sequence[Mapping[str, Any]], max_steps: int | None, **settings: Any
) -> Any:
    """Makes an environment whose observations are vectors.

    Args:
        name: Its id in gymnasium.
        kwargs: What its own class takes.
        wrappers: Gymnasium's wrappers, the innermost first: each its `name` and its arguments.
        max_steps: After how many steps an episode ends; None: as the environment says.
        settings: What `gymnasium.make` takes besides.

    Raises:
        ConfigError: there is none of this name, its module may not be named, or it cannot be made or shown.
    """
    import gymnasium

    _check_name(name)
    if max_steps is not None:
        settings["max_episode_steps"] = max_steps
    try:
        environment = gymnasium.make(name, **settings, **kwargs)
    except Exception as error:  # Anybody's code; a missing package is the usual cause.
        raise ConfigError(f"evaluator.config.environment={name!r} cannot be made: {error}") from error
    for wrapper in wrappers:
        environment = _wrapped(environment, wrapper)
    return adapted(name, environment)


def adapted(name: str, environment: Any) -> Any:
    """Returns an environment that shows vectors: pictures made small and grey, and all else by gymnasium's own rule.

    That rule lays out what has several axes or parts one after the other, and shows a choice by a 1 in its place.

    Raises:
        ConfigError: there is no such rule for what it shows.
    """
    from gymnasium.spaces import Box
    from gymnasium.wrappers import FlattenObservation, TransformObservation

    space = environment.observation_space
    if _is_picture(space):
        shape = small_picture(np.zeros(space.shape, np.uint8)).shape
        environment = TransformObservation(environment, small_picture, Box(0, 1, shape, np.float32))
    elif not isinstance(space, Box) or len(space.shape) != 1:
        if not space.is_np_flattenable:
            raise ConfigError(
                f"{name} shows what has no fixed number of parts ({space}), and networks here take vectors. Choose "
                "another environment, or give one of your own a Box, Discrete, MultiDiscrete, MultiBinary, Dict or "
                "Tuple as its observation_space."
            )
        environment = FlattenObservation(environment)
    return environment


def small_picture(picture: np.ndarray) -> np.ndarray:
    """Returns a picture, h × w × c of bytes, as a vector of the brightness of its parts, from 0 to 1."""
    grey = picture.astype(np.float64).mean(axis=2)
    starts = [np.arange(size) * length // size for length in grey.shape for size in (min(length, PICTURE_SIZE),)]
    rows, columns = (np.diff([*begin, length]) for begin, length in zip(starts, grey.shape, strict=True))
    sums = np.add.reduceat(np.add.reduceat(grey, starts[0], axis=0), starts[1], axis=1)
    return np.asarray(sums / np.outer(rows, columns) / 255, np.float32).ravel()


def registration_of(name: str) -> dict[str, Any]:
    """Returns what it takes to make an environment of a project known in a process that has not imported it.

    Args:
        name: Its id in gymnasium, maybe after the module that registers it.

    Returns:
        The id, the class and its arguments, as plain values; nothing for gymnasium's own environments.
    """
    import gymnasium

    spec = gymnasium.spec(name.rpartition(":")[2])
    entry: Any = spec.entry_point
    place = entry if isinstance(entry, str) else f"{entry.__module__}:{entry.__qualname__}" if entry else ""
    if not place.startswith("projects."):
        return {}
    return {"id": spec.id, "entry_point": place, "max_episode_steps": spec.max_episode_steps, "kwargs": spec.kwargs}


def register_again(registration: Mapping[str, Any]) -> None:
    """Makes an environment of a project known, if it is not yet.

    Raises:
        ConfigError: its class is not a project's, or is there no more.
    """
    import gymnasium

    if not registration or registration["id"] in gymnasium.registry:
        return
    module, _, name = str(registration["entry_point"]).partition(":")
    if not module.startswith("projects."):
        raise ConfigError(f"The environment {registration['id']} is of {module}, which is not in projects/.")
    try:
        is_there = hasattr(importlib.import_module(module), name)
    except ImportError:
        is_there = False
    if not is_there:
        raise ConfigError(f"The environment {registration['id']} is {module}.{name}, which does not exist any more.")
    if registration["id"] not in gymnasium.registry:
        gymnasium.register(**registration)


def _is_picture(space: Any) -> bool:
    return getattr(space, "dtype", None) == np.uint8 and len(space.shape or ()) == 3 and space.shape[2] in (1, 3, 4)


def _wrapped(environment: Any, wrapper: Mapping[str, Any]) -> Any:
    from gymnasium import wrappers

    name, arguments = wrapper.get("name"), {key: value for key, value in wrapper.items() if key != "name"}
    if name not in WRAPPERS:
        meant = nearest(str(name), WRAPPERS)
        raise ConfigError(
            f"evaluator.config.wrappers names {name!r}, which is not among {', '.join(WRAPPERS)}."
            + (f" Did you mean {meant}?" if meant else "")
        )
    try:
        return getattr(wrappers, name)(environment, **arguments)
    except Exception as error:  # Each checks its own arguments, in its own way.
        raise ConfigError(f"evaluator.config.wrappers: {name}({arguments}) does not fit: {error}") from error


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
