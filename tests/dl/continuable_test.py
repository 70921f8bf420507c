"""What a run could not continue exactly is refused before anything starts, and the text says what does the same."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback, Trainer, callbacks
from pytorch_lightning.callbacks.spike import SpikeDetection
from pytorch_lightning.loggers.logger import DummyLogger

from common.dl.checks import check_continuable
from common.dl.config import DeepLearningSubtaskConfig
from common.dl.continuable import REFUSED_CALLBACKS, reason_against
from common.dl.datamodule.base import BaseDataModule
from common.dl.utils.lightning import instantiate_trainer
from common.errors import ConfigError

LIGHTNING = "pytorch_lightning.callbacks"

TESTED = {
    "DeviceStatsMonitor": "measures the machine",
    "EarlyStopping": "tests/dl/checkpointing",
    "GradientAccumulationScheduler": "tests/dl/checkpointing",
    "LambdaCallback": "has no state",
    "LearningRateMonitor": "tests/dl/checkpointing",
    "ModelSummary": "has no state",
    "RichModelSummary": "has no state",
    "ThroughputMonitor": "measures the machine",
    "Timer": "tests/dl/checkpointing",
    "BasePredictionWriter": "nothing is predicted",
    "Callback": "has no state",
}
"""Each of Lightning's callbacks that is allowed, and why."""


class OwnLoader(BaseDataModule):
    """Has a `train_dataloader` of its own."""

    def train_dataloader(self) -> Any:
        """Returns nothing."""

    def prepare_data(self) -> None:
        """Prepares nothing."""

    def setup(self, stage: str | None = None) -> None:
        """Fills nothing."""


class OwnAverage(callbacks.WeightAveraging):
    """A subclass."""


def problems(**config: Any) -> list[tuple[str, str]]:
    found = check_continuable({"callbacks": {}, "trainer": {}, "datamodule": {}, **config})
    return [(problem.key, problem.text) for problem in found]


def test_each_callback_of_lightnings_is_refused_or_known_to_continue() -> None:
    offered = [getattr(callbacks, name) for name in callbacks.__all__]
    assert all(inspect.isclass(callback) for callback in offered)
    undecided = {callback.__name__ for callback in offered if reason_against(callback) is None} - set(TESTED)
    assert not undecided
    assert not {callback.__name__ for callback in offered if reason_against(callback)} & set(TESTED)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("StochasticWeightAveraging", "Keep the average within the Lightning module"),
        ("EMAWeightAveraging", "Keep the average within the Lightning module"),
        ("ModelCheckpoint", "a run saves its checkpoints itself"),
        ("OnExceptionCheckpoint", "a run saves its checkpoints itself"),
        ("BatchSizeFinder", "fixed_per_device_batch_size=null"),
        ("LearningRateFinder", "Sweep over litmodule.optimizer.lr"),
        ("ModelPruning", "Prune the network that common.run.load returns"),
        ("BackboneFinetuning", "Set requires_grad of parameters in the Lightning module"),
        ("spike.SpikeDetection", "config.on_bad_loss"),
        ("RichProgressBar", "trainer.enable_progress_bar=false"),
    ],
)
def test_a_refused_callback_is_named_with_what_to_do_instead(name: str, words: str) -> None:
    target = {"_target_": f"{LIGHTNING}.{name}"}
    for config in ({"callbacks": {"mine": target}}, {"trainer": {"callbacks": [target]}}):
        ((key, text),) = problems(**config)
        assert key in ("callbacks.mine", "trainer.callbacks[0]")
        assert text.startswith(f"{key}: {name.rpartition('.')[2]} is refused: ")
        assert words in text


def test_a_subclass_of_a_refused_callback_is_refused() -> None:
    assert reason_against(OwnAverage) == REFUSED_CALLBACKS[callbacks.WeightAveraging]


def test_validating_by_the_clock_is_refused() -> None:
    ((key, text),) = problems(trainer={"val_check_interval": "00:00:10:00"})
    assert key == "trainer.val_check_interval"
    assert "trainer.val_check_interval=00:00:10:00 is refused: validating by the clock" in text
    assert not problems(trainer={"val_check_interval": 3}) + problems(trainer={"val_check_interval": 0.5})


@pytest.mark.parametrize("ranks", [{"devices": 2}, {"devices": 1, "num_nodes": 2}])
def test_an_own_loader_is_refused_on_several_ranks(ranks: dict[str, int]) -> None:
    datamodule = {"_target_": f"{__name__}.OwnLoader"}
    ((key, text),) = problems(datamodule=datamodule, trainer=ranks)
    assert key == "datamodule"
    assert "OwnLoader has a train_dataloader() of its own" in text
    assert "Write train_weights() instead" in text
    assert not problems(datamodule=datamodule, trainer={"devices": 1, "num_nodes": 1})


def test_the_command_ends_with_status_2(cli: Any, root: Path) -> None:
    outcome = cli(
        "task=fnn",
        "logger=none",
        "datamodule.config.source=digits",
        f"+callbacks.swa._target_={LIGHTNING}.StochasticWeightAveraging",
        "+callbacks.swa.swa_lrs=0.01",
    )
    assert outcome.status == 2
    assert (
        "callbacks.swa: StochasticWeightAveraging is refused: it exchanges the network for its average" in outcome.err
    )
    assert not (root / "data").exists()


def test_what_python_code_adds_is_refused_too(make_classifier: Any, make_datamodule: Any, tmp_path: Path) -> None:
    module = make_classifier()
    added: list[Callback] = [SpikeDetection()]
    module.configure_callbacks = lambda: added
    config = DeepLearningSubtaskConfig(output_dir=str(tmp_path), data_dir=str(tmp_path))
    trainer = instantiate_trainer(
        partial(Trainer, accelerator="cpu", enable_progress_bar=False, max_epochs=1),
        DummyLogger(),
        {},
        config,
        is_continuation=False,
    )
    with pytest.raises(ConfigError, match="SpikeDetection is refused: it skips batches"):
        trainer.fit(module, datamodule=make_datamodule(40, 8, 0))
