"""A configuration's names are judged by the objects that they lead to."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.check.targets import check_logging, check_targets, is_allowed
from common.store import JOB_LOGGING, QUIET_LOGGING

REFUSED = [
    "os.system",
    "builtins.eval",
    "common.runner.os.system",
    "common.run.provenance.subprocess.run",
    "common.run.provenance._git",
    "common.check.tree.resolve",
    "common.check.values.instantiate",
    "projects.classify_mnist.datamodule.gzip.open",
    "torch.load",
    "torch.nn.modules.module.torch.load",
    "torch.utils.data.os.system",
    "torch.utils.data.datapipes.utils.decoder.basichandlers",
    "torch.optim.optimizer.torch.save",
    "torchmetrics.metric.torch.load",
    "pytorch_lightning.LightningModule.load_from_checkpoint",
    "pytorch_lightning.LightningDataModule.load_from_checkpoint",
    "pytorch_lightning.cli.instantiate_class",
    "pytorch_lightning.core.saving.load_hparams_from_yaml",
    "hydra.utils.instantiate",
    "hydra.utils.call",
    "hydra._internal.utils._locate",
    "hydra_zen.instantiate",
    "functools.reduce",
    "functools.partial.__call__",
    "common",
    "common.runner",
    "torch.nn",
    "common.no_such_module.x",
    "torch.nn.NoSuchLayer",
    "",
    ".",
    "torch..nn.ReLU",
    "__main__.os.system",
    "__main__",
    None,
    3,
    ["torch.nn.ReLU"],
]

ALLOWED = [
    "torch.nn.ReLU",
    "torch.nn.functional.softmax",
    "torch.nn.init.xavier_uniform_",
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.LinearLR",
    "torch.utils.data.DataLoader",
    "torchmetrics.classification.MulticlassAccuracy",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.loggers.WandbLogger",
    "functools.partial",
    "hydra_zen.funcs.zen_processing",
    "hydra_zen.funcs.get_obj",
    "common.dl.litmodule._nnmodule.feedforward.FNN",
    "projects.classify_mnist.datamodule.MNISTDataModule",
    "hydra_plugins.ai_research.local.LocalLauncher",
]


@pytest.mark.parametrize("name", REFUSED, ids=str)
def test_a_name_is_refused(name: object) -> None:
    assert not is_allowed(name)


@pytest.mark.parametrize("name", ALLOWED)
def test_a_name_is_allowed(name: str) -> None:
    assert is_allowed(name)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that nobody may import; one who did leaves no trace."""
    (tmp_path / "trap_module.py").write_text("def function(): ...\nclass Class: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "trap_module"
    sys.modules.pop("trap_module", None)


def test_a_refused_module_is_not_imported(trap: str) -> None:
    assert not is_allowed(f"{trap}.function")
    assert trap not in sys.modules


@pytest.mark.parametrize("widened", ["trap_module", "trap_module.Class"])
def test_a_runner_widens_the_list(trap: str, widened: str) -> None:
    assert is_allowed(f"{trap}.Class", widened=[widened])
    assert is_allowed(f"{trap}.function", widened=[widened]) == (widened == trap)


def test_widening_by_a_name_does_not_widen_by_its_prefix(trap: str) -> None:
    assert not is_allowed(f"{trap}.Class", widened=["trap_mod"])


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ({"_target_": "os.system"}, "x._target_"),
        ({"_target_": None}, "x._target_"),
        ({"_target_": "hydra_zen.funcs.zen_processing", "_zen_target": "os.system"}, "x._zen_target"),
        ({"_target_": "torch.nn.ReLU", "_zen_wrappers": "os.system"}, "x._zen_wrappers"),
        ({"_target_": "torch.nn.ReLU", "_zen_wrappers": ["torch.nn.ReLU", "os.system"]}, "x._zen_wrappers"),
        ({"_target_": "torch.nn.ReLU", "_zen_wrappers": [{"_target_": "os.system"}]}, "x._zen_wrappers[0]._target_"),
        ({"_target_": "hydra_zen.funcs.get_obj", "path": "os.system"}, "x.path"),
        (
            {"_target_": "hydra_zen.funcs.zen_processing", "_zen_target": "hydra_zen.funcs.get_obj", "path": "os.kill"},
            "x.path",
        ),
        ({"_target_": "hydra.utils.get_method", "path": "os.system"}, "x.path"),
        ({"_target_": "hydra.utils.get_method", "_args_": ["os.system"]}, "x.path"),
        ({"_target_": "hydra.utils.get_class", "_args_": ["subprocess.Popen"]}, "x.path"),
        ({"_target_": "hydra.utils.get_object", "path": ["os.system"]}, "x.path"),
        ({"_target_": "hydra.utils.get_static_method", "path": "os.system"}, "x.path"),
        ({"_target_": "torch.nn.ReLU", "inplace": [{"deep": {"_target_": "os.system"}}]}, "x.inplace[0].deep._target_"),
    ],
    ids=str,
)
def test_a_node_is_refused_wherever_it_names_something(node: dict[str, object], key: str) -> None:
    assert [problem.key for problem in check_targets({"x": node}, registered=(), widened=())] == [key]


def test_what_a_store_registered_is_allowed() -> None:
    assert check_targets({"x": {"_target_": "builtins.dict"}}, registered=["builtins.dict"], widened=()) == []


def test_the_text_names_key_value_allowed_and_remedy() -> None:
    (problem,) = check_targets({"x": {"_target_": "os.system"}}, registered=(), widened=())
    assert problem.text.startswith("x._target_='os.system' is not an object that a configuration may name.")
    assert "torch.nn" in problem.text
    assert "allowed_targets = " in problem.text


@pytest.mark.parametrize(
    "handler",
    [
        {"()": "os.system"},
        {"class": "os.system"},
        {"class": "logging.Formatter"},
        {"class": "common.run.metrics.MetricsFile"},
        {"class": "logging.handlers.logging.os.system"},
        {"class": "logging.StreamHandler", "stream": "ext://os.environ"},
        {"class": "logging.StreamHandler", "stream": "cfg://handlers"},
    ],
    ids=str,
)
def test_a_log_handler_is_refused(handler: dict[str, object]) -> None:
    assert check_logging({"handlers": {"x": handler}}, "hydra.job_logging")


@pytest.mark.parametrize(
    "tree",
    [
        JOB_LOGGING,
        QUIET_LOGGING,
        {"handlers": {"x": {"class": "logging.handlers.RotatingFileHandler", "filename": "x.log"}}},
    ],
)
def test_an_ordinary_logging_configuration_passes(tree: dict[str, object]) -> None:
    assert check_logging(tree, "hydra.job_logging") == []
