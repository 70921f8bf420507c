"""The base of Lightning modules that predict a 1-D signal from a 1-D conditioning signal.

Axes: B batch; L length; C numbers per step of the condition; T numbers per step of the target; S samples drawn per
condition. In pictures, the first numbers of a step are drawn.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from torchmetrics import MeanMetric
from torchmetrics.regression import ContinuousRankedProbabilityScore, NormalizedRootMeanSquaredError

from common.dl.litmodule.base import BaseLitModule, BaseLitModuleConfig
from common.dl.litmodule.cond1d_target1d.calibration import part_within
from common.dl.litmodule.cond1d_target1d.plots import draw_pixels, plot_reliability, plot_signals
from common.run.plots import save_figure
from common.utils.beartype import ge, lt, shape_checked


class ExponentialAverage(AveragedModel):
    """A copy of a network whose parameters follow the network's: p̄ ← d·p̄ + (1 − d)·p.

    The decay d rises from 0.1 to the given one, as (1 + n) / (10 + n) after n updates, so that the copy soon forgets
    the parameters that the network began with.

    Attributes:
        module: The copy; its parameters ask for no gradient.

    Args:
        network: The network to follow.
        decay: The final d.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, avg_fn=self._average)
        self.decay = decay
        self.requires_grad_(requires_grad=False)

    def _average(self, averaged: Tensor, current: Tensor, num_updates: Tensor | int) -> Tensor:
        decay = min(self.decay, (1 + float(num_updates)) / (10 + float(num_updates)))
        return averaged.lerp(current, 1 - decay)


COVERED = 0.9
"""The part of the targets that `coverage` should find within a sampled prediction's interval."""

NUM_PLOTTED_SIGNALS = 6


@dataclass
class BaseCond1DTarget1DLitModuleConfig(BaseLitModuleConfig):
    """Configures a Lightning module that predicts a signal from a signal.

    Attributes:
        average_decay: Decay of the exponential moving average of the network's parameters, per training batch. The
            average is what is validated, tested and used for predictions; 0 switches it off.
        num_samples: Targets that are drawn for each condition when testing. Their mean is the prediction. From 2 on,
            the part of the targets that lies within the samples' 90 % interval is logged as `coverage`, and the
            continuous ranked probability score, in the target's unit, as `crps`.
    """

    average_decay: Annotated[float, ge(0), lt(1)] = 0.995
    num_samples: Annotated[int, ge(1)] = 1


class BaseCond1DTarget1DLitModule(BaseLitModule):
    """Predicts signals; a subclass says what the loss is and how a prediction is made.

    A batch is a condition, B×L×C, and a target, B×L×T. Validation looks at the loss alone; testing also predicts
    without the true target, and logs the root mean square error divided by the targets' standard deviation (`nrmse`).
    """

    config: BaseCond1DTarget1DLitModuleConfig

    def __init__(
        self,
        config: BaseCond1DTarget1DLitModuleConfig,
        nnmodule: nn.Module,
        optimizer: partial[Optimizer],
        scheduler: partial[LRScheduler],
    ) -> None:
        super().__init__(config, nnmodule, optimizer, scheduler)
        self.average = ExponentialAverage(nnmodule, config.average_decay) if config.average_decay else None
        self.nrmse = NormalizedRootMeanSquaredError(normalization="std")
        self.coverage = MeanMetric()
        self.crps = ContinuousRankedProbabilityScore()

    @abstractmethod
    def compute_loss(
        self, network: nn.Module, condition: Tensor, target: Tensor, generator: Generator | None
    ) -> Tensor:
        """Returns the loss of a batch.

        Args:
            network: The network, or its average.
            condition: B×L×C.
            target: B×L×T.
            generator: Random numbers, for losses that draw some; null in training, for torch's own.
        """

    @abstractmethod
    def draw(self, network: nn.Module, condition: Tensor, generator: Generator) -> Tensor:
        """Returns a target for each condition, B×L×T, made without knowing the true one.

        Args:
            network: The network, or its average.
            condition: B×L×C.
            generator: Random numbers.
        """

    @property
    def network(self) -> nn.Module:
        """The network in training, otherwise its average, if one is kept."""
        if self.training or self.average is None:
            return self.nnmodule
        averaged: nn.Module = self.average.module
        return averaged

    def step(self, batch: Sequence[Tensor], batch_idx: int) -> Mapping[str, Any]:
        """Computes the loss and, when testing, what a prediction is worth.

        Random numbers outside of training follow from the batch's number, so that each validation looks at the same.
        """
        condition, target = batch
        generator = None if self.stage == "train" else self._generator(batch_idx)
        output: dict[str, Any] = {"loss": self.compute_loss(self.network, condition, target, generator)}
        if self.stage == "test":
            output |= self._test(condition, target, batch_idx)
        if self.wants_samples:
            self._keep_signals(condition, target)
        return output

    @shape_checked
    def predict(self, condition: Float[Tensor, "B L C"], seed: int = 0) -> Float[Tensor, "S B L T"]:
        """Returns `num_samples` targets for each condition, made without knowing the true ones.

        Args:
            condition: The conditioning signals, as the data module serves them.
            seed: Decides the samples.
        """
        num_samples = self.config.num_samples
        repeated = condition.repeat(num_samples, 1, 1)  # One batch: a step costs little more for many than for one.
        with torch.no_grad():
            drawn = self.draw(self.network, repeated, self._generator(seed))
        samples: Tensor = drawn.unflatten(0, (num_samples, -1))
        return samples

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Lets the average follow the network."""
        if self.average is not None:
            self.average.update_parameters(self.nnmodule)

    def view_sample(self, name: str, value: Tensor) -> Any:
        """Shows signals as a picture."""
        if name != "signals":
            return super().view_sample(name, value)
        import wandb

        condition, target, prediction = value.unsqueeze(1).unsqueeze(-1)
        return wandb.Image(draw_pixels(plot_signals(condition, target, prediction.unsqueeze(0))))

    def save_plots(self, batch: Any, folder: Path) -> list[Path]:
        """Draws conditions, targets and predictions, and how far intervals of several samples can be relied on."""
        condition, target = batch
        samples = self.predict(condition)
        shown = slice(NUM_PLOTTED_SIGNALS)
        figures = {"samples": plot_signals(condition[shown].cpu(), target[shown].cpu(), samples[:, shown].cpu())}
        if len(samples) > 1:
            figures["reliability"] = plot_reliability(samples.cpu(), target.cpu())
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
        return [folder / f"{name}.png" for name in figures]

    def _generator(self, seed: int) -> Generator:
        return Generator(self.device).manual_seed(seed)

    def _test(self, condition: Tensor, target: Tensor, batch_idx: int) -> dict[str, Any]:
        samples = self.predict(condition, batch_idx)
        self.nrmse.update(samples.mean(dim=0).flatten(), target.flatten())
        if len(samples) == 1:
            return {"nrmse": self.nrmse}
        self.coverage.update(part_within(samples, target, COVERED))
        self.crps.update(samples.flatten(1).T, target.flatten())
        return {"nrmse": self.nrmse, "coverage": self.coverage, "crps": self.crps}

    def _keep_signals(self, condition: Tensor, target: Tensor) -> None:
        """Keeps the first numbers per step of condition, target and prediction for W&B."""
        count = self.config.wandb_num_samples
        predictions = self.predict(condition[:count]).mean(dim=0)
        signals = torch.stack([part[:count, :, 0] for part in (condition, target, predictions)], dim=1)
        self.keep_samples(signals=signals)
