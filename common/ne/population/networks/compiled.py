"""The step of one network, compiled by Numba; imported only where it is used.

What is computed, and in which order, is what the NumPy modules of the same names compute: the results are the same to
the last bit but for tanh. Compiled functions have no annotations: beartype wraps those that do, and Numba must see
them as they are.
"""

import math
from typing import no_type_check

import numba

from common.ne.population.networks.base import LAYERED
from common.ne.population.networks.dynamic import EPSILON
from common.ne.utils.compiled_math import tanh


@numba.njit(nogil=True)
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


@numba.njit(nogil=True)
@no_type_check
def forward_layered(parameters, table, memory, inputs, outputs, scratch):
    """See `forward` and `layered.py`. The table has a row for each layer.

    Its columns: where weights, recurrent weights and biases start; outputs; where the layer's outputs lie in
    the memory, −1 where it is not recurrent.
    """
    width = len(scratch) // 3
    values = inputs
    for number in range(len(table)):
        start, recurrent_start, bias_start, num_outputs, memory_start = table[number]
        is_last = number == len(table) - 1
        sums = outputs if is_last else scratch[width * (number % 2) : width * (number % 2) + num_outputs]
        multiply(parameters[start:recurrent_start], values, sums)
        if memory_start >= 0:
            product = scratch[2 * width : 2 * width + num_outputs]
            remembered = memory[memory_start : memory_start + num_outputs]
            multiply(parameters[recurrent_start:bias_start], remembered, product)
            for unit in range(num_outputs):
                sums[unit] += product[unit]
        for unit in range(num_outputs):
            sums[unit] += parameters[bias_start + unit]
        if not is_last:
            tanh(sums)
            if memory_start >= 0:
                memory[memory_start : memory_start + num_outputs] = sums
            values = sums


@numba.njit(nogil=True)
@no_type_check
def multiply(weights, values, sums):
    """Writes the product of values and weights, a row per value, into sums."""
    num_outputs = len(sums)
    for unit in range(num_outputs):
        sums[unit] = values[0] * weights[unit]
    for index in range(1, len(values)):
        row = weights[index * num_outputs : (index + 1) * num_outputs]
        for unit in range(num_outputs):
            sums[unit] += values[index] * row[unit]


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
