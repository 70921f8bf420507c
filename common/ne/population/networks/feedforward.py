"""Feed-forward networks."""

from common.ne.population.networks.layered import LayeredNetworks


class FeedforwardNetworks(LayeredNetworks):
    """Networks without memory: each action follows from the observation alone."""

    is_recurrent = False
