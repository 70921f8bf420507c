"""The step of one network, compiled by Numba; imported only where it is used.

What is computed, and in which order, is what the NumPy modules of the same names compute: the results are the same to
the last bit but for tanh. Compiled functions have no annotations: beartype wraps those that do, and Numba must see
them as they are.
"""

import math
from typing import no_type_check

import numba
import numpy as np

from common.ne.population.networks.base import LAYERED
from common.ne.population.networks.dynamic import EPSILON
from common.ne.utils.compiled_math import tanh, tanh_of

ONE = np.uint64(1)
"""Places are unsigned here, which needs no look at whether they count from the end; slices would be counted references.
Numba makes floats of a signed and an unsigned number."""

MIN_SIDE_BY_SIDE = np.uint64(8)
"""Outputs from which on it pays to compute them side by side, in vector instructions."""


@numba.njit(nogil=True, inline="always")
@no_type_check
def forward(kind, numbers, indices, table, memory, inputs, outputs, scratch):
    """Runs one step of an individual's network.

    Args:
        kind: Which kind of network.
        numbers: The individual's row of `KernelArrays.numbers`.
        indices: Its row of `KernelArrays.indices`.
        table: `KernelArrays.table`.
        memory: What the network remembers; changed.
        inputs: What it is shown.
        outputs: Takes what it returns.
        scratch: Room for `KernelArrays.num_scratch` numbers.
    """
    if kind == LAYERED:
        forward_layered(numbers, table, memory, inputs, outputs, scratch)
    else:
        forward_dynamic(numbers, indices, table, memory, inputs, outputs, scratch)


@numba.njit(nogil=True, inline="always")
@no_type_check
def forward_layered(parameters, table, memory, inputs, outputs, scratch):
    """See `forward` and `layered.py`. The table has a row for each layer.

    Its columns: where weights, recurrent weights and biases start; outputs; where the layer's outputs lie in
    the memory, −1 where it is not recurrent. Layers read one third of the scratch space and write another in turn.
    """
    width, num_values = np.uint64(len(scratch) // 3), np.uint64(len(inputs))
    for index in range(num_values):
        scratch[width + index] = inputs[index]
    for number in range(len(table)):
        is_odd = np.uint64(number % 2)
        source, target, spare = width * (ONE - is_odd), width * is_odd, width + width
        start, bias_start, num_units = (
            np.uint64(table[number, 0]),
            np.uint64(table[number, 2]),
            np.uint64(table[number, 3]),
        )
        multiply(parameters, start, scratch, source, num_values, scratch, target, num_units)
        if table[number, 4] >= 0:
            start, remembered = np.uint64(table[number, 1]), np.uint64(table[number, 4])
            multiply(parameters, start, memory, remembered, num_units, scratch, spare, num_units)
            for unit in range(num_units):
                scratch[target + unit] += scratch[spare + unit]
        if number == len(table) - 1:
            for unit in range(num_units):
                outputs[unit] = scratch[target + unit] + parameters[bias_start + unit]
        else:
            for unit in range(num_units):
                scratch[target + unit] = tanh_of(scratch[target + unit] + parameters[bias_start + unit])
        if table[number, 4] >= 0:
            remembered = np.uint64(table[number, 4])
            for unit in range(num_units):
                memory[remembered + unit] = scratch[target + unit]
        num_values = num_units


@numba.njit(nogil=True, inline="always")
@no_type_check
def multiply(weights, start, values, source, num_values, sums, target, num_units):
    """Writes the product of values and weights, a row per value, into sums; each begins at its place in its array."""
    if num_units < MIN_SIDE_BY_SIDE:
        for unit in range(num_units):
            total = values[source] * weights[start + unit]
            for index in range(ONE, num_values):
                total += values[source + index] * weights[start + index * num_units + unit]
            sums[target + unit] = total
        return
    for unit in range(num_units):
        sums[target + unit] = values[source] * weights[start + unit]
    for index in range(ONE, num_values):
        value, row = values[source + index], start + index * num_units
        for unit in range(num_units):
            sums[target + unit] += value * weights[row + unit]


@numba.njit(nogil=True, error_model="numpy")
@no_type_check
def forward_dynamic(weights, sources, table, memory, inputs, outputs, scratch):
    """See `forward` and `dynamic.py`. The table has one row: the numbers of nodes, of outputs, of connections."""
    num_nodes, num_outputs, num_connections = table[0]
    num_inputs = len(inputs)
    for node in range(num_nodes):
        total = 0.0
        for connection in range(node * num_connections, (node + 1) * num_connections):
            source = sources[connection]
            if source >= num_inputs:
                total += weights[connection] * memory[source - num_inputs]
            elif source >= 0:
                total += weights[connection] * inputs[source]
            else:
                total += 0.0
        scratch[node] = total
    for node in range(num_nodes):
        count = memory[num_nodes + node] + 1.0
        distance = scratch[node] - memory[2 * num_nodes + node]
        mean = memory[2 * num_nodes + node] + distance / count
        square = memory[3 * num_nodes + node] + distance * (scratch[node] - mean)
        memory[num_nodes + node], memory[2 * num_nodes + node], memory[3 * num_nodes + node] = count, mean, square
        memory[node] = (scratch[node] - mean) / math.sqrt(square / count + EPSILON)
    for output in range(num_outputs):
        outputs[output] = memory[output]
    tanh(memory[:num_nodes])
