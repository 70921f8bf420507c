"""Before a network is compiled, one eager step checks it, and leaves no trace."""

from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from torch import nn

from common.dl.tuning import compile_network
from common.errors import ConfigError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _checks_on_again() -> Any:
    """Compiling switches jaxtyping's checks off for the process."""
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_checked_step_leaves_parameters_buffers_and_random_states_untouched(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any]
) -> None:
    module = make_classifier()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    randoms = torch.get_rng_state()
    compile_network(module, make_datamodule(map_style=True), CPU)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), randoms)


def test_wrong_shape_is_caught_by_the_checked_step(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any]
) -> None:
    module = make_classifier(nn.Unflatten(1, (2, 2)))
    with pytest.raises(Exception, match=r"Float\[Tensor, 'B K'\]"):
        compile_network(module, make_datamodule(), CPU)
    assert not jaxtyping.config.jaxtyping_disable


def test_network_is_compiled_in_place_and_shape_checks_are_off_after_the_step(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any]
) -> None:
    module = make_classifier()
    names = list(module.state_dict())
    compile_network(module, make_datamodule(), CPU)
    assert module.nnmodule._compiled_call_impl is not None
    assert list(module.state_dict()) == names
    assert jaxtyping.config.jaxtyping_disable


def test_missing_compiler_is_said_before_anything_else(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"config\.compile=true needs a C\+\+ compiler .* 'no-such-compiler'"):
        compile_network(make_classifier(), make_datamodule(), CPU)
