"""A feedforward network whose hidden layers all have one size.

Axes: B batch; I input, after flattening; O output.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from common.utils.beartype import ge, shape_checked


@dataclass
class FNNConfig:
    """Configures an `FNN`.

    Attributes:
        input_size: Numbers per sample, after flattening.
        hidden_size: Units of each hidden layer; without effect where there is one layer.
        num_layers: Linear layers, the last one included.
        output_size: Numbers that come out per sample.
    """

    input_size: Annotated[int, ge(1)]
    output_size: Annotated[int, ge(1)]
    hidden_size: Annotated[int, ge(1)] = 128
    num_layers: Annotated[int, ge(1)] = 1


class FNN(nn.Module):
    """Linear layers with ReLU between them: input, hidden × (number of layers − 1), output; none after the last.

    Args:
        config: See the config's own fields.
    """

    def __init__(self, config: FNNConfig) -> None:
        super().__init__()
        sizes = [config.input_size, *[config.hidden_size] * (config.num_layers - 1), config.output_size]
        layers: list[nn.Module] = [nn.Flatten()]
        for index, (size_in, size_out) in enumerate(pairwise(sizes)):
            layers += [nn.ReLU()] if index else []
            layers.append(nn.Linear(size_in, size_out))
        self.layers = nn.Sequential(*layers)

    @shape_checked
    def forward(self, x: Float[Tensor, " B *input_shape"]) -> Float[Tensor, " B O"]:
        """Returns the last layer's output.

        Args:
            x: Samples of any shape whose size is I after flattening.
        """
        output: Tensor = self.layers(x)
        return output
