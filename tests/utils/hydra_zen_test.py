"""The builders, and `destructure`."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import pytest
from beartype.roar import BeartypeCallHintViolation
from hydra.conf import HydraConf
from hydra_zen import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from common.config import BaseHydraConfig
from common.dl.litmodule._nnmodule.feedforward import MLPConfig
from common.utils.beartype import ge
from common.utils.hydra_zen import (
    destructure,
    generate_config,
    generate_config_partial,
    generate_config_partial_no_full_sig,
)


def function(a: int, b: float = 2.0, c: Any = None) -> tuple[int, float, Any]:
    return a, b, c


@dataclass
class Settings:
    """A dataclass that is passed on as it is."""

    values: list[int] = field(default_factory=lambda: [1, 2])


@dataclass
class IntOrList:
    """Has an annotation that OmegaConf has no words for."""

    value: Annotated[int, ge(0)] | list[Annotated[int, ge(0)]] | None = None


def test_a_config_declares_the_whole_signature() -> None:
    config = OmegaConf.create(generate_config(function))  # type: ignore[call-overload]
    assert {"a", "b", "c"} < set(config)
    assert OmegaConf.is_missing(config, "a")
    assert instantiate(config, a=1) == (1, 2.0, None)


def test_a_partial_declares_the_whole_signature() -> None:
    config = OmegaConf.create(generate_config_partial(function, a=1))  # type: ignore[call-overload]
    assert {"a", "b", "c"} < set(config)
    built = instantiate(config)
    assert isinstance(built, partial)
    assert built() == (1, 2.0, None)


def test_a_partial_without_the_signature_declares_what_is_given() -> None:
    config = OmegaConf.create(generate_config_partial_no_full_sig(function, a=1))  # type: ignore[call-overload]
    assert "a" in config
    assert "b" not in config
    assert instantiate(config)(b=3.0) == (1, 3.0, None)


@pytest.mark.parametrize("build", [generate_config, generate_config_partial, generate_config_partial_no_full_sig])
@pytest.mark.parametrize("value", [[1, [2]], {"x": [1]}], ids=["list", "mapping"])
def test_containers_arrive_as_plain_ones(build: Any, value: Any) -> None:
    built = instantiate(build(function, a=1, c=value))
    received = (built() if isinstance(built, partial) else built)[2]
    assert received == value
    assert not isinstance(received, DictConfig | ListConfig)


def test_dataclasses_arrive_as_objects() -> None:
    received = instantiate(generate_config(function, a=1, c=generate_config(Settings)))[2]
    assert isinstance(received, Settings)
    assert type(received.values) is list


def test_destructure_lets_the_annotation_judge_and_not_omegaconf() -> None:
    config = destructure(generate_config(MLPConfig))
    config.layer_sizes, config.activation = [784, 10], "no such activation"  # OmegaConf knows no Literal.
    with pytest.raises(Exception, match="activation") as error:
        instantiate(config)
    assert isinstance(error.value.__cause__ or error.value, BeartypeCallHintViolation)


def test_destructure_takes_types_that_omegaconf_refuses() -> None:
    config = destructure(generate_config(IntOrList))
    assert isinstance(config, DictConfig)
    assert OmegaConf.get_type(config) is dict
    config.value = [1, 2]
    assert config.value == [1, 2]


def test_destructure_keeps_defaults_and_references() -> None:
    @dataclass
    class Refers:
        value: Any = "${x}"

    assert OmegaConf.to_container(destructure(Refers()), resolve=False)["value"] == "${x}"  # type: ignore[call-overload, index]


def test_destructure_leaves_hydras_own_settings_structured() -> None:
    assert isinstance(destructure(BaseHydraConfig()), HydraConf)


def test_destructure_leaves_plain_containers_alone() -> None:
    assert destructure({"a": [1]}) == {"a": [1]}
