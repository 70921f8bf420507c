"""The step of networks, compiled by Numba; imported only where it is used.

What is computed, and in which order, is what the NumPy modules of the same names compute: the results are the same to
the last bit but for tanh. Compiled functions have no annotations: beartype wraps those that do, and Numba must see
them as they are.
"""

import math
from typing import no_type_check

import numba
import numpy as np

from common.ne.compiled.tanh import tanh, tanh_of
from common.ne.compiled.vector import WIDTH, filled, load, store
from common.ne.population.networks.base import DYNAMIC
from common.ne.population.networks.dynamic import EPSILON

ZERO, ONE, EIGHT = np.uint64(0), np.uint64(1), np.uint64(WIDTH)
"""Places are unsigned here, which needs no look at whether they count from the end; slices would be counted references.
Numba makes floats of a signed and an unsigned number."""


@numba.njit(nogil=True, forceinline=True)
@no_type_check
def forward(kind, num_lanes, numbers, indices, table, memory, inputs, outputs, scratch):
    """Runs one step of the networks of some lanes, whose numbers lie side by side in each array.

    Args:
        kind: Which kind of network.
        num_lanes: `WIDTH`, which layers alone can do, or 1.
        numbers: The individuals' rows of `KernelArrays.numbers`, with room for a vector more.
        indices: The only individual's row of `KernelArrays.indices`.
        table: `KernelArrays.table`.
        memory: What the networks remember; changed.
        inputs: What they are shown.
        outputs: Takes what they return, with room for a vector more.
        scratch: Twice the room for `KernelArrays.num_units` numbers of each and a vector more.
    """
    if kind == DYNAMIC:
        forward_dynamic(numbers, indices, table, memory, inputs, outputs, scratch)
    elif num_lanes == WIDTH:
        forward_layered(True, table, numbers, memory, inputs, outputs, scratch)
    else:
        forward_layered(False, table, numbers, memory, inputs, outputs, scratch)


@numba.njit(nogil=True, error_model="numpy", forceinline=True)
@no_type_check
def forward_layered(is_side_by_side, table, parameters, memory, inputs, outputs, scratch):
    """See `forward` and `layered.py`. The table has a row for each layer.

    Its columns: where weights, recurrent weights and biases start; outputs; where the layer's outputs lie in
    the memory, −1 where it is not recurrent. Layers read one half of the scratch space and write the other in turn.

    A vector holds the same unit of all networks, if these are side by side (a constant), or eight units of the only
    one; then what comes of units beyond the last is never read.
    """
    stride, step = (EIGHT, ONE) if is_side_by_side else (ONE, EIGHT)
    half = np.uint64(len(scratch) // 2)
    source, values, num_values = ZERO, inputs, np.uint64(len(inputs)) // stride
    for number in range(len(table)):
        weights, recurrent, bias = np.uint64(table[number, 0]), np.uint64(table[number, 1]), np.uint64(table[number, 2])
        num_units, is_recurrent = np.uint64(table[number, 3]), table[number, 4] >= 0
        remembered = np.uint64(max(0, table[number, 4])) * stride
        target = half * np.uint64(number % 2)
        for unit in range(ZERO, num_units, step):
            total = dot(is_side_by_side, values, source, num_values, parameters, weights + unit, num_units)
            if is_recurrent:
                total = total + dot(
                    is_side_by_side, memory, remembered, num_units, parameters, recurrent + unit, num_units
                )
            total = total + load(parameters, (bias + unit) * stride)
            if number == len(table) - 1:
                store(outputs, unit * stride, total)
            else:
                store(scratch, target + unit * stride, tanh_of(total))
        if is_recurrent:
            for place in range(num_units * stride):
                memory[remembered + place] = scratch[target + place]
        source, values, num_values = target, scratch, num_units


@numba.njit(nogil=True, forceinline=True)
@no_type_check
def dot(is_side_by_side, values, source, num_values, weights, start, num_units):
    """Returns sums of weighted values, of one unit side by side, or of eight; `weights` has a row for each value."""
    if is_side_by_side:
        total = load(values, source) * load(weights, start * EIGHT)
        for index in range(ONE, num_values):
            weight = load(weights, (start + index * num_units) * EIGHT)
            total = total + load(values, source + index * EIGHT) * weight
        return total
    total = filled(values[source]) * load(weights, start)
    for index in range(ONE, num_values):
        total = total + filled(values[source + index]) * load(weights, start + index * num_units)
    return total


@numba.njit(nogil=True, error_model="numpy", forceinline=True)
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
