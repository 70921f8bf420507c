"""The forward pass of one network of layers, compiled by Numba; imported only where it is used.

Compiled functions have no annotations: beartype wraps those that do, and Numba must see them as they are.

Sums run in the same order as in `layered.py`, one output beside the other, so they are the same to the last bit.
"""

from collections.abc import Callable
from typing import no_type_check

import numba
import numpy as np

from common.ne.utils.compiled_math import tanh


def compile_forward(layers: np.ndarray) -> Callable[..., None]:
    """Returns the compiled forward pass.

    Args:
        layers: For each layer: where its weights, recurrent weights and biases start, its inputs, its outputs, and
            where its outputs lie in the memory, −1 where it is not recurrent.
    """
    num_layers = len(layers)
    width = int(layers[:, 4].max())

    @numba.njit(nogil=True)
    @no_type_check
    def forward(arrays, individual, memory, inputs, outputs, scratch):
        parameters = arrays[0][individual]
        values = inputs
        for number in range(num_layers):
            start, recurrent_start, bias_start, num_inputs, num_outputs, memory_start = layers[number]
            is_last = number == num_layers - 1
            sums = outputs if is_last else scratch[width * (number % 2) : width * (number % 2) + num_outputs]
            sums[:] = values[0] * parameters[start : start + num_outputs]
            for index in range(1, num_inputs):
                begin = start + index * num_outputs
                for unit in range(num_outputs):
                    sums[unit] += values[index] * parameters[begin + unit]
            if memory_start >= 0:
                remembered = memory[memory_start : memory_start + num_outputs]
                add_product(sums, parameters, recurrent_start, remembered, num_outputs)
            for unit in range(num_outputs):
                sums[unit] += parameters[bias_start + unit]
            if not is_last:
                tanh(sums)
                if memory_start >= 0:
                    memory[memory_start : memory_start + num_outputs] = sums
                values = sums

    return forward  # type: ignore[no-any-return]


@numba.njit(nogil=True)
@no_type_check
def add_product(sums, parameters, start, values, num_outputs):
    """Adds the product of values and their weights, summed up first, as NumPy does."""
    product = np.zeros(num_outputs)
    for index in range(len(values)):
        begin = start + index * num_outputs
        for unit in range(num_outputs):
            product[unit] += values[index] * parameters[begin + unit]
    for unit in range(num_outputs):
        sums[unit] += product[unit]
