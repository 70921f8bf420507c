"""Lightning's private names still are what `common/foreign/pytorch_lightning.py` was read for.

Whoever raises Lightning's version and fails here reads that file again beside the new loops.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import pytorch_lightning
from pytorch_lightning import Trainer
from pytorch_lightning.loops.fit_loop import RestartStage, _FitLoop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.trainer.connectors.data_connector import _DataLoaderSource
from pytorch_lightning.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync
from pytorch_lightning.utilities.combined_loader import CombinedLoader

from common.dl.utils.lightning import silence_messages
from common.foreign.pytorch_lightning import META_FIELDS

FILE = "common/foreign/pytorch_lightning.py was read for another Lightning; read it again beside the new one"


def has(source: Callable[..., Any] | type, *texts: str) -> bool:
    code = inspect.getsource(source)
    return all(text in code for text in texts)


def test_the_version_is_the_one_that_was_read() -> None:
    assert pytorch_lightning.__version__.startswith("2.6."), FILE


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        (_FitLoop.run, ("self.setup_data()", "if self.skip:", "self.reset()", "self.on_run_start()", "self.done")),
        (_FitLoop.reset, ("self.update_restart_stage()",)),
        (_FitLoop.on_advance_start, ("if not self.restarted_mid_epoch and not self.restarted_on_epoch_end:",)),
        (_FitLoop.on_advance_end, ("self.epoch_progress.increment_processed()", "not self.restarting")),
        (
            _FitLoop.setup_data,
            ("_request_dataloader(source)", "_last_train_dl_reload_epoch = trainer.current_epoch"),
        ),
        (_FitLoop.on_save_checkpoint, ('state_dict["combined_loader"]',)),
        (
            _TrainingEpochLoop.run,
            ("self.reset()", "self.on_run_start(", "self.on_advance_end("),
        ),
        (
            _TrainingEpochLoop.on_run_start,
            ("self.trainer.fit_loop.is_resuming", "data_fetcher.fetched += self.batch_progress.current.ready"),
        ),
        (_TrainingEpochLoop.on_advance_end, ("self.val_loop.run()", "update_plateau_schedulers=True")),
        (Trainer._run_stage, ("self._run_sanity_check()", "self.fit_loop.run()")),
        (Trainer._run_sanity_check, ("not val_loop.restarting",)),
        (_DataLoaderSource.dataloader, ("self.instance",)),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_the_loops_do_what_was_read(source: Callable[..., Any], texts: tuple[str, ...]) -> None:
    assert has(source, *texts), FILE


def test_what_is_logged_has_the_fields_that_are_saved() -> None:
    known = {*META_FIELDS, "reduce_fx", "_sync"}
    assert {field.name for field in fields(_Metadata)} == known, FILE
    assert [field.name for field in fields(_Sync)] == ["fn", "_should", "rank_zero_only", "_op", "_group"], FILE
    metric = _ResultMetric(_Metadata("hook", "name", _sync=_Sync()), is_tensor=True)
    assert {"value", "cumulated_batch_size"} == set(metric.metric_state), FILE
    assert {"is_tensor", "meta", "has_reset", "_forward_cache", "_update_count", "_computed"} <= set(vars(metric)), FILE


def test_the_names_that_are_used_exist() -> None:
    silence_messages()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    loop = trainer.fit_loop
    epochs, connector = loop.epoch_loop, trainer._logger_connector
    used: list[tuple[Any, str]] = [
        (loop, "_loaded_from_state_dict _restarting _restart_stage _data_source _combined_loader"),
        (epochs, "_results _should_accumulate batch_progress val_loop automatic_optimization manual_optimization"),
        (epochs.val_loop, "_last_val_dl_reload_epoch _seen_batches_per_dataloader _restarting"),
        (connector, "_callback_metrics _logged_metrics _progress_bar_metrics _first_loop_iter _current_fx"),
        (trainer._signal_connector, "register_signal_handlers"),
        (CombinedLoader([[1]]), "_mode iterables flattened limits"),
        (RestartStage, "RESTARTED_MID_EPOCH"),
    ]
    for owner, names in used:
        missing = [name for name in names.split() if not hasattr(owner, name)]
        assert not missing, f"{type(owner).__name__} has no {missing}: {FILE}"
