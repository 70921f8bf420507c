"""What every network that turns a sequence into a sequence can do.

Axes: B batch; L length; I input size; O output size.
"""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from common.utils.beartype import shape_checked

Cache = Any
"""What a network remembers of the steps before, as tensors; each network has its own kind."""


class SequenceModel(nn.Module, ABC):
    """A causal network: the output at a step depends on the inputs up to that step.

    A whole sequence is processed at once by `forward`, or one step at a time by `step`, with equal results.
    """

    @shape_checked
    def forward(self, x: Float[Tensor, "B L I"]) -> Float[Tensor, "B L O"]:
        """Returns the outputs of whole sequences that begin here.

        Args:
            x: The inputs.

        Raises:
            ValueError: there is no sequence, or no step.
        """
        refuse_empty(x)
        return self.prefill(x, self.make_cache(len(x)))[0]

    @abstractmethod
    def make_cache(self, batch_size: int) -> Cache:
        """Returns the memory of sequences that have not begun."""

    @abstractmethod
    def prefill(self, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Processes several steps at once.

        Args:
            x: The inputs of these steps, B×L×I.
            cache: What is remembered of the steps before. It is not changed.

        Returns:
            The outputs, B×L×O, and what is remembered now.
        """

    @abstractmethod
    def step(self, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Processes one step, at a cost that does not depend on how many came before.

        Args:
            x: The inputs of this step, B×I.
            cache: What is remembered of the steps before. It is not changed.

        Returns:
            The outputs, B×O, and what is remembered now.
        """


def refuse_empty(sequences: Tensor) -> None:
    """Refuses B×L×… of which nothing can be learned, before some of torch's layers do so in other words, and some not.

    Raises:
        ValueError: there is no sequence, or no step.
    """
    if not len(sequences) or not sequences.shape[1]:
        raise ValueError(
            "A network of sequences needs at least one sequence of at least one step; received "
            f"{len(sequences)} of length {sequences.shape[1]}."
        )
