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
m numbers of memory: for each node its last value, its count, its mean and its sum of squared distances.
"""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from jaxtyping import Float64

from common.ne.population.networks.base import DYNAMIC, Arrays, BaseNetworks, KernelArrays
from common.ne.population.networks.growth import Growth
from common.ne.population.networks.mutation import MutationConfig, mutated
from common.utils.beartype import ge, gt, le, shape_checked

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

    def draw(self, size: int, rng: np.random.Generator) -> Arrays:
        """See `BaseNetworks`: each output listens to some inputs; then nodes grow."""
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

    def mutate(self, arrays: Arrays, first: int, rng: np.random.Generator) -> None:
        """See `BaseNetworks`: rates, then topology, then weights."""
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

    @shape_checked
    def start_memory(self, arrays: Arrays) -> Float64[np.ndarray, "n m"]:
        """See `BaseNetworks`: nodes are silent; their statistics go on."""
        statistics = [arrays[name] for name in ("counts", "means", "squares")]
        return np.concatenate([np.zeros_like(statistics[0]), *statistics], axis=1)

    @shape_checked
    def forward(
        self, arrays: Arrays, memory: Float64[np.ndarray, "n m"], inputs: Float64[np.ndarray, "n i"]
    ) -> Float64[np.ndarray, "n x"]:
        """See `BaseNetworks`."""
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

    def for_kernel(self, arrays: Arrays) -> KernelArrays:
        """See `BaseNetworks`."""
        size = len(arrays["weights"])
        numbers, indices = (arrays[name].reshape(size, -1) for name in ("weights", "sources"))
        table = np.array([[self.num_nodes, self.num_outputs, self.config.num_connections]])
        return KernelArrays(DYNAMIC, numbers, indices, table, self.num_nodes)

    def carry(self, arrays: Arrays, memory: np.ndarray) -> None:
        """See `BaseNetworks`: nodes keep their statistics."""
        parts = np.split(memory, 4, axis=1)
        arrays["counts"], arrays["means"], arrays["squares"] = (part.copy() for part in parts[1:])

    def metrics(self, arrays: Arrays) -> dict[str, float]:
        """See `BaseNetworks`."""
        is_used = arrays["sources"] >= 0
        return {
            "mutation_strength": float(arrays["strengths"][is_used].mean()) if is_used.any() else 0.0,
            "nodes": float(arrays["is_alive"].sum(axis=1).mean()),
            "edges": float(is_used.sum(axis=(1, 2)).mean()),
            "growth_rate": float(arrays["rates"][:, 0].mean()),
            "pruning_rate": float(arrays["rates"][:, 1].mean()),
        }

    def diversity(self, arrays: Arrays) -> float:
        """See `BaseNetworks`; a connection that is not there counts as a weight of 0."""
        return float(arrays["weights"].std(axis=0).mean())
