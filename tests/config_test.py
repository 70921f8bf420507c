"""The settings that every subtask has."""

from dataclasses import fields

import pytest
from beartype.roar import BeartypeCallHintViolation
from hydra.conf import RunMode

from common.config import PATH_KEYS, BaseHydraConfig, BaseSubtaskConfig
from common.dl.config import DeepLearningSubtaskConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": -1},
        {"seed": "0"},
        {"device": "cuda"},
        {"device": "GPU"},
        {"data_dir": ""},
        {"ckpt_path": ""},
        {"compile": 1},
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BeartypeCallHintViolation):
        BaseSubtaskConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"seed": 0}, {"seed": 2**40}, {"device": "gpu"}, {"ckpt_path": None}], ids=str)
def test_a_right_setting_is_taken(settings: dict[str, object]) -> None:
    config = BaseSubtaskConfig(**settings)  # type: ignore[arg-type]
    assert {name: getattr(config, name) for name in settings} == settings


@pytest.mark.parametrize("config", [BaseSubtaskConfig, DeepLearningSubtaskConfig])
def test_every_setting_is_documented(config: type) -> None:
    text = " ".join(str(parent.__doc__) for parent in config.__mro__)
    assert [field.name for field in fields(config) if f"{field.name}:" not in text] == []


def test_path_keys_are_settings() -> None:
    assert {key.removeprefix("config.") for key in PATH_KEYS} <= {field.name for field in fields(BaseSubtaskConfig)}


def test_hydra_always_runs_in_the_mode_in_which_launchers_count() -> None:
    assert BaseHydraConfig().mode == RunMode.MULTIRUN
    assert BaseHydraConfig().sweep.subdir == "."


def test_evaluation_needs_a_checkpoint() -> None:
    with pytest.raises(ValueError, match=r"config\.ckpt_path"):
        DeepLearningSubtaskConfig(evaluate_only=True)
