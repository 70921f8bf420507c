"""Recurrent networks: Elman 1990, "Finding structure in time".

Hidden layers have a tanh each; the last layer has none, because the actor maps outputs to actions.
"""

from common.ne.population.networks.layered import LayeredNetworks


class RecurrentNetworks(LayeredNetworks):
    """Networks whose hidden layers also see what they computed in the step before; they start at zero."""

    is_recurrent = True
