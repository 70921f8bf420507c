"""Networks whose topology evolves: nodes grow and are pruned, weights mutate, nothing is fixed but inputs and outputs.

A node adds up a few weighted values, of inputs or of what nodes gave in the step before, brings the sum to mean 0 and
standard deviation 1 as measured over its life (Welford 1962, "Note on a method for calculating corrected sums of
squares and products"), and gives the tanh of that to other nodes; what an output node shows the actor has no tanh. So a
signal takes a step per node on its way, and networks can remember.

Ideas: a node's few incoming connections and growth beside existing connections are those of sparse, locally wired
networks (Watts and Strogatz 1998, "Collective dynamics of small-world networks"); structural mutation without crossover
as in Angeline, Saunders, Pollack 1994, "An evolutionary algorithm that constructs recurrent neural networks" (GNARL);
self-adapting rates as in Bäck 1992, "Self-adaptation in genetic algorithms". Reference implementation: none; there is
room for a fixed number of nodes per individual, so that a population is a few arrays.

Axes: p individuals; n episodes; i inputs; h nodes, the outputs first; k connections into a node; x outputs;
s = i + h things to listen to;
m numbers of memory: for each node its last value, its count, its mean and its sum of squared distances.
"""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float64, Int64
from typing_extensions import override

from common.ne.population.networks.base import DYNAMIC, Arrays, BaseNetworks, KernelArrays
from common.ne.population.networks.mutation import MutationConfig, mutated
from common.utils.beartype import ge, gt, le, shape_checked


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


EPSILON = 1e-8
"""Added to a variance before it divides."""


@dataclass
class DynamicNetworksConfig:
    """Configures networks whose topology evolves.

    Attributes:
        max_hidden: Most nodes besides the outputs.
        num_connections: Most connections into a node.
        num_initial: Nodes besides the outputs that initial individuals have.
        growth_rate: Nodes that grow in a mutation, on average; mutates and is inherited.
        pruning_rate: Nodes that are pruned in a mutation, on average; mutates and is inherited.
        max_rate: Where both rates end.
        locality: The probability that a new node's further connections come from the neighbourhood of its first.
        mutation: How weights mutate.
    """

    max_hidden: Annotated[int, ge(1)] = 32
    num_connections: Annotated[int, ge(1)] = 4
    num_initial: Annotated[int, ge(0)] = 2
    growth_rate: Annotated[float, gt(0)] = 0.5
    pruning_rate: Annotated[float, gt(0)] = 0.25
    max_rate: Annotated[float, gt(0)] = 4.0
    locality: Annotated[float, ge(0), le(1)] = 0.75
    mutation: MutationConfig = field(default_factory=lambda: MutationConfig(strength=0.3))

    def __post_init__(self) -> None:
        """Checks what no single field can tell.

        Raises:
            ValueError: there is no room for the initial nodes, or a rate begins above its end.
        """
        if self.num_initial > self.max_hidden:
            raise ValueError(f"num_initial={self.num_initial} is more than max_hidden={self.max_hidden}.")
        if max(self.growth_rate, self.pruning_rate) > self.max_rate:
            raise ValueError(f"growth_rate and pruning_rate must be at most max_rate={self.max_rate}.")


class DynamicNetworks(BaseNetworks):
    """Networks whose topology evolves.

    An individual: `sources` (h × k: an input's index, or i plus a node's index, or −1 for none), `weights` and
    `strengths` (h × k), `is_alive` (h), `rates` (2: growth, pruning), and each node's statistics over the individual's
    life, `counts`, `means` and `squares` (h).

    Args:
        config: Sizes, rates and mutation.
        num_inputs: Numbers that come in.
        num_outputs: Numbers that go out.
    """

    carries_memory = True

    config: DynamicNetworksConfig

    def __init__(self, config: DynamicNetworksConfig, num_inputs: int, num_outputs: int) -> None:
        super().__init__(config, num_inputs, num_outputs)
        self.num_nodes = num_outputs + config.max_hidden
        self.growth = Growth(num_inputs, num_outputs, config.locality)

    @override
    def draw(self, size: int, rng: np.random.Generator) -> Arrays:
        """Lets each output listen to some inputs; then nodes grow."""
        config = self.config
        shape = (size, self.num_nodes, config.num_connections)
        zeros = np.zeros(shape[:2])
        arrays = {
            "sources": np.full(shape, -1),
            "weights": np.zeros(shape),
            "strengths": np.full(shape, config.mutation.strength),
            "is_alive": np.arange(self.num_nodes) < np.full((size, 1), self.num_outputs),
            "rates": np.tile([config.growth_rate, config.pruning_rate], (size, 1)),
            "counts": zeros,
            "means": zeros.copy(),
            "squares": zeros.copy(),
        }
        num_first = min(config.num_connections, self.num_inputs)
        ranks = rng.random((size, self.num_outputs, self.num_inputs)).argsort(axis=2)
        arrays["sources"][:, : self.num_outputs, :num_first] = ranks[:, :, :num_first]
        arrays["weights"][:, : self.num_outputs, :num_first] = rng.standard_normal((size, self.num_outputs, num_first))
        for _ in range(config.num_initial):
            self.growth.grow(arrays, np.ones(size, bool), rng)
        return arrays

    @override
    def mutate(self, arrays: Arrays, first: int, rng: np.random.Generator) -> None:
        """Changes rates, then topology, then weights."""
        own = {name: array[first:].copy() for name, array in arrays.items()}
        size, config = len(own["rates"]), self.config
        factors = np.exp(rng.standard_normal((size, 2)) / 2)
        own["rates"] = np.clip(own["rates"] * factors, 1 / self.num_nodes, config.max_rate)
        num_grown, num_pruned = np.minimum(rng.poisson(own["rates"]), config.max_hidden).T
        for count in range(num_pruned.max(initial=0)):
            self.growth.prune(own, num_pruned > count, rng)
        for count in range(num_grown.max(initial=0)):
            self.growth.grow(own, num_grown > count, rng)
        weights, strengths = mutated(
            own["weights"].reshape(size, -1), own["strengths"].reshape(size, -1), config.mutation, rng
        )
        shape = own["weights"].shape
        own["weights"] = np.where(own["sources"] >= 0, weights.reshape(shape), 0.0)
        own["strengths"] = strengths.reshape(shape)
        for name, array in own.items():
            arrays[name][first:] = array

    @override
    @shape_checked
    def start_memory(self, arrays: Arrays) -> Float64[np.ndarray, "n m"]:
        """Silences the nodes; their statistics go on."""
        statistics = [arrays[name] for name in ("counts", "means", "squares")]
        return np.concatenate([np.zeros_like(statistics[0]), *statistics], axis=1)

    @override
    @shape_checked
    def forward(
        self, arrays: Arrays, memory: Float64[np.ndarray, "n m"], inputs: Float64[np.ndarray, "n i"]
    ) -> Float64[np.ndarray, "n x"]:
        size, num = len(inputs), self.num_nodes
        values = np.concatenate([inputs, memory[:, :num], np.zeros((size, 1))], axis=1)  # The last stands for none.
        heard = np.take_along_axis(values, arrays["sources"].reshape(size, -1), axis=1)
        products = heard.reshape(size, num, -1) * arrays["weights"]
        sums = 0.0 + products[:, :, 0]
        for connection in range(1, products.shape[2]):
            sums += products[:, :, connection]
        counts, means, squares = (memory[:, part * num : (part + 1) * num] for part in (1, 2, 3))
        counts += 1
        distances = sums - means
        means += distances / counts
        squares += distances * (sums - means)
        standardized = (sums - means) / np.sqrt(squares / counts + EPSILON)
        memory[:, :num] = np.tanh(standardized)
        return np.asarray(standardized[:, : self.num_outputs])

    @override
    def for_kernel(self, arrays: Arrays) -> KernelArrays:
        size = len(arrays["weights"])
        numbers, indices = (arrays[name].reshape(size, -1) for name in ("weights", "sources"))
        table = np.array([[self.num_nodes, self.num_outputs, self.config.num_connections]])
        return KernelArrays(DYNAMIC, numbers, indices, table, self.num_nodes)

    @override
    def carry(self, arrays: Arrays, memory: np.ndarray) -> None:
        """Keeps the statistics of nodes."""
        parts = np.split(memory, 4, axis=1)
        arrays["counts"], arrays["means"], arrays["squares"] = (part.copy() for part in parts[1:])

    @override
    def metrics(self, arrays: Arrays) -> dict[str, float]:
        is_used = arrays["sources"] >= 0
        return {
            "mutation_strength": float(arrays["strengths"][is_used].mean()) if is_used.any() else 0.0,
            "nodes": float(arrays["is_alive"].sum(axis=1).mean()),
            "edges": float(is_used.sum(axis=(1, 2)).mean()),
            "growth_rate": float(arrays["rates"][:, 0].mean()),
            "pruning_rate": float(arrays["rates"][:, 1].mean()),
        }

    @override
    def diversity(self, arrays: Arrays) -> float:
        """Counts a connection that is not there as a weight of 0."""
        return float(arrays["weights"].std(axis=0).mean())
