"""How topologies change: a node is added to, or taken from, each of many individuals at once.

Axes: p individuals; i inputs; h nodes, the outputs first; k connections into a node; s = i + h things to listen to.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from common.ne.population.networks.base import Arrays
from common.utils.beartype import shape_checked


class Growth:
    """Adds nodes to networks and takes them away.

    Args:
        num_inputs: i.
        num_outputs: Nodes that are always there.
        locality: The probability that a further connection comes from the neighbourhood of the first.
    """

    def __init__(self, num_inputs: int, num_outputs: int, locality: float) -> None:
        self.num_inputs = num_inputs
        self.num_outputs = num_outputs
        self.locality = locality

    def grow(self, arrays: Arrays, chosen: np.ndarray, rng: np.random.Generator) -> None:
        """Adds a node to the chosen individuals that have room, in place.

        It listens to any input or node, and to others from the neighbourhood of that one; one node listens to it.

        Args:
            arrays: Individuals; see `DynamicNetworks`.
            chosen: Which of them, p.
            rng: Draws for all of them, so that what one gets does not depend on the others.
        """
        size, num_nodes, num_connections = arrays["sources"].shape
        draws = rng.random((size, 2 * num_connections + 2, self.num_inputs + num_nodes))
        weights = rng.standard_normal((size, num_connections + 1))
        rows = np.flatnonzero(chosen & ~arrays["is_alive"].all(axis=1))
        if len(rows) == 0:
            return
        node = arrays["is_alive"][rows].argmin(axis=1)  # The first that is free.
        heard = self._sources_for_new(arrays["sources"][rows], arrays["is_alive"][rows], draws[rows])
        listener = self._pick(arrays["is_alive"][rows], draws[rows, -1, self.num_inputs :])
        arrays["sources"][rows, node] = heard
        arrays["weights"][rows, node] = np.where(heard >= 0, weights[rows, :num_connections], 0.0)
        for name in ("counts", "means", "squares"):
            arrays[name][rows, node] = 0.0
        arrays["is_alive"][rows, node] = True
        slot = self._slot(arrays["sources"][rows, listener], draws[rows, -2, :num_connections])
        arrays["sources"][rows, listener, slot] = self.num_inputs + node
        arrays["weights"][rows, listener, slot] = weights[rows, -1]

    def prune(self, arrays: Arrays, chosen: np.ndarray, rng: np.random.Generator) -> None:
        """Takes a node, and all connections from and to it, from the chosen individuals that have one to spare.

        Args:
            arrays: Individuals; see `DynamicNetworks`.
            chosen: Which of them, p.
            rng: Draws for all of them.
        """
        size, num_nodes, _ = arrays["sources"].shape
        draws = rng.random((size, num_nodes))
        is_spare = arrays["is_alive"].copy()
        is_spare[:, : self.num_outputs] = False
        rows = np.flatnonzero(chosen & is_spare.any(axis=1))
        node = self._pick(is_spare[rows], draws[rows])
        sources = arrays["sources"][rows]
        sources[np.arange(len(rows)), node] = -1
        sources[sources == (self.num_inputs + node)[:, None, None]] = -1
        arrays["sources"][rows] = sources
        arrays["weights"][rows] = np.where(sources >= 0, arrays["weights"][rows], 0.0)
        arrays["is_alive"][rows, node] = False
        for name in ("counts", "means", "squares"):
            arrays[name][rows, node] = 0.0

    @shape_checked
    def _sources_for_new(
        self,
        sources: Int64[np.ndarray, "p h k"],
        is_alive: Bool[np.ndarray, "p h"],
        draws: Float64[np.ndarray, "p r s"],
    ) -> Int64[np.ndarray, "p k"]:
        """Returns what a new node listens to; it may hear the same twice, which then counts once."""
        size, _, num_connections = sources.shape
        can_be_heard = np.concatenate([np.ones((size, self.num_inputs), bool), is_alive], axis=1)
        heard = np.full((size, num_connections), -1)
        heard[:, 0] = self._pick(can_be_heard, draws[:, 0])
        is_near = self._neighbourhood(sources, heard[:, 0], can_be_heard)
        for connection in range(1, num_connections):
            is_local = draws[:, num_connections + connection, 0] < self.locality
            allowed = np.where((is_local & is_near.any(axis=1))[:, None], is_near, can_be_heard)
            drawn = self._pick(allowed, draws[:, connection])
            heard[:, connection] = np.where((heard == drawn[:, None]).any(axis=1), -1, drawn)
        return heard

    def _neighbourhood(self, sources: np.ndarray, center: np.ndarray, can_be_heard: np.ndarray) -> np.ndarray:
        """Returns, p × s, what the center listens to and what listens to it."""
        size = len(sources)
        listens = (sources == center[:, None, None]).any(axis=2)
        is_near = np.concatenate([np.zeros((size, self.num_inputs), bool), listens], axis=1)
        is_node = center >= self.num_inputs
        own = sources[np.arange(size), np.where(is_node, center - self.num_inputs, 0)]
        for connection in range(own.shape[1]):
            rows = np.flatnonzero(is_node & (own[:, connection] >= 0))
            is_near[rows, own[rows, connection]] = True
        return np.asarray(is_near & can_be_heard)

    @staticmethod
    def _pick(allowed: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Returns, for each row, the index of one of the allowed, all alike."""
        return np.asarray(np.where(allowed, draws, -1.0).argmax(axis=1))

    @staticmethod
    def _slot(sources: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Returns, for each row, a connection that is free or, where none is, one of all."""
        return np.asarray((np.where(sources < 0, 1.0, 0.0) + draws).argmax(axis=1))
