"""The diffusion transformer, its samplers and guidance."""

import itertools
import sys
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import ConstantLR

from common.dl.litmodule._nnmodule.cond_diffusion.dit1d1d import DiT1D1D, DiT1D1DConfig, DiTBlock, sinusoids
from common.dl.litmodule._nnmodule.cond_diffusion.sampling import guided, make_schedule, sample, sampling_times
from common.dl.litmodule.cond1d_target1d.diffusion import DiffusionLitModule, DiffusionLitModuleConfig
from common.errors import ConfigError

SIZES: dict[str, Any] = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "patch_size": 4}


def network(**settings: Any) -> DiT1D1D:
    torch.manual_seed(0)
    return DiT1D1D(DiT1D1DConfig(**SIZES | settings))


def trained(**settings: Any) -> DiT1D1D:
    """A network none of whose parameters is at its initial zero."""
    model = network(**settings)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def batch(size: int = 3, length: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(size, length, 1), torch.randint(1000, (size,)), torch.randn(size, length, 1)


def test_each_block_is_the_identity_at_first() -> None:
    for block in network().blocks:
        tokens = torch.randn(2, 5, 16)
        assert isinstance(block, DiTBlock)
        assert torch.equal(block(tokens, torch.randn(2, 16)), tokens)


def test_a_new_network_predicts_zeros() -> None:
    assert network()(*batch()).abs().max() == 0


def test_everything_that_is_given_matters() -> None:
    model, (noisy, time, condition) = trained(), batch()
    y = model(noisy, time, condition)
    assert not torch.allclose(model(noisy + 1, time, condition), y)
    assert not torch.allclose(model(noisy, (time + 500) % 1000, condition), y)
    assert not torch.allclose(model(noisy, time, condition + 1), y)
    assert not torch.allclose(model(noisy.flip(1), time, condition.flip(1)).flip(1), y)  # Places are told apart.


def test_a_sample_without_its_condition_does_not_depend_on_it() -> None:
    model, (noisy, time, condition) = trained(), batch()
    sees = torch.tensor([True, False, True])
    before, after = (model(noisy, time, value, sees) for value in (condition, condition + 1))
    changed = (before != after).flatten(1).any(dim=1)
    assert changed.tolist() == [True, False, True]
    assert torch.equal(before[sees], model(noisy, time, condition)[sees])


def test_sinusoids_are_cosines_and_sines_of_falling_frequency() -> None:
    values = sinusoids(torch.tensor([0, 3]), 4)
    expected = torch.tensor([[1, 1, 0, 0], [3.0, 0.03, 3.0, 0.03]])
    expected[1, :2], expected[1, 2:] = expected[1, :2].cos(), expected[1, 2:].sin()
    torch.testing.assert_close(values, expected)


class ExactDenoiser(nn.Module):
    """The best prediction where each number is drawn from Gaussians of equal weight, worked out by Bayes' rule."""

    def __init__(self, schedule: Any, means: list[float], deviation: float) -> None:
        super().__init__()
        self.schedule, self.means, self.variance = schedule, torch.tensor(means, dtype=torch.float64), deviation**2

    def forward(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        kept = self.schedule.alphas_cumprod.double()[time].view(-1, 1, 1, 1)
        distances = noisy.double().unsqueeze(-1) - kept.sqrt() * self.means
        variance = kept * self.variance + 1 - kept
        weights = (-(distances**2) / (2 * variance)).softmax(dim=-1)
        signal = (weights * (self.means + kept.sqrt() * self.variance / variance * distances)).sum(dim=-1)
        kept = kept.squeeze(-1)
        noise = (noisy - kept.sqrt() * signal) / (1 - kept).sqrt()
        is_velocity = self.schedule.config.prediction_type == "v_prediction"
        return (kept.sqrt() * noise - (1 - kept).sqrt() * signal if is_velocity else noise).float()


def drawn_exactly(
    prediction: Any, sampler: Any, num_steps: int, means: list[float], deviation: float, num_train_steps: int = 1000
) -> Tensor:
    schedule = make_schedule(num_train_steps, prediction)
    denoiser, generator = ExactDenoiser(schedule, means, deviation), torch.Generator().manual_seed(0)
    return sample(denoiser, schedule, torch.zeros(4000, 1, 1), 1, num_steps, 1.0, sampler, generator).flatten()


# Bounds of the deviation of N(1, 0.3²) after so many steps: one step gives its mean alone, many give all of it.
DEVIATIONS = {1: (0.0, 0.001), 2: (0.07, 0.09), 5: (0.16, 0.2), 25: (0.24, 0.29), 334: (0.285, 0.31)}


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize(("num_steps", "bounds"), [*DEVIATIONS.items(), (501, (0.285, 0.31)), (1000, (0.285, 0.31))])
def test_samples_of_a_known_gaussian_have_its_mean_and_deviation(
    sampler: Any, num_steps: int, bounds: tuple[float, float]
) -> None:
    drawn = drawn_exactly("v_prediction", sampler, num_steps, [1.0], 0.3)
    assert drawn.mean().item() == pytest.approx(1, abs=0.015)
    assert bounds[0] <= drawn.std().item() <= bounds[1]


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize(("num_train_steps", "num_steps"), [(1000, 99), (1000, 334), (100, 67), (7, 7), (50, 49)])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_samples_of_two_known_gaussians_are_theirs_in_equal_parts(
    prediction: Any, sampler: Any, num_train_steps: int, num_steps: int
) -> None:
    drawn = drawn_exactly(prediction, sampler, num_steps, [-1.0, 1.0], 0.1, num_train_steps)
    assert (drawn > 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    few = num_steps < 40
    assert drawn.abs().mean().item() == pytest.approx(1, abs=0.15 if few else 0.01)
    assert few or 0.07 <= drawn.abs().std().item() <= 0.12


@pytest.mark.parametrize(("num_train_steps", "num_steps"), [(1000, 25), (1000, 999), (1000, 501), (10, 3), (1, 1)])
def test_sampling_begins_at_the_noisiest_step_and_goes_down_evenly(num_train_steps: int, num_steps: int) -> None:
    times = sampling_times(make_schedule(num_train_steps, "v_prediction"), num_steps)
    gaps = [before - after for before, after in itertools.pairwise([*times, -1])]
    assert times[0] == num_train_steps - 1
    assert len(times) == num_steps
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) >= 1


@pytest.mark.parametrize(
    ("prediction", "num_steps", "fewest"), [("v_prediction", 0, 1), ("v_prediction", 101, 1), ("epsilon", 1, 3)]
)
def test_numbers_of_steps_that_cannot_be_walked_are_refused_with_those_that_can(
    prediction: Any, num_steps: int, fewest: int
) -> None:
    text = f"num_sampling_steps must be from {fewest} to 100 with num_train_steps=100 and prediction={prediction}; rec"
    with pytest.raises(ConfigError, match=f"{text}eived {num_steps}"):
        sampling_times(make_schedule(100, prediction), num_steps)


def test_guidance_is_a_line_through_both_predictions() -> None:
    model, (noisy, time, condition) = trained(), batch()
    nobody = torch.zeros(3, dtype=torch.bool)
    with_it, without = model(noisy, time, condition), model(noisy, time, condition, nobody)
    torch.testing.assert_close(guided(model, noisy, time, condition, 1.0), with_it)
    torch.testing.assert_close(guided(model, noisy, time, condition, 0.0), without)
    torch.testing.assert_close(guided(model, noisy, time, condition, 3.0), without + 3 * (with_it - without))


def litmodule(model: nn.Module, **settings: Any) -> DiffusionLitModule:
    config = DiffusionLitModuleConfig(num_train_steps=100, **settings)
    return DiffusionLitModule(config, model, partial(AdamW, lr=3e-3), partial(ConstantLR, factor=1.0, total_iters=0))


@pytest.mark.slow
def test_a_small_network_learns_eight_signals_by_heart_and_follows_its_guidance() -> None:
    """Each signal is a sine; the condition tells its phase."""
    torch.manual_seed(0)
    phases = torch.linspace(0, 2 * torch.pi, 9)[:8].view(8, 1, 1)
    target = torch.sin(torch.linspace(0, 6, 16).view(1, 16, 1) + phases)
    condition = torch.sin(phases + torch.tensor([0.0, torch.pi / 2])).unsqueeze(1).reshape(8, 1, 2).repeat(1, 16, 1)
    model = network(hidden_size=32, condition_size=2)
    module = litmodule(model, num_sampling_steps=50, average_decay=0.0)
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(500):
        indices = torch.randint(8, (64,))
        loss = module.compute_loss(model, condition[indices], target[indices], None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()
    errors = {}
    for guidance in (0.0, 1.0, 1.5):
        module.config.guidance = guidance
        errors[guidance] = functional.mse_loss(module.predict(condition)[0], target).sqrt().item()
    assert errors[1.0] < 0.25
    assert errors[1.5] < 0.35
    assert errors[0.0] > 0.6  # Without its condition a sample may be any of the eight.


def test_loss_is_that_of_noise_or_velocity() -> None:
    """A network that predicts zeros has the mean square of what was to be predicted: about 1 for both."""
    for prediction in ("epsilon", "v_prediction"):
        module = litmodule(network(), prediction=prediction)
        torch.manual_seed(0)
        loss = module.compute_loss(module.nnmodule, torch.zeros(512, 12, 1), torch.randn(512, 12, 1), None)
        assert loss.item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("noisy", "condition", "text"),
    [
        ((2, 12, 1), (2, 16, 1), "condition of length 16 and a target of length 12"),
        ((2, 10, 1), (2, 10, 1), r"length of 10 and config\.patch_size=4"),
        ((2, 12, 1), (2, 12, 3), r"condition has 3 numbers per step; config\.condition_size is 1"),
        ((2, 12, 2), (2, 12, 1), r"target has 2 numbers per step; config\.target_size is 1"),
    ],
)
def test_wrong_signals_are_refused(noisy: Any, condition: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        network()(torch.zeros(noisy), torch.zeros(2, dtype=torch.long), torch.zeros(condition))


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match="received hidden_size=16 and num_heads=3"):
        DiT1D1DConfig(hidden_size=16, num_heads=3)


def test_wrong_numbers_of_sampling_steps_are_refused_before_the_start() -> None:
    with pytest.raises(ConfigError, match="received 200"):
        litmodule(network(), num_sampling_steps=200)


def test_without_diffusers_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("diffusers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[diffusion\]'"):
        make_schedule(10, "epsilon")
