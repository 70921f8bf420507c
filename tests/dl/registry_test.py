"""Contracts of everything that a store offers: each member of each group is built and put through the same checks.

The members are read from the real stores, so that a new one is covered by being registered. A network also needs an
entry in `NETWORKS`, since nobody can guess the sizes that it takes.
"""

import importlib
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LinearLR

from common.dl.datamodule.base import BaseDataModule
from common.dl.litmodule._nnmodule.sequence import SequenceModel
from common.dl.litmodule.base import BaseLitModule
from common.dl.runner import DeepLearningTaskRunner

REPOSITORY = Path(__file__).resolve().parents[2]

NETWORKS: dict[str, tuple[dict[str, Any], tuple[Tensor, ...]]] = {
    "fnn": ({"input_size": 6, "hidden_size": 5, "num_layers": 3, "output_size": 4}, (torch.randn(8, 2, 3),)),
    "mlp": ({"layer_sizes": [6, 5, 4], "dropout": 0.1}, (torch.randn(8, 2, 3),)),
    "mamba2": (
        {"input_size": 3, "output_size": 2, "hidden_size": 8, "head_size": 4, "state_size": 4, "chunk_size": 4},
        (torch.randn(8, 10, 3),),
    ),
    "cdam": ({"condition_size": 2, "target_size": 1}, (torch.randn(8, 10, 2), torch.randn(8, 10, 1))),
    "cgam": (
        {"condition_size": 2, "target_size": 1, "num_components": 2},
        (torch.randn(8, 10, 2), torch.randn(8, 10, 1)),
    ),
    "dit1d1d": (
        {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "patch_size": 2},
        (torch.randn(8, 10, 1), torch.arange(8), torch.randn(8, 10, 1), torch.arange(8) < 4),
    ),
}
"""For each network the smallest useful settings, and an input."""

LITMODULES: dict[str, dict[str, Any]] = {
    "classify_mnist": {"num_classes": 10},
    "oscillator_pred_autoregression": {},
    "oscillator_pred_diffusion": {},
}
"""For each Lightning module the settings that have no default."""

EXPECTED_MEMBERS = {
    "litmodule/nnmodule": {"fnn", "mlp", "mamba2", "cdam", "cgam", "dit1d1d"},
    "litmodule/nnmodule/model_partial": {"fnn", "rnn", "lstm", "mamba2"},
    "litmodule/optimizer": {"adam", "adamw", "sgd"},
    "litmodule/scheduler": {"constant", "linear_warmup"},
    "trainer": {"base"},
    "logger": {"wandb", "none"},
    "callbacks": {"none", "early_stopping"},
    "hydra/launcher": {"local", "slurm"},
    "datamodule": {"classify_mnist", "oscillator_pred"},
    "litmodule": {"classify_mnist", "oscillator_pred_autoregression", "oscillator_pred_diffusion"},
}
"""What the specification promises; there may be more."""


def registered() -> dict[str, dict[str, Any]]:
    """Returns what the runners of all deep-learning projects register: group, name, configuration."""
    groups: dict[str, dict[str, Any]] = {}
    repo, arguments = ConfigStore.instance().repo, sys.argv
    ConfigStore.instance().repo = {}
    try:
        for path in sorted(REPOSITORY.glob("projects/*/train.py")):
            runner = importlib.import_module(f"projects.{path.parent.name}.train").TaskRunner
            tasks = sorted((path.parent / "task").glob("*.yaml"))
            if not issubclass(runner, DeepLearningTaskRunner) or not tasks:
                continue
            sys.argv = [str(path), f"task={tasks[0].stem}"]
            for entry in runner.handle_configs():
                groups.setdefault(entry["group"], {}).setdefault(entry["name"], entry["node"])
    finally:
        ConfigStore.instance().repo, sys.argv = repo, arguments
    return groups


GROUPS = registered()


def members(group: str) -> pytest.MarkDecorator:
    """Runs a test once for each member of a group."""
    return pytest.mark.parametrize("name", sorted(GROUPS[group]))


def built(group: str, name: str, folder: Path, **overrides: Any) -> Any:
    """Instantiates a member as a run would."""
    settings = {"device": "cpu", "output_dir": str(folder), "data_dir": str(folder / "data"), "seed": 7}
    node = GROUPS[group][name]
    node = node if isinstance(node, DictConfig) else OmegaConf.create(node)
    node = OmegaConf.merge({key: value for key, value in node.items_ex(resolve=False) if key != "defaults"}, overrides)
    if "${hydra" in str(OmegaConf.to_container(node).get("name")):  # Known only inside a job.
        node.name = "some_run"
    for counted in ("devices", "num_nodes"):
        if "${hydra:" in str(OmegaConf.to_container(node).get(counted)):
            node[counted] = 1
    root = OmegaConf.create({"config": settings, "member": node})
    return instantiate(root.member)


@pytest.mark.parametrize("group", EXPECTED_MEMBERS)
def test_promised_members_are_registered(group: str) -> None:
    assert EXPECTED_MEMBERS[group] <= set(GROUPS[group])


def test_every_group_has_a_contract_here() -> None:
    held = {"hydra", "hydra/sweeper", "hydra/job_logging", "hydra/hydra_logging"}  # Hydra's own interfaces.
    assert {group for group in GROUPS if group} <= set(EXPECTED_MEMBERS) | held


# --- networks


@members("litmodule/nnmodule")
def test_network_is_plain_torch(name: str, tmp_path: Path) -> None:
    network = network_of(name, tmp_path)
    assert isinstance(network, nn.Module)
    assert not any(isinstance(module, LightningModule) for module in network.modules())


@members("litmodule/nnmodule")
def test_network_runs_forward(name: str, tmp_path: Path) -> None:
    inputs = NETWORKS[name][1]
    output = network_of(name, tmp_path)(*inputs)
    assert len(output) == len(inputs[0])
    assert output.isfinite().all()


@members("litmodule/nnmodule")
def test_gradients_reach_every_parameter_of_the_network(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = network_of(name, tmp_path)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # Layers that begin at zero let nothing through.
    network(*NETWORKS[name][1]).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@members("litmodule/nnmodule")
def test_network_treats_the_samples_of_a_batch_apart(name: str, tmp_path: Path) -> None:
    network = network_of(name, tmp_path).eval()
    inputs = NETWORKS[name][1]
    alone = network(*(value[:1] for value in inputs))
    torch.testing.assert_close(network(*inputs)[:1], alone)


@members("litmodule/nnmodule")
def test_network_comes_back_from_its_state(name: str, tmp_path: Path) -> None:
    first, second = network_of(name, tmp_path).eval(), network_of(name, tmp_path).eval()
    second.load_state_dict(first.state_dict())
    inputs = NETWORKS[name][1]
    assert torch.equal(first(*inputs), second(*inputs))


@members("litmodule/nnmodule/model_partial")
def test_backbone_is_a_causal_sequence_model(name: str, tmp_path: Path) -> None:
    build = built("litmodule/nnmodule/model_partial", name, tmp_path)
    assert isinstance(build, partial)
    backbone = build(input_size=3, output_size=2)
    assert isinstance(backbone, SequenceModel)
    x = torch.randn(4, 10, 3)
    y, cache = backbone.prefill(x[:, :9], backbone.make_cache(4))
    torch.testing.assert_close(backbone(x)[:, :9], y)
    torch.testing.assert_close(backbone(x)[:, 9], backbone.step(x[:, 9], cache)[0], atol=1e-5, rtol=1e-5)


def network_of(name: str, folder: Path) -> nn.Module:
    assert name in NETWORKS, f"The network {name!r} is registered: add its smallest settings to NETWORKS."
    parts: dict[str, Any] = {"config": NETWORKS[name][0]}
    if "model_partial" in GROUPS["litmodule/nnmodule"][name].keys():  # noqa: SIM118  # `in` denies what is missing.
        parts["model_partial"] = GROUPS["litmodule/nnmodule/model_partial"]["lstm"]
    network: nn.Module = built("litmodule/nnmodule", name, folder, **parts)
    return network


# --- optimisers


@members("litmodule/optimizer")
def test_optimiser_reduces_a_quadratic(name: str, tmp_path: Path) -> None:
    build = built("litmodule/optimizer", name, tmp_path)
    assert isinstance(build, partial)
    point = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = build([point])
    before = point.square().sum().item()
    values = [before]
    for _ in range(50):
        optimizer.zero_grad()
        loss = point.square().sum()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert all(later <= earlier for earlier, later in pairwise(values))
    assert values[-1] < 0.99 * before


@members("litmodule/optimizer")
def test_learning_rate_can_be_set(name: str, tmp_path: Path) -> None:
    optimizer = built("litmodule/optimizer", name, tmp_path, lr=0.125)([nn.Parameter(torch.zeros(1))])
    assert [group["lr"] for group in optimizer.param_groups] == [0.125]


# --- schedulers

STEPS_PER_EPOCH, NUM_EPOCHS, BASE_RATE = 3, 4, 0.5


def rates_in_a_run(
    scheduler: Any, regression: Any, make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> list[float]:
    """Returns the learning rate that each optimiser step of a real run uses."""
    rates: list[float] = []

    class Recorder(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            rates.append(optimizer.param_groups[0]["lr"])

    from common.dl.litmodule.base import BaseLitModuleConfig

    module = regression(BaseLitModuleConfig(), nn.Linear(3, 2), partial(SGD, lr=BASE_RATE), scheduler)
    trainer = make_trainer(max_epochs=NUM_EPOCHS, callbacks=[Recorder()])
    trainer.fit(module, datamodule=make_datamodule(train=10, batch_size=4))
    assert len(rates) == STEPS_PER_EPOCH * NUM_EPOCHS
    return rates


def rates_by_hand(scheduler: Any) -> list[float]:
    """Returns the learning rates that a scheduler gives when it is stepped once per optimiser step."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=BASE_RATE)
    live, rates = scheduler(optimizer), []
    for _ in range(STEPS_PER_EPOCH * NUM_EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        live.step()
    return rates


@members("litmodule/scheduler")
def test_scheduler_is_stepped_per_optimiser_step(
    name: str, tmp_path: Path, regression: Any, make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    scheduler = built("litmodule/scheduler", name, tmp_path)
    assert rates_in_a_run(scheduler, regression, make_datamodule, make_trainer) == pytest.approx(
        rates_by_hand(scheduler)
    )


def test_constant_keeps_the_learning_rate(tmp_path: Path) -> None:
    assert rates_by_hand(built("litmodule/scheduler", "constant", tmp_path)) == [BASE_RATE] * 12


def test_linear_warmup_raises_the_rate_at_each_optimiser_step_as_torchs_definition_says(
    tmp_path: Path, regression: Any, make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    scheduler = built("litmodule/scheduler", "linear_warmup", tmp_path, start_factor=0.1, total_iters=5)
    assert scheduler.func is LinearLR
    rates = rates_in_a_run(scheduler, regression, make_datamodule, make_trainer)
    assert rates == pytest.approx([BASE_RATE * (0.1 + 0.9 * min(step, 5) / 5) for step in range(12)])


def test_linear_warmup_starts_low_and_ends_at_the_configured_rate_by_default(tmp_path: Path) -> None:
    settings = built("litmodule/scheduler", "linear_warmup", tmp_path).keywords
    assert settings["start_factor"] < 0.1
    assert settings["end_factor"] == 1.0


# --- trainer, loggers, callbacks, launchers


@members("trainer")
def test_trainer_follows_the_device_and_the_folder(name: str, tmp_path: Path) -> None:
    build = built("trainer", name, tmp_path)
    assert build.func is Trainer
    assert build.keywords["accelerator"] == "cpu"
    assert build.keywords["default_root_dir"] == f"{tmp_path}/lightning/"
    assert build.keywords["gradient_clip_val"] == 1.0
    assert isinstance(build(logger=False, enable_checkpointing=False), Trainer)


@members("logger")
def test_logger_is_one_of_lightnings(name: str, tmp_path: Path) -> None:
    build = built("logger", name, tmp_path)
    assert isinstance(build, partial)
    assert isinstance(build.func, type)
    assert issubclass(build.func, Logger)


def test_wandb_logger_declares_what_users_set(tmp_path: Path) -> None:
    settings = built("logger", "wandb", tmp_path).keywords
    assert settings["project"] == "classify_mnist_fnn"
    assert settings["save_dir"] == str(tmp_path)
    assert settings["entity"] is None


@members("callbacks")
def test_callbacks_are_named_callbacks(name: str, tmp_path: Path) -> None:
    callbacks = built("callbacks", name, tmp_path)
    assert isinstance(callbacks, Mapping)
    assert all(isinstance(callback, Callback) for callback in callbacks.values())
    assert bool(callbacks) == (name != "none")


@members("hydra/launcher")
def test_launcher_is_one_that_hydra_accepts(name: str, tmp_path: Path) -> None:
    assert isinstance(built("hydra/launcher", name, tmp_path), Launcher)


# --- data modules and Lightning modules


@members("datamodule")
def test_data_module_follows_the_settings_of_the_subtask(name: str, tmp_path: Path) -> None:
    module = built("datamodule", name, tmp_path)
    assert isinstance(module, BaseDataModule)
    assert (module.config.data_dir, module.config.device, module.config.seed) == (str(tmp_path / "data"), "cpu", 7)


@members("datamodule")
def test_data_modules_loader_keys_are_declared(name: str, tmp_path: Path) -> None:
    module = built("datamodule", name, tmp_path, dataloader={"drop_last": True, "pin_memory": True})
    assert module.dataloader.keywords["drop_last"] is True
    assert module.dataloader.keywords["pin_memory"] is True


CHOSEN = {"optimizer": "adam", "scheduler": "constant"}


@members("litmodule")
def test_lightning_module_is_built_from_any_network_optimiser_and_scheduler(name: str, tmp_path: Path) -> None:
    assert name in LITMODULES, f"The Lightning module {name!r} is registered: add its settings to LITMODULES."
    network = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}
    parts = {part: GROUPS[f"litmodule/{part}"][choice] for part, choice in CHOSEN.items()}
    module = built("litmodule", name, tmp_path, config=LITMODULES[name], nnmodule=network, **parts)
    assert isinstance(module, BaseLitModule)
    chosen = module.configure_optimizers()
    assert isinstance(chosen["optimizer"], torch.optim.Adam)
    assert chosen["lr_scheduler"]["interval"] == "step"
    trained = [parameter for group in chosen["optimizer"].param_groups for parameter in group["params"]]
    assert sum(map(torch.numel, trained)) == sum(map(torch.numel, module.nnmodule.parameters()))
    assert math.isclose(chosen["optimizer"].param_groups[0]["lr"], 1e-3)
