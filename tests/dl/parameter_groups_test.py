"""What weight decay pulls at."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Rprop

from common.dl.litmodule._nnmodule.mamba2 import Mamba2, Mamba2Config
from common.dl.litmodule.parameter_groups import decayed_and_not, weight_decay_of


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (partial(AdamW), 0.01),
        (partial(AdamW, weight_decay=0.3), 0.3),
        (partial(Adam, lr=1.0), 0.0),
        (partial(SGD, weight_decay=0), 0.0),
        (partial(Rprop), 0.0),
    ],
    ids=str,
)
def test_weight_decay_is_what_the_optimiser_will_be_built_with(optimizer: Any, expected: float) -> None:
    assert weight_decay_of(optimizer) == expected


def test_mamba2_decays_what_its_reference_decays(caplog: pytest.LogCaptureFixture) -> None:
    sizes: dict[str, Any] = {"input_size": 3, "output_size": 2, "hidden_size": 16, "head_size": 8, "state_size": 5}
    model = Mamba2(Mamba2Config(**sizes))
    with caplog.at_level("INFO"):
        decayed, exempt = decayed_and_not(list(model.parameters()))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    spared, pulled_at = (
        {re.sub(r"^blocks\.\d\.", "", names[id(parameter)]) for parameter in group["params"]}
        for group in (exempt, decayed)
    )
    assert {
        "mixer.A_log",
        "mixer.D",
        "mixer.dt_bias",
        "mixer.norm.weight",
        "mixer.conv1d.bias",
        "norm.weight",
    } <= spared
    matrices = {"embedding.weight", "mixer.in_proj.weight", "mixer.out_proj.weight", "head.weight"}
    assert pulled_at == {*matrices, "mixer.conv1d.weight"}
    assert exempt["weight_decay"] == 0.0
    assert len(names) == len(decayed["params"]) + len(exempt["params"])
    assert "not on biases, norms and other vectors" in caplog.text


def test_a_marked_matrix_is_left_alone_and_one_kind_makes_one_group() -> None:
    layer = nn.Linear(2, 2, bias=False)
    assert len(decayed_and_not(list(layer.parameters()))) == 1
    layer.weight._no_weight_decay = True  # type: ignore[assignment]
    (group,) = decayed_and_not(list(layer.parameters()))
    assert group["weight_decay"] == 0.0


@pytest.mark.parametrize("decay_vectors", [False, True])
def test_a_step_without_a_gradient_shrinks_only_what_decays(
    decay_vectors: bool, make_classifier: Callable[..., Any]
) -> None:
    module = make_classifier()
    module.config.decay_vectors = decay_vectors
    module.optimizer = partial(AdamW, lr=0.1, weight_decay=0.5)
    optimizer = module.configure_optimizers()["optimizer"]
    before = {name: parameter.detach().clone() for name, parameter in module.nnmodule.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in module.nnmodule.named_parameters():
        shrinks = decay_vectors or parameter.ndim > 1
        torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if shrinks else 1.0))
