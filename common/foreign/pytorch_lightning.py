"""Lightning's private names that are used here, and why; read for pytorch_lightning 2.6.

Lightning continues a training by guessing from its counters where it was cut off, and leaves out what it takes for
done or for lost: schedulers that look at a metric, means over the epoch, the validation after the last batch. The loops
below never guess. A checkpoint is always taken after a batch, when all that belongs to it is done (validation within
the epoch included) and the next one is not fetched; from there they go on as if nothing had happened.
"""

import builtins
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric.utilities.data import _set_sampler_epoch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loops.fit_loop import RestartStage, _FitLoop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.trainer.connectors.data_connector import _DataLoaderSource
from pytorch_lightning.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync
from pytorch_lightning.utilities.combined_loader import CombinedLoader

COUNTS = ("ready", "started", "processed")

META_FIELDS = (
    "fx",
    "name",
    "prog_bar",
    "logger",
    "on_step",
    "on_epoch",
    "enable_graph",
    "add_dataloader_idx",
    "dataloader_idx",
    "metric_attribute",
)
"""What a call of `self.log` says of its value; Lightning compares them from call to call."""


@dataclass(frozen=True)
class LoopHooks:
    """What is called where Lightning has no hook.

    Attributes:
        before_first_batch: After all that Lightning does at the start of a training.
        after_batch: After all that belongs to a batch, and before the next one is fetched.
        replay: Takes what asks a task for its training loaders, and returns loaders that can begin within an epoch.
    """

    before_first_batch: Callable[[], None]
    after_batch: Callable[[], None]
    replay: Callable[[Callable[[], Any]], Any]


class ReplayedSource(_DataLoaderSource):
    """Where Lightning gets a training's loaders from, but such that they can begin within an epoch."""

    def __init__(self, source: _DataLoaderSource, replay: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__(source.instance, source.name)
        self.replay = replay

    def dataloader(self) -> Any:
        """Returns the loaders."""
        return self.replay(super().dataloader)


class EpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, which also goes on within one, with every counter as it was."""

    def reset(self) -> None:
        """Begins an epoch, unless it is one to go on with."""
        if not self._parent.is_continuing:
            super().reset()

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Does what belongs to a batch; then calls the hook."""
        super().on_advance_end(data_fetcher)
        self._parent.hooks.after_batch()

    @property
    def _parent(self) -> "FitLoop":
        loop = self.trainer.fit_loop
        assert isinstance(loop, FitLoop)
        return loop


class FitLoop(_FitLoop):
    """Lightning's loop over epochs, which goes on after the batch after which it was saved.

    Attributes:
        hooks: What to call.
        is_continuing: Whether the epoch that runs, or is about to, began before the checkpoint that was loaded.

    Args:
        loop: The one that this one replaces.
        hooks: What to call.
    """

    def __init__(self, loop: _FitLoop, hooks: LoopHooks) -> None:
        super().__init__(loop.trainer, loop.min_epochs, loop.max_epochs)
        self.epoch_loop = EpochLoop(loop.trainer, loop.min_steps, loop.max_steps)
        self.hooks = hooks
        self.is_continuing = False
        self._loaded: dict[str, Any] = {}

    @property
    def done(self) -> bool:
        """Whether training is over: never before an epoch that was begun is brought to its end."""
        return not self.is_continuing and bool(super().done)

    def run(self) -> None:
        """Trains; Lightning is told only now that nothing needs a restart, so that it spares its check before."""
        self.is_continuing = self._loaded_from_state_dict
        self._data_source = ReplayedSource(self._data_source, self.hooks.replay)
        inner = self.epoch_loop
        for loop in (self, inner, inner.val_loop, inner.automatic_optimization, inner.manual_optimization):
            loop._restarting = False
        super().run()

    def setup_data(self) -> None:
        """Asks for the loader of the training set, as in the epoch in which it was asked for before."""
        if not self.is_continuing or self._combined_loader is not None:
            super().setup_data()
            return
        with self._as_in_epoch(self._loaded["train_loader_epoch"]):
            super().setup_data()

    def update_restart_stage(self) -> None:
        """Keeps Lightning from beginning an epoch that has begun."""
        super().update_restart_stage()
        if self.is_continuing:
            self._restart_stage = RestartStage.RESTARTED_MID_EPOCH

    def on_run_start(self) -> None:
        """Does what belongs to the start of a training; then calls the hook."""
        if self.is_continuing:
            self._set_up_validation()
        super().on_run_start()
        self.hooks.before_first_batch()

    def on_advance_end(self) -> None:
        """Ends an epoch."""
        super().on_advance_end()
        self.is_continuing = False

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Returns when the loaders were asked for, and how many batches each of validation gave since."""
        val_loop = self.epoch_loop.val_loop
        state: dict[str, Any] = super().on_save_checkpoint()
        state.pop("combined_loader", None)  # A loader's own state is ahead by what was fetched in advance.
        return state | {
            "train_loader_epoch": self._last_train_dl_reload_epoch,
            "val_loader_epoch": val_loop._last_val_dl_reload_epoch,
            "num_val_batches": dict(val_loop._seen_batches_per_dataloader),
        }

    def on_load_checkpoint(self, state_dict: dict[Any, Any]) -> None:
        """Takes what `on_save_checkpoint` returned."""
        super().on_load_checkpoint(state_dict)
        self._loaded = state_dict

    def _set_up_validation(self) -> None:
        if self._loaded["val_loader_epoch"] < 0 or not self.trainer.enable_validation:
            return
        val_loop = self.epoch_loop.val_loop
        self.trainer.validating = True
        with self._as_in_epoch(self._loaded["val_loader_epoch"]):
            val_loop.setup_data()
        self.trainer.training = True
        val_loop._seen_batches_per_dataloader.update(self._loaded["num_val_batches"])

    @contextmanager
    def _as_in_epoch(self, epoch: int) -> Iterator[None]:
        progress = self.epoch_progress.current
        before, progress.completed = progress.completed, epoch
        try:
            yield
        finally:
            progress.completed = before


def install_loops(trainer: Trainer, hooks: LoopHooks) -> None:
    """Lets a trainer train by the loops above."""
    trainer.fit_loop = FitLoop(trainer.fit_loop, hooks)


def leave_signals_alone(trainer: Trainer) -> None:
    """Keeps a trainer from handling signals: its handlers act at once, broadcast, and requeue by themselves."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]


def is_accumulating(trainer: Trainer) -> bool:
    """Returns whether gradients wait for the batches that follow."""
    is_manual = not trainer.lightning_module.automatic_optimization
    return is_manual or trainer.fit_loop.epoch_loop._should_accumulate()


def num_used_batches(trainer: Trainer) -> int:
    """Returns with how many batches training was done, whatever came of them."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.total  # Typed as its base, which counts less.
    return int(progress.processed)


def is_last_batch(trainer: Trainer) -> bool:
    """Returns whether the batch that was fetched last is its epoch's last."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def rewind(fit_loop: dict[str, Any], *, is_last_batch: bool) -> None:
    """Puts the counters of a fit loop's state to the last batch that was completed.

    Args:
        fit_loop: `checkpoint["loops"]["fit_loop"]`, changed in place.
        is_last_batch: Whether that batch is its epoch's last.
    """
    fit_loop["epoch_loop.batch_progress"]["is_last_batch"] = is_last_batch
    for name, progress in fit_loop.items():
        if name != "epoch_progress":
            _rewind(progress)


def _rewind(progress: Any) -> None:
    if not isinstance(progress, dict):
        return
    if "completed" in progress:
        progress.update({count: progress["completed"] for count in COUNTS if count in progress})
    for part in progress.values():
        _rewind(part)


def get_logged(trainer: Trainer) -> dict[str, Any]:
    """Returns what was logged and is still in use: means over the epoch that runs, and what callbacks see."""
    connector = trainer._logger_connector
    return {
        "results": {key: _state_of(metric) for key, metric in trainer.fit_loop.epoch_loop._results.items()},
        "callback_metrics": dict(connector._callback_metrics),
        "logged_metrics": dict(connector._logged_metrics),
        "progress_bar_metrics": dict(connector._progress_bar_metrics),
        "is_first_batch": connector._first_loop_iter,
        "hook": connector._current_fx,
    }


def set_logged(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Restores what `get_logged` returned."""
    connector, results = trainer._logger_connector, trainer.fit_loop.epoch_loop._results
    results.clear()
    results.update({key: _restored(trainer, metric) for key, metric in state["results"].items()})
    device = trainer.strategy.root_device
    connector._callback_metrics = {key: value.to(device) for key, value in state["callback_metrics"].items()}
    connector._logged_metrics = {key: value.to(device) for key, value in state["logged_metrics"].items()}
    connector._progress_bar_metrics = dict(state["progress_bar_metrics"])
    connector._first_loop_iter = state["is_first_batch"]
    connector._current_fx = state["hook"]


def _state_of(metric: _ResultMetric) -> dict[str, Any]:
    meta = metric.meta
    names = ["_forward_cache", *(["value"] if metric.is_tensor else [])]
    names += ["cumulated_batch_size"] if metric.is_tensor and meta.is_mean_reduction else []
    return {
        "meta": {name: getattr(meta, name) for name in META_FIELDS},
        "reduction": meta.reduce_fx.__name__,
        "is_builtin": meta.reduce_fx in (max, min, sum),
        "is_summed_over_ranks": meta.sync.should,
        "rank_zero_only": meta.sync.rank_zero_only,
        "is_tensor": metric.is_tensor,
        "has_reset": metric.has_reset,
        "num_updates": metric._update_count,
        "values": {name: getattr(metric, name) for name in names},
    }


def _restored(trainer: Trainer, state: Mapping[str, Any]) -> _ResultMetric:
    reduction = getattr(builtins if state["is_builtin"] else torch, state["reduction"])
    meta = _Metadata(**state["meta"], reduce_fx=reduction)
    meta.sync = _Sync(
        fn=trainer.strategy.reduce, _should=state["is_summed_over_ranks"], rank_zero_only=state["rank_zero_only"]
    )
    metric = _ResultMetric(meta, state["is_tensor"])
    metric.has_reset = state["has_reset"]
    metric._update_count = state["num_updates"]
    for name, value in state["values"].items():
        setattr(metric, name, value.to(trainer.strategy.root_device) if isinstance(value, torch.Tensor) else value)
    if not state["is_tensor"]:
        metric.value = _metric_of(trainer.lightning_module, state["meta"]["metric_attribute"])
    return metric


def _metric_of(module: LightningModule, name: str) -> Any:
    """Returns the torchmetric that a module has under a name."""
    return module.get_submodule(name)


def combined(loaders: Any) -> tuple[Any, Any]:
    """Returns what the class `CombinedLoader` takes to combine a task's training loaders as Lightning would.

    Args:
        loaders: A loader, a collection of some, or loaders that are combined already.
    """
    return (loaders.iterables, loaders._mode) if isinstance(loaders, CombinedLoader) else (loaders, "max_size_cycle")


def served_epoch(trainer: Trainer) -> int:
    """Returns the epoch whose batches are served, from 0, as Lightning tells it to samplers."""
    progress: Any = trainer.fit_loop.epoch_progress.current  # Typed as its base, which counts less.
    return int(progress.processed)


def tell_epoch(loader: Any, epoch: int) -> None:
    """Tells a loader's samplers which epoch they serve, where they want to know."""
    _set_sampler_epoch(loader, epoch)


def without_withdrawn_argument(logger: WandbLogger) -> None:
    """Keeps a logger from passing on an argument that W&B has withdrawn, and warns of."""
    logger._wandb_init.pop("anonymous", None)


@contextmanager
def without_trainer(module: LightningModule) -> Iterator[None]:
    """Takes a module's trainer away for the block: a copy of the module would be one of the trainer, too."""
    trainer, module._trainer = module._trainer, None
    try:
        yield
    finally:
        module._trainer = trainer
