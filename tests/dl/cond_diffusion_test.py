"""The diffusion transformer, its samplers and guidance."""

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
from common.dl.litmodule._nnmodule.cond_diffusion.sampling import guided, make_scheduler, sample
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


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_samplers_reach_the_data_that_a_perfect_network_knows(sampler: Any, prediction: Any) -> None:
    """All data is one signal, so the best prediction is known in closed form, and each sample is that signal."""
    signal = torch.sin(torch.arange(12.0)).view(1, 12, 1)
    scheduler = make_scheduler(sampler, 100, prediction)

    class Oracle(nn.Module):
        def forward(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
            kept = scheduler.alphas_cumprod[time].view(-1, 1, 1)
            noise = (noisy - kept.sqrt() * signal) / (1 - kept).sqrt()
            return noise if prediction == "epsilon" else scheduler.get_velocity(signal.expand_as(noise), noise, time)

    drawn = sample(Oracle(), scheduler, torch.zeros(4, 12, 1), 1, 50, 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, signal.expand(4, -1, -1), atol=0.05, rtol=0)


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


def test_sampling_takes_no_more_steps_than_there_are() -> None:
    with pytest.raises(ValueError, match=r"num_sampling_steps must be at most num_train_steps; received 200 and 100"):
        DiffusionLitModuleConfig(num_sampling_steps=200, num_train_steps=100)


def test_without_diffusers_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("diffusers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[diffusion\]'"):
        make_scheduler("ddim", 10, "epsilon")
