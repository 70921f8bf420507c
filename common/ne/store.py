"""Registers everything that a neuroevolution task picks from."""

from hydra_zen import ZenStore

from common.ne.algorithm.simple_ga import SimpleGA, SimpleGAConfig
from common.ne.config import NeuroevolutionSubtaskConfig, NeuroevolutionTaskConfig
from common.ne.evaluator.score_gym import ScoreGym, ScoreGymConfig
from common.ne.population.actor import Actors, ActorsConfig
from common.ne.population.networks.feedforward import FeedforwardNetworks
from common.ne.population.networks.layered import LayeredNetworksConfig
from common.ne.population.networks.mutation import MutationConfig
from common.ne.population.networks.recurrent import RecurrentNetworks
from common.ne.utils.wandb_run import NoRun, WandbRun
from common.store import store_loggers
from common.utils.hydra_zen import generate_config, generate_config_partial


def store_configs(store: ZenStore) -> None:
    """Registers the subtask's settings, and the members of each group."""
    store(NeuroevolutionTaskConfig(config=generate_config(NeuroevolutionSubtaskConfig)), name="config")
    store(generate_config(SimpleGA, config=generate_config(SimpleGAConfig)), group="algorithm", name="simple_ga")
    store(
        generate_config(SimpleGA, config=generate_config(SimpleGAConfig, selection="tournament")),
        group="algorithm",
        name="tournament",
    )
    store(generate_config(ScoreGym, config=generate_config(ScoreGymConfig)), group="evaluator", name="score_gym")
    store(
        generate_config_partial(Actors, config=generate_config(ActorsConfig), zen_exclude=("spaces", "seed")),
        group="population",
        name="actor",
    )
    for name, networks in {"feedforward": FeedforwardNetworks, "recurrent": RecurrentNetworks}.items():
        config = generate_config(LayeredNetworksConfig, mutation=generate_config(MutationConfig))
        store(generate_config_partial(networks, config=config), group="population/networks", name=name)
    store_loggers(store, WandbRun, NoRun)
