"""Kill it anywhere: the same command continues to the same result."""

import importlib.util
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from projects.classify_mnist.litmodule import MNISTClassificationLitModule
from tests.processes import WarmProcess

pytestmark = pytest.mark.slow

SHORT = (
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "datamodule.config.fixed_per_device_batch_size=128",
    "litmodule.nnmodule.config.layer_sizes=[784,16,10]",
    "logger=none",  # The matrix and the terminal's test continue with W&B.
)
STEPS_PER_EPOCH = 11


class Crash(BaseException):
    """Ends a process at once, as far as anything that could be saved is concerned."""


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Returns a function that lets something happen in the n-th training step of this process."""

    def plan(number: int, happen: Callable[[], None]) -> None:
        inner, calls = MNISTClassificationLitModule.step, iter(range(10**6))

        def step(self: Any, batch: Any, batch_idx: int) -> Any:
            if self.stage == "train" and next(calls) == number:
                happen()
            return inner(self, batch, batch_idx)

        monkeypatch.setattr(MNISTClassificationLitModule, "step", step)

    return plan


@pytest.fixture
def launch(command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Runs the same command in the same root."""
    (tmp_path / "place").mkdir()
    return lambda *overrides: command("mlp", *SHORT, *overrides, root=tmp_path / "place")


@pytest.fixture(scope="module")
def peaceful(command: Callable[..., Any]) -> Any:
    """The run that is left in peace."""
    return command("mlp", *SHORT)


def without_time(run: Any) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "time"} for row in run.metrics]


def assert_same(run: Any, other: Any) -> None:
    assert run.status == 0, run.output
    assert without_time(run) == without_time(other)
    assert all(torch.equal(value, other.parameters[name]) for name, value in run.parameters.items())
    assert run.provenance["status"] == "finished"


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail() -> None:
    raise ValueError("a mistake in somebody's code")


def crash() -> None:
    raise Crash


def test_a_signal_stops_the_run_and_the_same_command_continues(launch, at_step, peaceful) -> None:
    at_step(14, terminate)
    stopped = launch()
    assert stopped.status == 75, stopped.output
    assert "The same command continues." in stopped.output
    assert stopped.provenance["status"] == "stopped"
    continued = launch()
    assert "continuing the stopped run" in continued.log
    assert len(continued.provenance["launches"]) == 2
    assert_same(continued, peaceful)


def test_an_error_is_reported_and_the_same_command_continues(launch, at_step, peaceful) -> None:
    at_step(14, fail)
    failed = launch()
    assert failed.status == 1
    assert "ValueError: a mistake in somebody's code" in failed.output
    assert failed.provenance["error"] == "ValueError: a mistake in somebody's code"
    checkpoint = torch.load(failed.folder / "lightning" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 14
    assert_same(launch(), peaceful)


def test_a_larger_budget_continues_and_equals_a_straight_run(launch, command, peaceful) -> None:
    assert launch().status == 0
    again = launch("trainer.max_epochs=3")
    assert "continuing the finished run" in again.log
    assert_same(again, command("mlp", *SHORT, "trainer.max_epochs=3"))


def test_a_run_can_start_afresh_or_from_a_checkpoint(launch, at_step, tmp_path: Path) -> None:
    at_step(2, terminate)
    first = launch()
    last = first.folder / "lightning" / "last.ckpt"
    assert launch("config.ckpt_path=null").status == 0
    assert launch(f"config.ckpt_path={last}").status == 0
    folders = sorted((tmp_path / "place/data/classify_mnist/mlp").iterdir())
    records = [(folder / "provenance.json").read_text() for folder in folders]
    assert len(folders) == 3
    assert [f'"path": "{last}"' in record for record in records] == [False, False, True]


@pytest.mark.parametrize("names", [("last", "previous", "best"), ("best",)], ids=["all", "best"])
def test_without_the_checkpoints_that_it_needs_the_run_says_so_and_nothing_in_its_folder_changes(
    launch, at_step, names: tuple[str, ...]
) -> None:
    at_step(14, terminate)
    folder = launch().folder
    for name in names:
        (folder / "lightning" / f"{name}.ckpt").write_bytes(b"damaged")  # Under whatever other name it has, too.
    before = {path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}
    failed = launch()
    assert failed.status == 2
    assert ("No checkpoint of this run is good" if len(names) > 1 else "no other holds that network") in failed.output
    after = {path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}
    assert {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)} <= {".lock"}


def test_a_full_disk_is_told_and_the_last_good_checkpoint_is_intact(
    launch, at_step, monkeypatch: pytest.MonkeyPatch, peaceful
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        at_step(14, lambda: patch.setattr("os.fsync", full))
        failed = launch()
    assert failed.status == 1
    assert "the disk is full" in failed.output
    assert "give the same command to continue" in failed.output
    assert_same(launch(), peaceful)


def test_a_sweep_that_was_stopped_continues_in_its_folder(launch, at_step, tmp_path: Path) -> None:
    swept = ("config.seed=0,1", "config.skip_finished=true")
    at_step(2 * STEPS_PER_EPOCH + 3, terminate)  # In the second point.
    assert launch(*swept).status == 75
    (folder,) = (tmp_path / "place/data/classify_mnist/mlp").iterdir()
    metrics = (folder / "0_config.seed=0" / "metrics.csv").read_text()
    continued = launch(*swept)
    assert continued.status == 0, continued.output
    assert "finished earlier, skipped" in continued.output
    assert [path.name for path in sorted(folder.glob("[!.]*")) if path.is_dir()] == [
        "0_config.seed=0",
        "1_config.seed=1",
    ]
    assert (folder / "0_config.seed=0" / "metrics.csv").read_text() == metrics
    assert len(list(folder.parent.iterdir())) == 1


def chaos_module() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "chaos.py"
    spec = importlib.util.spec_from_file_location("chaos", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["chaos"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.START = WarmProcess  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(("name", "num_ranks"), [("mlp", 1), ("fnn", 2)])
def test_chaos(name: str, num_ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chaos = chaos_module()
    monkeypatch.setattr(chaos, "MOMENTS", ("training",))  # The others may pass by unseen on a busy machine.
    overrides = ("datamodule.config.source=digits", "trainer.max_epochs=3", "logger=none")
    rng, draw = random.Random(num_ranks), random.Random(0).random
    rng.randint = lambda low, high: high  # type: ignore[method-assign]  # Three kills each,
    rng.random = lambda: 0.6 * draw()  # type: ignore[method-assign]  # none so late that little is left for the next.
    if num_ranks > 1:  # Said to Lightning too, it is the same run.
        overrides += ("trainer.devices=2", "trainer.num_nodes=1", "trainer.strategy=ddp")
    (outcome,) = chaos.chaos(chaos.Task(name, overrides, num_ranks), 1, rng)
    assert outcome.problems == []
    assert len(outcome.kills) == 3


def test_identical_commands_at_the_same_moment_share_nothing(tmp_path: Path) -> None:
    chaos = chaos_module()
    settings = (
        "datamodule.config.source=digits",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=3",
        "logger=none",
    )
    task = chaos.Task("fnn", settings)
    processes = [chaos.launch(task, tmp_path) for _ in range(8)]
    assert [process.wait() for process in processes] == [0] * 8, (tmp_path / "output.txt").read_text()
    folders = chaos.folders_of(task, tmp_path)
    assert len(folders) == 8
    for folder in folders:
        assert [row["step"] for row in chaos.read_rows(folder) if row["train/loss"]] == ["0", "1", "2"]
        assert (folder / "fnn.log").read_text().count("Batch size:") == 1
