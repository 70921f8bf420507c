"""Registers everything that a neuroevolution task picks from."""

from typing import Any

from hydra_zen import ZenStore

from common.ne.algorithm.base import BaseAlgorithm
from common.ne.algorithm.cma_es import CMAES, CMAESConfig
from common.ne.algorithm.openai_es import OpenAIES, OpenAIESConfig
from common.ne.algorithm.pgpe import PGPE, PGPEConfig
from common.ne.algorithm.simple_ga import SimpleGA, SimpleGAConfig
from common.ne.algorithm.snes import SNES, SNESConfig
from common.ne.config import NeuroevolutionSubtaskConfig, NeuroevolutionTaskConfig
from common.ne.evaluator.score_gym import ScoreGym, ScoreGymConfig
from common.ne.outputs.wandb import NoRun, WandbRun
from common.ne.population.actor import Actors, ActorsConfig
from common.ne.population.networks.dynamic import DynamicNetworks, DynamicNetworksConfig
from common.ne.population.networks.layered import FeedforwardNetworks, LayeredNetworksConfig, RecurrentNetworks
from common.ne.population.networks.mutation import MutationConfig
from common.store import store_loggers, store_task
from common.utils.hydra_zen import generate_config, generate_config_partial

ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], Any]] = {
    "simple_ga": (SimpleGA, generate_config(SimpleGAConfig)),
    "tournament": (SimpleGA, generate_config(SimpleGAConfig, selection="tournament")),
    "openai_es": (OpenAIES, generate_config(OpenAIESConfig)),
    "snes": (SNES, generate_config(SNESConfig)),
    "pgpe": (PGPE, generate_config(PGPEConfig)),
    "cma_es": (CMAES, generate_config(CMAESConfig)),
}
"""The members of the group `algorithm`, with their settings."""


def store_configs(store: ZenStore) -> None:
    """Registers the subtask's settings, and the members of each group."""
    store_task(store, NeuroevolutionTaskConfig, NeuroevolutionSubtaskConfig)
    for name, (algorithm, algorithm_config) in ALGORITHMS.items():
        store(generate_config(algorithm, config=algorithm_config), group="algorithm", name=name)
    store(generate_config(ScoreGym, config=generate_config(ScoreGymConfig)), group="evaluator", name="score_gym")
    store(
        generate_config_partial(Actors, config=generate_config(ActorsConfig), zen_exclude=("spaces", "seed")),
        group="population",
        name="actor",
    )
    for name, networks in {"feedforward": FeedforwardNetworks, "recurrent": RecurrentNetworks}.items():
        config = generate_config(LayeredNetworksConfig, mutation=generate_config(MutationConfig))
        store(generate_config_partial(networks, config=config), group="population/networks", name=name)
    config = generate_config(DynamicNetworksConfig, mutation=generate_config(MutationConfig, strength=0.3))
    store(generate_config_partial(DynamicNetworks, config=config), group="population/networks", name="dynamic")
    store_loggers(store, WandbRun, NoRun)
