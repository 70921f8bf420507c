"""A configuration's names are judged by the objects that they lead to."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.check.targets import check_targets, is_allowed

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
    "torch.nn.functional.softmax",
    "torch.nn.init.xavier_uniform_",
    "torch.nn.Parameter",
    "torch.nn.parameter.Parameter",
    "torch.optim.lr_scheduler.Any",
    "torch.jit.ScriptModule",
    "torch.fx.GraphModule",
    "torch.utils.data.IterDataPipe",
    "torch.utils.data.datapipes.iter.FileOpener",
    "torch.utils.data.distributed.dist.init_process_group",
    "torchmetrics.functional.accuracy",
    "torchvision.transforms.functional.resize",
    "torchvision.transforms.transforms.Tensor",
    "pytorch_lightning.seed_everything",
    "pytorch_lightning.cli.LightningCLI",
    "pytorch_lightning.cli.SaveConfigCallback",
    "pytorch_lightning.serve.ServableModuleValidator",
    "pytorch_lightning.demos.mnist_datamodule.MNIST",
    "pytorch_lightning._graveyard.hpu.HPUAccelerator",
    "functools.partial",
    "builtins.dict",
    "hydra_zen.structured_configs._implementations.get_target",
    "hydra_zen.funcs.partial",
    "hydra_zen.zen",
    "hydra.utils.get_class",
    "hydra.utils.get_method",
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.ai_research.local.LocalLauncher",
    "common.run.lock.FolderLock",
    "common.run.metrics.MetricsFile",
    "common.launch.composing.CachingConfigLoader",
    "common.dl.checkpointing.checkpointer.Checkpointer",
    "common.cli.__main__.main",
    "projects.classify_mnist.datamodule.MNISTDataModule.settle",
    "common.dl.datamodule.base.DataLoader.__init__",
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
    "torch.nn.modules.activation.ReLU",
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.LinearLR",
    "torch.optim.lr_scheduler.ReduceLROnPlateau",
    "torch.utils.data.DataLoader",
    "torch.utils.data.WeightedRandomSampler",
    "torchmetrics.MetricCollection",
    "torchvision.transforms.Compose",
    "torchvision.transforms.v2.RandomCrop",
    "torchvision.transforms.InterpolationMode",
    "torchmetrics.classification.MulticlassAccuracy",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.callbacks.GradientAccumulationScheduler",
    "pytorch_lightning.profilers.SimpleProfiler",
    "pytorch_lightning.strategies.DDPStrategy",
    "pytorch_lightning.plugins.MixedPrecision",
    "pytorch_lightning.loggers.WandbLogger",
    "hydra_zen.funcs.zen_processing",
    "hydra_zen.funcs.get_obj",
    "common.dl.litmodule._nnmodule.feedforward.FNN",
    "projects.classify_mnist.datamodule.MNISTDataModule",
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
        ({"_target_": "torch.nn.ReLU", "_zen_wrappers": ["os.system"]}, "x._zen_wrappers"),
        ({"_target_": "hydra_zen.funcs.get_obj", "path": "os.system"}, "x.path"),
        (
            {"_target_": "hydra_zen.funcs.zen_processing", "_zen_target": "hydra_zen.funcs.get_obj", "path": "os.kill"},
            "x.path",
        ),
        ({"_target_": "hydra_zen.funcs.get_obj"}, "x.path"),
        ({"_target_": "hydra_zen.funcs.get_obj", "path": ["torch.nn.ReLU"]}, "x.path"),
        ({"_target_": "torch.nn.ReLU", "_zen_wrappers": "torch.nn.Sequential"}, "x._zen_wrappers"),
        ({"_target_": "torch.nn.ReLU", "_args_": [True]}, "x._args_"),
        ({"_target_": "torch.nn.ReLU", "_args_": []}, "x._args_"),
        ({"_target_": "torch.nn.ReLU", "_partial_": "true"}, "x._partial_"),
        ({"_target_": "torch.nn.ReLU", "_recursive_": None}, "x._recursive_"),
        ({"_target_": "torch.nn.ReLU", "_convert_": "everything"}, "x._convert_"),
        ({"_target_": "torch.nn.ReLU", "inplace": [{"deep": {"_target_": "os.system"}}]}, "x.inplace[0].deep._target_"),
    ],
    ids=str,
)
def test_a_node_is_refused_wherever_it_names_something(node: dict[str, object], key: str) -> None:
    assert [problem.key for problem in check_targets({"x": node}, registered={}, widened=())] == [key]


def test_what_a_store_registered_is_allowed() -> None:
    registered = {"builtins.dict": frozenset({"_args_"})}
    assert check_targets({"x": {"_target_": "builtins.dict", "_args_": [{}]}}, registered, widened=()) == []


def test_the_text_names_key_value_allowed_and_remedy() -> None:
    (problem,) = check_targets({"x": {"_target_": "os.system"}}, registered={}, widened=())
    assert problem.text.startswith("x._target_='os.system' is not an object that a configuration may name.")
    assert "torch.nn" in problem.text
    assert "allowed_targets = " in problem.text
