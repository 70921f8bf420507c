"""Feedforward networks: one whose hidden layers all have one size, and one with a list of layer sizes and dropout.

Axes: B batch; I input, after flattening; O output.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from jaxtyping import Float
from torch import Tensor, nn

from common.utils.beartype import ge, lt, shape_checked


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


Activation = Literal["relu", "gelu", "silu", "tanh"]

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@dataclass
class MLPConfig:
    """Configures an `MLP`.

    Attributes:
        layer_sizes: The input's size after flattening, then each layer's number of outputs: at least two numbers.
        activation: Between layers; none after the last.
        dropout: Probability with which a hidden unit is zeroed in training (Srivastava et al. 2014, "Dropout", JMLR
            15), from 0 to below 1.
    """

    layer_sizes: list[Annotated[int, ge(1)]]
    activation: Activation = "relu"
    dropout: Annotated[float, ge(0), lt(1)] = 0.0

    def __post_init__(self) -> None:
        """Checks the sizes together.

        Raises:
            ValueError: there are fewer than two sizes, or one is below 1.
        """
        if len(self.layer_sizes) < 2:
            raise ValueError(f"layer_sizes needs at least an input and an output size; received {self.layer_sizes}.")
        if min(self.layer_sizes) < 1:  # Beartype looks at one item of a list, chosen at random.
            raise ValueError(f"layer_sizes must all be at least 1; received {self.layer_sizes}.")


class MLP(nn.Module):
    """Linear layers, each but the last followed by an activation and dropout. Flattens its input.

    Args:
        config: See the config's own fields.
    """

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for index, (size_in, size_out) in enumerate(pairwise(config.layer_sizes)):
            if index:
                layers.append(_ACTIVATIONS[config.activation]())
                layers += [nn.Dropout(config.dropout)] if config.dropout else []
            layers.append(nn.Linear(size_in, size_out))
        self.layers = nn.Sequential(*layers)

    @shape_checked
    def forward(self, x: Float[Tensor, " B *input_shape"]) -> Float[Tensor, " B O"]:
        """Returns the last layer's output.

        Args:
            x: Samples of any shape whose size after flattening is the first of `layer_sizes`.
        """
        output: Tensor = self.layers(x)
        return output
