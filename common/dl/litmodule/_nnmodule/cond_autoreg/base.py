"""The base of conditional autoregressive models (CAM).

Axes: B batch; L length; C numbers per step of the condition; T numbers per step of the target; O numbers per step that
the backbone gives.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from common.dl.litmodule._nnmodule.sequence import Cache, SequenceModel, refuse_empty
from common.utils.beartype import ge, shape_checked


@dataclass
class BaseCAMConfig:
    """Configures a conditional autoregressive model.

    Attributes:
        condition_size: Numbers per step of the conditioning sequence, C.
        target_size: Numbers per step of the target sequence, T.
        use_past: Whether the model sees the target's previous step: the true one when fitting (teacher forcing), its
            own one when free-running. If not, it sees zeros in its place, and each step follows from the condition
            alone.
    """

    condition_size: Annotated[int, ge(1)] = 1
    target_size: Annotated[int, ge(1)] = 1
    use_past: bool = True


class BaseCAM(nn.Module, ABC):
    """Predicts a target from a condition of the same length, step by step; step t sees the condition up to t.

    Fitting (`forward`) handles all steps at once, given the true target. Inference (`generate`) runs free: it feeds
    each step's prediction to the next, with the backbone's cache, which it makes anew for each call.

    Args:
        config: See the config's own fields.
        model_partial: Makes the backbone from `input_size` and `output_size`.
    """

    def __init__(self, config: BaseCAMConfig, model_partial: partial[SequenceModel]) -> None:
        super().__init__()
        self.config = config
        self.model = model_partial(input_size=config.condition_size + config.target_size, output_size=self.num_outputs)

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Numbers per step that the backbone gives, O."""

    @abstractmethod
    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Returns the loss, averaged over batch and steps.

        Args:
            outputs: What `forward` gave, B×L×O.
            target: The true target, B×L×T.
        """

    @abstractmethod
    def draw(self, outputs: Tensor, generator: Generator | None = None) -> Tensor:
        """Returns the target that outputs stand for: B×T, or B×L×T.

        Args:
            outputs: B×O, or B×L×O.
            generator: Random numbers, for models that draw some; null for torch's own.
        """

    @shape_checked
    def forward(
        self, condition: Float[Tensor, "B L C"], target: Float[Tensor, "B target_length T"]
    ) -> Float[Tensor, "B L O"]:
        """Returns the backbone's outputs for all steps at once, each given the true target before it.

        Args:
            condition: The conditioning sequence.
            target: The true target, of the same length.

        Raises:
            ValueError: a length or a size is not as it should be.
        """
        self._check(condition, target)
        previous = torch.zeros_like(target)
        if self.config.use_past:
            previous[:, 1:] = target[:, :-1]
        outputs: Tensor = self.model(torch.cat([condition, previous], dim=-1))
        return outputs

    def step(self, condition: Tensor, previous: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Returns one step's outputs, B×O, and what is remembered now.

        Args:
            condition: This step's condition, B×C.
            previous: The target's step before this one, B×T; zeros at the beginning.
            cache: From `self.model.make_cache(B)`, or from the step before.
        """
        previous = previous if self.config.use_past else torch.zeros_like(previous)
        return self.model.step(torch.cat([condition, previous], dim=-1), cache)

    @shape_checked
    @torch.no_grad()
    def generate(self, condition: Float[Tensor, "B L C"], generator: Generator | None = None) -> Float[Tensor, "B L T"]:
        """Returns a target made without knowing the true one.

        Args:
            condition: The conditioning sequence.
            generator: Random numbers, for models that draw some; null for torch's own.

        Raises:
            ValueError: the condition's size is not the configured one.
        """
        self._check(condition)
        batch_size, length = condition.shape[:2]
        previous = condition.new_zeros(batch_size, self.config.target_size)
        if not self.config.use_past:  # No step waits for another.
            zeros = previous.unsqueeze(1).expand(-1, length, -1)
            return self.draw(self.model(torch.cat([condition, zeros], dim=-1)), generator)
        cache, steps = self.model.make_cache(batch_size), []
        for now in condition.unbind(dim=1):
            outputs, cache = self.step(now, previous, cache)
            previous = self.draw(outputs, generator)
            steps.append(previous)
        return torch.stack(steps, dim=1)

    def _check(self, condition: Tensor, target: Tensor | None = None) -> None:
        refuse_empty(condition)
        for name, value in (("condition", condition), ("target", target)):
            size = getattr(self.config, f"{name}_size")
            if value is not None and value.shape[2] != size:
                raise ValueError(f"The {name} has {value.shape[2]} numbers per step; config.{name}_size is {size}.")
        if target is not None and target.shape[1] != condition.shape[1]:
            raise ValueError(
                f"Condition and target must have the same length; received a condition of length {condition.shape[1]} "
                f"and a target of length {target.shape[1]}."
            )
