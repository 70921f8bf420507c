"""Networks of layers, with or without recurrence (Elman 1990, "Finding structure in time").

All parameters of an individual lie in one row. A hidden layer computes tanh(x W + b), or tanh(x W + h U + b) from what
it computed the step before; the last layer computes x W + b. Sums run over the inputs in their order, so that an
episode's outputs do not depend on which others are computed beside it, as a library's matrix product would not promise.

Axes: p individuals; n episodes; i inputs of a layer; j outputs of a layer; d parameters; m numbers of memory;
x outputs of the network.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float64
from typing_extensions import override

from common.ne.population.networks.base import LAYERED, Arrays, BaseNetworks, KernelArrays
from common.ne.population.networks.mutation import MutationConfig, mutated
from common.utils.beartype import gt, shape_checked


@dataclass
class LayeredNetworksConfig:
    """Configures networks of layers.

    Attributes:
        hidden_sizes: Units of each hidden layer; empty: none, the outputs are linear in the inputs.
        mutation: How parameters mutate; evolution strategies have steps of their own and do not use it.
    """

    hidden_sizes: list[Annotated[int, gt(0)]] = field(default_factory=lambda: [32])
    mutation: MutationConfig = field(default_factory=MutationConfig)


@dataclass(frozen=True)
class Layer:
    """Where a layer's parameters lie in an individual's row: weights, then recurrent weights, then biases.

    Attributes:
        start: Index of the first.
        num_inputs: i.
        num_outputs: j.
        is_recurrent: Whether there are recurrent weights, j × j.
        memory_start: Where the layer's own outputs lie in an episode's memory, if it is recurrent.
    """

    start: int
    num_inputs: int
    num_outputs: int
    is_recurrent: bool
    memory_start: int

    @property
    def recurrent_start(self) -> int:
        """Index of the first recurrent weight."""
        return self.start + self.num_inputs * self.num_outputs

    @property
    def bias_start(self) -> int:
        """Index of the first bias."""
        return self.recurrent_start + (self.num_outputs**2 if self.is_recurrent else 0)

    @property
    def end(self) -> int:
        """Index after the last bias."""
        return self.bias_start + self.num_outputs


class LayeredNetworks(BaseNetworks):
    """Networks of layers; a subclass says whether hidden layers are recurrent.

    Args:
        config: Sizes and mutation.
        num_inputs: Numbers that come in.
        num_outputs: Numbers that go out.
    """

    has_parameters = True
    is_recurrent: ClassVar[bool]

    config: LayeredNetworksConfig

    def __init__(self, config: LayeredNetworksConfig, num_inputs: int, num_outputs: int) -> None:
        super().__init__(config, num_inputs, num_outputs)
        self.layers = list(self._layers())

    @property
    def memory_size(self) -> int:
        """Numbers that an episode remembers, m."""
        return sum(layer.num_outputs for layer in self.layers if layer.is_recurrent)

    @override
    @property
    def layout(self) -> list[int]:
        return list(self.config.hidden_sizes)

    @override
    def draw(self, size: int, rng: np.random.Generator) -> Arrays:
        """Draws weights, normal with standard deviation 1/√inputs; biases are 0."""
        parameters = np.zeros((size, self.layers[-1].end))
        for layer in self.layers:
            num_summands = layer.num_inputs + (layer.num_outputs if layer.is_recurrent else 0)
            shape = (size, layer.bias_start - layer.start)
            parameters[:, layer.start : layer.bias_start] = rng.standard_normal(shape) / math.sqrt(num_summands)
        return {"parameters": parameters, "strengths": np.full_like(parameters, self.config.mutation.strength)}

    @override
    def mutate(self, arrays: Arrays, first: int, rng: np.random.Generator) -> None:
        arrays["parameters"][first:], arrays["strengths"][first:] = mutated(
            arrays["parameters"][first:], arrays["strengths"][first:], self.config.mutation, rng
        )

    @override
    @shape_checked
    def start_memory(self, arrays: Arrays) -> Float64[np.ndarray, "n m"]:
        """Starts at zero."""
        return np.zeros((len(arrays["parameters"]), self.memory_size))

    @override
    @shape_checked
    def forward(
        self, arrays: Arrays, memory: Float64[np.ndarray, "n m"], inputs: Float64[np.ndarray, "n i"]
    ) -> Float64[np.ndarray, "n x"]:
        """Is fastest where each parameter lies beside the same one of the other episodes."""
        parameters, values = arrays["parameters"].T, inputs.T
        for layer in self.layers:
            sums = _product(parameters, layer.start, values, layer.num_outputs)
            if layer.is_recurrent:
                remembered = memory[:, layer.memory_start : layer.memory_start + layer.num_outputs].T
                sums += _product(parameters, layer.recurrent_start, remembered, layer.num_outputs)
            sums += parameters[layer.bias_start : layer.end]
            if layer is self.layers[-1]:
                return sums.T
            values = np.tanh(sums)
            if layer.is_recurrent:
                remembered[:] = values
        raise AssertionError  # The last layer has returned.

    @override
    def for_kernel(self, arrays: Arrays) -> KernelArrays:
        """Gives the table a row for each layer, with the columns that `compiled/networks.py` names."""
        table = [
            (
                layer.start,
                layer.recurrent_start,
                layer.bias_start,
                layer.num_outputs,
                layer.memory_start if layer.is_recurrent else -1,
            )
            for layer in self.layers
        ]
        numbers = np.ascontiguousarray(arrays["parameters"])
        num_units = max(layer.num_outputs for layer in self.layers)
        return KernelArrays(LAYERED, numbers, np.zeros((len(numbers), 0), np.int64), np.array(table), num_units)

    @override
    def metrics(self, arrays: Arrays) -> dict[str, float]:
        return {"mutation_strength": float(arrays["strengths"].mean())}

    @override
    def diversity(self, arrays: Arrays) -> float:
        return float(arrays["parameters"].std(axis=0).mean())

    def _layers(self) -> Iterator[Layer]:
        sizes = [self.num_inputs, *self.config.hidden_sizes, self.num_outputs]
        start = memory_start = 0
        for index, (num_inputs, num_outputs) in enumerate(pairwise(sizes)):
            is_recurrent = self.is_recurrent and index < len(sizes) - 2
            layer = Layer(start, num_inputs, num_outputs, is_recurrent, memory_start)
            yield layer
            start = layer.end
            memory_start += num_outputs if is_recurrent else 0


@shape_checked
def _product(
    parameters: Float64[np.ndarray, "d n"], start: int, values: Float64[np.ndarray, "i n"], num_outputs: int
) -> Float64[np.ndarray, "j n"]:
    """Multiplies each column of values with its own matrix, i × j, which begins at the given parameter."""
    num_inputs, size = values.shape
    weights = parameters[start : start + num_inputs * num_outputs].reshape(num_inputs, num_outputs, size)
    products = np.multiply(values[:, None], weights, order="C")
    sums: np.ndarray = products.sum(axis=0) if num_outputs * size > 1 else products.cumsum(axis=0)[-1]
    return sums  # NumPy adds whole rows in their order, but a single column in pairs; hence the running sum.


class FeedforwardNetworks(LayeredNetworks):
    """Networks without memory: each action follows from the observation alone."""

    is_recurrent = False


class RecurrentNetworks(LayeredNetworks):
    """Networks whose hidden layers also see what they computed in the step before; they start at zero."""

    is_recurrent = True
