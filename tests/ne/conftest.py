"""Builds populations and evaluators as a run does: from what the store registers."""

import io
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hydra_zen import ZenStore, instantiate
from omegaconf import OmegaConf

from common.ne.evaluator.score_gym import ScoreGym, ScoreGymConfig
from common.ne.population.actor import Actors, ActorsConfig
from common.ne.population.networks.base import BaseNetworks
from common.ne.population.spaces import Spaces
from common.utils.hydra_zen import destructure
from projects.ne_control_score.train import TaskRunner
from tests.conftest import REPOSITORY
from tests.ne import environments  # noqa: F401  # Registers them.

NETWORKS = ("feedforward", "recurrent", "dynamic")
ALGORITHMS = ("simple_ga", "tournament", "openai_es", "snes", "pgpe", "cma_es")


@pytest.fixture(scope="session")
def store() -> ZenStore:
    """Everything that a neuroevolution task picks from."""
    script = REPOSITORY / "projects" / "ne_control_score" / "train.py"
    store = ZenStore(overwrite_ok=True)(to_config=destructure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), "task=cartpole"])
        TaskRunner.store_configs(store=store)
    return store


@pytest.fixture
def make_networks(store: ZenStore) -> Callable[..., partial[BaseNetworks]]:
    """Returns a function that builds the partial of a kind of networks."""
    return lambda kind, **config: instantiate(OmegaConf.merge(store["population/networks", kind], {"config": config}))


@pytest.fixture
def make_actors(make_networks: Callable[..., partial[BaseNetworks]]) -> Callable[..., Actors]:
    """Returns a function that builds a population."""

    def make(
        kind: str, spaces: Spaces, size: int = 5, seed: int = 0, observations: str = "raw", **config: Any
    ) -> Actors:
        settings = ActorsConfig(size=size, observations=observations)  # type: ignore[arg-type]
        return Actors(settings, make_networks(kind, **config), spaces, seed)

    return make


def evaluator_of(environment: str, backend: str = "gymnasium", **config: Any) -> ScoreGym:
    """Returns an evaluator."""
    return ScoreGym(ScoreGymConfig(environment, backend=backend, **config))  # type: ignore[arg-type]


def box_spaces(num_inputs: int = 3, low: float = -2.0, high: float = 6.0) -> Spaces:
    """Returns spaces with one number as action."""
    infinite = np.full(num_inputs, np.inf)
    return Spaces(-infinite, infinite, "box", (), (), np.array([low]), np.array([high]), (1,), np.dtype("f4"))


def stored(state: dict[str, Any]) -> dict[str, Any]:
    """Returns a state as a checkpoint gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def same(ours: Any, theirs: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    return bool(ours == theirs)
