"""Conditional autoregression: fitting and free-running agree for each backbone, mixtures are what they should be."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from common.dl.litmodule._nnmodule.cond_autoreg.backbone import (
    FNNBackbone,
    FNNBackboneConfig,
    LSTMBackbone,
    Mamba2Backbone,
    RecurrentBackboneConfig,
    RNNBackbone,
)
from common.dl.litmodule._nnmodule.cond_autoreg.base import BaseCAM, BaseCAMConfig
from common.dl.litmodule._nnmodule.cond_autoreg.cdam import CDAM
from common.dl.litmodule._nnmodule.cond_autoreg.cgam import CGAM, MIN_LOG_SCALE, CGAMConfig
from common.dl.litmodule._nnmodule.mamba2 import Mamba2BlocksConfig
from common.dl.litmodule._nnmodule.sequence import SequenceModel

BACKBONES: dict[str, partial[SequenceModel]] = {
    "fnn": partial(FNNBackbone, FNNBackboneConfig(hidden_size=8, window_size=3)),
    "rnn": partial(RNNBackbone, RecurrentBackboneConfig(hidden_size=8, num_layers=2)),
    "lstm": partial(LSTMBackbone, RecurrentBackboneConfig(hidden_size=8, num_layers=2)),
    "mamba2": partial(Mamba2Backbone, Mamba2BlocksConfig(hidden_size=8, head_size=4, state_size=4, chunk_size=4)),
}
each_backbone = pytest.mark.parametrize("backbone", BACKBONES)
BATCH, LENGTH, CONDITION_SIZE, TARGET_SIZE = 3, 11, 2, 2


def cdam(backbone: str, **settings: Any) -> CDAM:
    torch.manual_seed(0)
    config = BaseCAMConfig(condition_size=CONDITION_SIZE, target_size=TARGET_SIZE, **settings)
    return CDAM(config, BACKBONES[backbone])


def cgam(backbone: str = "lstm", **settings: Any) -> CGAM:
    torch.manual_seed(0)
    sizes = {"condition_size": CONDITION_SIZE, "target_size": TARGET_SIZE}
    return CGAM(CGAMConfig(**sizes | settings), BACKBONES[backbone])


def signals(length: int = LENGTH) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(BATCH, length, CONDITION_SIZE), torch.randn(BATCH, length, TARGET_SIZE)


@each_backbone
@pytest.mark.parametrize("use_past", [True, False])
@pytest.mark.parametrize("make", [cdam, cgam])
def test_steps_that_are_fed_the_true_past_equal_fitting(make: Any, use_past: bool, backbone: str) -> None:
    model: BaseCAM = make(backbone, use_past=use_past)
    condition, target = signals()
    cache, previous, outputs = model.model.make_cache(BATCH), torch.zeros(BATCH, TARGET_SIZE), []
    for step in range(LENGTH):
        output, cache = model.step(condition[:, step], previous, cache)
        outputs.append(output)
        previous = target[:, step]
    torch.testing.assert_close(torch.stack(outputs, dim=1), model(condition, target), atol=1e-5, rtol=1e-5)


@each_backbone
@pytest.mark.parametrize("use_past", [True, False])
def test_free_running_is_fitting_to_ones_own_past(use_past: bool, backbone: str) -> None:
    model = cdam(backbone, use_past=use_past)
    condition, target = signals()
    generated = model.generate(condition)
    torch.testing.assert_close(model(condition, generated), generated, atol=1e-5, rtol=1e-5)
    assert torch.allclose(model(condition, target), generated) == (not use_past)


@each_backbone
def test_nothing_is_left_of_an_earlier_sequence(backbone: str) -> None:
    model = cdam(backbone)
    condition, _ = signals()
    first = model.generate(condition)
    model.generate(condition + 1)
    assert torch.equal(model.generate(condition), first)


@each_backbone
def test_a_backbone_goes_on_where_its_cache_ends(backbone: str) -> None:
    torch.manual_seed(0)
    model = BACKBONES[backbone](input_size=3, output_size=2)
    x = torch.randn(BATCH, LENGTH, 3)
    first, cache = model.prefill(x[:, :4], model.make_cache(BATCH))
    second, _ = model.prefill(x[:, 4:], cache)
    torch.testing.assert_close(torch.cat([first, second], dim=1), model(x), atol=1e-5, rtol=1e-5)


@each_backbone
def test_the_true_past_is_shifted_by_one_step(backbone: str) -> None:
    model = cdam(backbone)
    condition, target = signals()
    other = target.clone()
    other[:, 6] += 1
    differs = (model(condition, other) != model(condition, target)).any(dim=2).any(dim=0)
    assert not differs[:7].any()
    assert differs[7]


def test_a_window_is_all_that_a_feedforward_backbone_sees() -> None:
    model = BACKBONES["fnn"](input_size=1, output_size=1)
    x = torch.randn(1, LENGTH, 1)
    other = x.clone()
    other[:, 4] += 1
    assert (model(other) != model(x)).flatten().nonzero().flatten().tolist() == [4, 5, 6]


def test_discriminative_loss_is_the_mean_squared_error() -> None:
    outputs, target = signals()[1], signals()[1] + 2
    assert cdam("fnn").loss(outputs, target).item() == pytest.approx(4)


# --- the mixture


def reference(model: CGAM, outputs: Tensor) -> MixtureSameFamily:
    log_weights, means, log_scales = model.mixture(outputs)
    return MixtureSameFamily(Categorical(logits=log_weights), Independent(Normal(means, log_scales.exp()), 1))


def test_likelihood_is_that_of_torchs_mixture() -> None:
    model = cgam()
    _, target = signals()
    outputs = 2 * torch.randn(BATCH, LENGTH, model.num_outputs)
    expected = -reference(model, outputs).log_prob(target).mean()
    torch.testing.assert_close(model.loss(outputs, target), expected)


def test_likelihood_is_finite_where_densities_are_not() -> None:
    model = cgam()
    outputs = torch.full((1, 1, model.num_outputs), -100.0, requires_grad=True)
    loss = model.loss(outputs, torch.full((1, 1, TARGET_SIZE), 1e4))
    loss.backward()
    assert loss.isfinite()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert model.mixture(outputs)[2].min() == MIN_LOG_SCALE


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_samples_have_the_mixtures_moments(temperature: float) -> None:
    model = cgam(num_components=2, target_size=1, temperature=temperature)
    log_weights = torch.tensor([0.3, 0.7]).log()
    means, scales = torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 1.0])
    outputs = torch.cat([log_weights, means, scales.log()]).expand(100_000, -1)
    samples = model.draw(outputs, torch.Generator().manual_seed(0))
    weights = (log_weights / temperature).softmax(dim=0)
    mean = (weights * means).sum()
    variance = (weights * (temperature * scales**2 + means**2)).sum() - mean**2
    assert samples.mean().item() == pytest.approx(mean.item(), abs=0.02)
    assert samples.var().item() == pytest.approx(variance.item(), rel=0.02)


def test_samples_follow_from_the_generator() -> None:
    model, condition = cgam(), signals()[0]
    first, same, other = (model.generate(condition, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_a_fitted_model_draws_from_the_distribution_of_its_data() -> None:
    """Each step is one of two Gaussians; the condition says which has the greater weight."""
    torch.manual_seed(0)
    backbone = partial(FNNBackbone, FNNBackboneConfig(hidden_size=32, window_size=1))
    model = CGAM(CGAMConfig(num_components=3, use_past=False), backbone)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        condition = torch.randint(2, (64, 8, 1)).float()
        loss = model.loss(model(condition, target := two_gaussians(condition)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for value in (0.0, 1.0):
        condition = torch.full((2000, 8, 1), value)
        drawn, expected = model.generate(condition), two_gaussians(condition)
        assert drawn.mean().item() == pytest.approx(expected.mean().item(), abs=0.1)
        assert drawn.var().item() == pytest.approx(expected.var().item(), rel=0.1)


def two_gaussians(condition: Tensor) -> Tensor:
    is_upper = torch.rand_like(condition) < 0.2 + 0.6 * condition
    return torch.where(is_upper, 1.5, -1.0) + torch.where(is_upper, 0.3, 0.6) * torch.randn_like(condition)


# --- mistakes


@pytest.mark.parametrize(
    ("condition", "target", "text"),
    [
        ((3, 5, 2), (3, 7, 2), "condition of length 5 and a target of length 7"),
        ((3, 5, 1), (3, 5, 2), r"condition has 1 numbers per step; config\.condition_size is 2"),
        ((3, 5, 2), (3, 5, 4), r"target has 4 numbers per step; config\.target_size is 2"),
    ],
)
def test_wrong_signals_are_refused(condition: Any, target: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cdam("fnn")(torch.zeros(condition), torch.zeros(target))


def test_wrong_condition_is_refused_when_generating() -> None:
    with pytest.raises(ValueError, match=r"config\.condition_size is 2"):
        cdam("fnn").generate(torch.zeros(1, 4, 3))


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (CGAMConfig, {"num_components": 0}),
        (CGAMConfig, {"temperature": 0.0}),
        (BaseCAMConfig, {"target_size": 0}),
        (FNNBackboneConfig, {"window_size": 0}),
        (RecurrentBackboneConfig, {"hidden_size": 0}),
    ],
)
def test_wrong_values_are_refused(config: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        config(**wrong)


def test_backbones_have_the_documented_layers() -> None:
    rnn, lstm = (BACKBONES[name](input_size=3, output_size=2) for name in ("rnn", "lstm"))
    assert any(type(layer) is nn.RNN and layer.num_layers == 2 for layer in rnn.modules())
    assert any(type(layer) is nn.LSTM and layer.hidden_size == 8 for layer in lstm.modules())


def test_a_spike_has_a_bounded_likelihood() -> None:
    model = cgam(num_components=1, target_size=1)
    outputs = torch.tensor([[[0.0, 0.0, -1e6]]])
    expected = MIN_LOG_SCALE + 0.5 * math.log(2 * math.pi)
    assert model.loss(outputs, torch.zeros(1, 1, 1)).item() == pytest.approx(expected)
