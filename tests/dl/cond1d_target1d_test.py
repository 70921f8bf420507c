"""Signals from signals: the average of the parameters, predictions, metrics and pictures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from common.dl.litmodule._nnmodule.cond_autoreg.backbone import LSTMBackbone, RecurrentBackboneConfig
from common.dl.litmodule._nnmodule.cond_autoreg.base import BaseCAMConfig
from common.dl.litmodule._nnmodule.cond_autoreg.cdam import CDAM
from common.dl.litmodule.cond1d_target1d.autoregression import AutoregressionLitModule
from common.dl.litmodule.cond1d_target1d.base import (
    BaseCond1DTarget1DLitModule,
    BaseCond1DTarget1DLitModuleConfig,
    ExponentialAverage,
)
from common.dl.litmodule.cond1d_target1d.calibration import central_interval, part_within
from common.dl.litmodule.cond1d_target1d.plots import plot_reliability, plot_signals

SCHEDULER = partial(ConstantLR, factor=1.0, total_iters=0)


class Noisy(BaseCond1DTarget1DLitModule):
    """Predicts the network's output with noise of standard deviation 1."""

    def compute_loss(
        self, network: nn.Module, condition: Tensor, target: Tensor, generator: Generator | None
    ) -> Tensor:
        """The mean squared error."""
        return (network(condition) - target).square().mean()

    def draw(self, network: nn.Module, condition: Tensor, generator: Generator) -> Tensor:
        """Adds noise."""
        return network(condition) + torch.empty_like(condition).normal_(generator=generator)


def noisy(**settings: Any) -> Noisy:
    torch.manual_seed(0)
    config = BaseCond1DTarget1DLitModuleConfig(**settings)
    return Noisy(config, nn.Linear(1, 1), partial(SGD, lr=0.1), SCHEDULER)


def autoregression() -> AutoregressionLitModule:
    torch.manual_seed(0)
    model = CDAM(BaseCAMConfig(), partial(LSTMBackbone, RecurrentBackboneConfig(hidden_size=4)))
    return AutoregressionLitModule(BaseCond1DTarget1DLitModuleConfig(), model, partial(SGD, lr=0.1), SCHEDULER)


def test_average_follows_the_network_by_its_decay() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = ExponentialAverage(network, decay=0.5)
    expected, values = 0.0, (1.0, 3.0, -2.0, 8.0, 5.0, 1.0, 7.0, 2.0, 4.0, 6.0, 3.0)
    for number, value in enumerate(values):
        network.weight.data.fill_(value)
        average.update_parameters(network)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = value if number == 0 else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected)


def test_average_is_not_trained_but_saved() -> None:
    module = noisy()
    optimizer = module.configure_optimizers()["optimizer"]
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in trained} == {id(parameter) for parameter in module.nnmodule.parameters()}
    assert {"average.module.weight", "average.n_averaged"} <= set(module.state_dict())


def test_average_is_used_outside_of_training() -> None:
    module = noisy()
    assert module.average is not None
    assert module.train().network is module.nnmodule
    assert module.eval().network is module.average.module
    assert noisy(average_decay=0.0).eval().network is not None
    module = noisy(average_decay=0.0)
    assert module.eval().network is module.nnmodule


def test_fitting_updates_the_average_at_each_batch(
    make_trainer: Callable[..., Any], make_datamodule: Callable[..., Any]
) -> None:
    module, data = autoregression(), make_datamodule(train=8, val=4, test=4, batch_size=4)
    for name in ("train", "val", "test"):
        dataset = getattr(data.datasets, name)
        dataset.tensors = tuple(torch.randn(len(dataset), 6, 1) for _ in range(2))
    trainer = make_trainer(max_epochs=2)
    trainer.fit(module, datamodule=data)
    assert module.average is not None
    assert module.average.n_averaged == 4
    metrics = trainer.test(module, datamodule=data, verbose=False)[0]
    condition, target = data.datasets.test.tensors
    prediction = module.eval().predict(condition)[0]
    expected = (prediction - target).square().mean().sqrt() / target.std(correction=0)
    assert metrics["test/nrmse"] == pytest.approx(expected.item(), rel=1e-3)
    assert "test/coverage" not in metrics


def test_prediction_is_the_same_for_the_same_seed() -> None:
    module, condition = noisy(num_samples=3).eval(), torch.randn(2, 5, 1)
    assert module.predict(condition).shape == (3, 2, 5, 1)
    assert torch.equal(module.predict(condition, 1), module.predict(condition, 1))
    assert not torch.equal(module.predict(condition, 1), module.predict(condition, 2))
    assert not torch.equal(*module.predict(condition)[:2])


def test_coverage_is_the_part_within_the_interval() -> None:
    module, condition = noisy(num_samples=200).eval(), torch.zeros(50, 20, 1)
    with torch.no_grad():
        centre = module.network(condition)
    for scale, expected in ((1.0, 0.9), (0.0, 1.0), (100.0, 0.0)):
        module.coverage.reset()
        torch.manual_seed(0)
        module._test(condition, centre + scale * torch.randn(50, 20, 1), 0)
        assert module.coverage.compute().item() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("num_samples", [2, 5, 8, 16, 64])
def test_the_interval_of_calibrated_samples_covers_what_it_says_however_few_they_are(num_samples: int) -> None:
    torch.manual_seed(0)
    samples, target = torch.randn(num_samples, 40_000), torch.randn(40_000)
    for level in (0.5, 0.8, 0.9):
        assert part_within(samples, target, level).mean().item() == pytest.approx(level, abs=0.01)


def test_too_wide_and_too_narrow_intervals_are_told_from_right_ones() -> None:
    torch.manual_seed(0)
    samples, target = torch.randn(16, 40_000), torch.randn(40_000)
    assert part_within(1.25 * samples, target, 0.9).mean().item() > 0.94
    assert part_within(0.8 * samples, target, 0.9).mean().item() < 0.85


def test_a_target_counts_by_the_gaps_that_it_may_lie_in() -> None:
    """Four samples leave five gaps of 0.2: at 0.9 the outer ones lie within by 0.15 of 0.2, at 0.5 by nothing."""
    samples, target = torch.tensor([3.0, 1.0, 2.0, 4.0]).unsqueeze(1), torch.tensor([0.0, 1.5, 2.5, 9.0])
    samples = samples.expand(4, 4)
    torch.testing.assert_close(part_within(samples, target, 0.9), torch.tensor([0.75, 1.0, 1.0, 0.75]))
    torch.testing.assert_close(part_within(samples, target, 0.5), torch.tensor([0.0, 0.75, 1.0, 0.0]))
    tied = part_within(torch.tensor([1.0, 1.0, 1.0, 1.0]).unsqueeze(1), torch.tensor([1.0]), 0.5)
    torch.testing.assert_close(tied, torch.tensor([0.5]))


@pytest.mark.parametrize(("num_samples", "places", "probability"), [(16, (0, 15), 15 / 17), (64, (2, 61), 59 / 65)])
def test_the_interval_that_is_drawn_has_the_probability_that_is_told(
    num_samples: int, places: tuple[int, int], probability: float
) -> None:
    samples = torch.arange(float(num_samples)).flip(0).unsqueeze(1)
    low, high, level = central_interval(samples, 0.9)
    assert (low.item(), high.item()) == places
    assert level == pytest.approx(probability)


def test_a_plot_of_reliability_shows_each_interval_against_what_it_should_hold() -> None:
    torch.manual_seed(0)
    (axes,) = plot_reliability(torch.randn(30, 5000), 2 * torch.randn(5000)).axes
    line = next(line for line in axes.lines if line.get_label() == "predicted intervals")
    held = np.interp(0.5, line.get_xdata(), line.get_ydata())
    assert held == pytest.approx(0.264, abs=0.03)  # Within 0.674 of a normal whose deviation is 2.


def test_the_score_is_that_of_a_normal_distribution() -> None:
    """Gneiting and Raftery 2007, equation 21: at the mean of N(0, 1) it is (√2 − 1) / √π."""
    module = noisy(num_samples=400).eval()
    condition = torch.zeros(20, 20, 1)
    with torch.no_grad():
        module._test(condition, module.network(condition), 0)
    assert module.crps.compute().item() == pytest.approx((2**0.5 - 1) / torch.pi**0.5, abs=0.01)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    module = noisy(num_samples=4).eval()
    paths = module.save_plots((torch.randn(9, 12, 1), torch.randn(9, 12, 1)), tmp_path)
    assert [path.name for path in paths] == ["samples.png", "reliability.png"]
    assert all(path.stat().st_size > 10_000 for path in paths)
    assert len(noisy().eval().save_plots((torch.randn(9, 12, 1), torch.randn(9, 12, 1)), tmp_path)) == 1


def test_a_picture_shows_condition_target_prediction_and_interval() -> None:
    torch.manual_seed(0)
    condition, target, samples = torch.randn(3, 10, 1), torch.randn(3, 10, 1), torch.randn(5, 3, 10, 1)
    figure = plot_signals(condition, target, samples)
    shown = [axes for axes in figure.axes if axes.lines]
    assert len(shown) == 3
    lines = {line.get_label(): torch.tensor(line.get_ydata()) for line in shown[1].lines}
    torch.testing.assert_close(lines["condition"], condition[1, :, 0])
    torch.testing.assert_close(lines["target"], target[1, :, 0])
    torch.testing.assert_close(lines["prediction"], samples[:, 1, :, 0].mean(dim=0))
    assert len(shown[1].collections) == 1


def test_tables_show_pictures() -> None:
    picture = noisy().view_sample("signals", torch.randn(3, 10)).image
    assert min(picture.size) > 200
    assert len(picture.getcolors(maxcolors=1_000_000)) > 50


@pytest.mark.parametrize("wrong", [{"average_decay": 1.0}, {"num_samples": 0}], ids=str)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        BaseCond1DTarget1DLitModuleConfig(**wrong)
