"""The sequence models that a conditional autoregressive model can be built around.

Each is made from its config, and from the sizes that the model around it needs.

Axes: B batch; L length; I input size; O output size; W window.
"""

from dataclasses import asdict, dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from common.dl.litmodule._nnmodule.feedforward import FNN, FNNConfig
from common.dl.litmodule._nnmodule.mamba2 import Mamba2, Mamba2BlocksConfig, Mamba2Config
from common.dl.litmodule._nnmodule.sequence import Cache, SequenceModel
from common.utils.beartype import ge


@dataclass
class FNNBackboneConfig:
    """Configures an `FNNBackbone`.

    Attributes:
        hidden_size: Units of each hidden layer.
        num_layers: Linear layers, the last one included.
        window_size: Steps that the network sees at once, the current one included, W.
    """

    hidden_size: Annotated[int, ge(1)] = 128
    num_layers: Annotated[int, ge(1)] = 3
    window_size: Annotated[int, ge(1)] = 16


class FNNBackbone(SequenceModel):
    """A feedforward network over the last steps; before the beginning there are zeros.

    Args:
        config: See the config's own fields.
        input_size: Numbers per step that go in, I.
        output_size: Numbers per step that come out, O.
    """

    def __init__(self, config: FNNBackboneConfig, input_size: int, output_size: int) -> None:
        super().__init__()
        self.window_size, self.input_size = config.window_size, input_size
        sizes = {"hidden_size": config.hidden_size, "num_layers": config.num_layers}
        self.network = FNN(FNNConfig(input_size=config.window_size * input_size, output_size=output_size, **sizes))

    def make_cache(self, batch_size: int) -> Tensor:
        """Returns the steps before the beginning, B×(W−1)×I: zeros."""
        weight = next(self.parameters())
        return weight.new_zeros(batch_size, self.window_size - 1, self.input_size)

    def prefill(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Processes several steps at once; see `SequenceModel`."""
        known = torch.cat([cache, x], dim=1)
        windows = known.unfold(1, self.window_size, 1).flatten(0, 1)  # One sample per step.
        return self.network(windows).unflatten(0, x.shape[:2]), known[:, x.shape[1] :]

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Processes one step; see `SequenceModel`."""
        y, cache = self.prefill(x.unsqueeze(1), cache)
        return y.squeeze(1), cache


@dataclass
class RecurrentBackboneConfig:
    """Configures an `RNNBackbone` or an `LSTMBackbone`.

    Attributes:
        hidden_size: Units per layer.
        num_layers: Recurrent layers.
    """

    hidden_size: Annotated[int, ge(1)] = 128
    num_layers: Annotated[int, ge(1)] = 1


class RecurrentBackbone(SequenceModel):
    """Recurrent layers and a linear one.

    Args:
        layers: Torch's recurrent layers. What they remember is torch's own; None stands for zeros.
        output_size: Numbers per step that come out, O.
    """

    def __init__(self, layers: nn.RNN | nn.LSTM, output_size: int) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(layers.hidden_size, output_size)

    def make_cache(self, batch_size: int) -> Cache:
        """Returns the memory of sequences that have not begun."""
        return None

    def prefill(self, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Processes several steps at once; see `SequenceModel`."""
        y, cache = self.layers(x, cache)
        return self.head(y), cache

    def step(self, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Processes one step; see `SequenceModel`."""
        y, cache = self.prefill(x.unsqueeze(1), cache)
        return y.squeeze(1), cache


class RNNBackbone(RecurrentBackbone):
    """The network of Elman 1990, "Finding structure in time", Cognitive Science 14, with tanh.

    Args:
        config: See the config's own fields.
        input_size: Numbers per step that go in, I.
        output_size: Numbers per step that come out, O.
    """

    def __init__(self, config: RecurrentBackboneConfig, input_size: int, output_size: int) -> None:
        super().__init__(nn.RNN(input_size, config.hidden_size, config.num_layers, batch_first=True), output_size)


class LSTMBackbone(RecurrentBackbone):
    """Long short-term memory: Hochreiter and Schmidhuber 1997, Neural Computation 9, with torch's gates.

    Args:
        config: See the config's own fields.
        input_size: Numbers per step that go in, I.
        output_size: Numbers per step that come out, O.
    """

    def __init__(self, config: RecurrentBackboneConfig, input_size: int, output_size: int) -> None:
        super().__init__(nn.LSTM(input_size, config.hidden_size, config.num_layers, batch_first=True), output_size)


class Mamba2Backbone(Mamba2):
    """A `Mamba2` of the sizes that are asked for.

    Args:
        config: See the config's own fields.
        input_size: Numbers per step that go in, I.
        output_size: Numbers per step that come out, O.
    """

    def __init__(self, config: Mamba2BlocksConfig, input_size: int, output_size: int) -> None:
        super().__init__(Mamba2Config(**asdict(config), input_size=input_size, output_size=output_size))
