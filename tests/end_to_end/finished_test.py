"""What was finished stays finished: a later launch that ends before its first checkpoint changes nothing of it."""

import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cli.clean import candidates_of
from common.cli.runs import read_run
from common.ne.evolution import Evolution
from common.run import load
from common.run.record import read_record
from projects.classify_mnist.datamodule import MNISTDataModule
from projects.classify_mnist.litmodule import MNISTClassificationLitModule
from tests.end_to_end.conftest import Finished

SHORT = (
    "logger=none",
    "hydra.launcher.cpus_per_task=1",  # A forked process cannot use the threads of the one that it comes from.
    "trainer.log_every_n_steps=1",
    "datamodule.config.fixed_per_device_batch_size=128",
    "litmodule.nnmodule.config.layer_sizes=[784,16,10]",
)
LONGER = ("trainer.max_epochs=2", "config.save_every_n_minutes=7")
"""A larger budget, and another setting that no result depends on."""

KEPT = "This launch ended before its first checkpoint: nothing of the finished run in"


def state_of(folder: Path) -> dict[str, bytes]:
    """Returns all that a launch which does not come to a checkpoint may not change: not the log, which tells of it."""
    own = [path for path in folder.rglob("*") if ".code" not in path.parts]  # The code of the newest launch.
    paths = [path for path in own if path.is_file() and path.suffix != ".log" and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def original(command: Callable[..., Finished]) -> Finished:
    """A run of one epoch, and nothing else in its root."""
    run = command("mlp", *SHORT, "trainer.max_epochs=1")
    assert run.status == 0, run.output
    return run


@pytest.fixture
def finished(original: Finished, tmp_path: Path) -> Finished:
    """A copy of it: checkpoints are other files there, as after a move to another disk."""
    shutil.copytree(original.root, tmp_path / "outputs", symlinks=True)
    return Finished(tmp_path / "outputs", original.status, original.output)


@pytest.fixture
def prolong(command: Callable[..., Finished], finished: Finished) -> Callable[[], Finished]:
    """Launches the same run with a larger budget."""
    return lambda: command("mlp", *SHORT, *LONGER, root=finished.root)


def hook(patch: pytest.MonkeyPatch, place: str, happen: Callable[[], None]) -> None:
    """Lets something happen while the data is loaded, or in each step of training."""
    owner: Any = MNISTDataModule if place == "setup" else MNISTClassificationLitModule
    inner = getattr(owner, place)

    def replacement(self: Any, *arguments: Any, **named: Any) -> Any:
        if place != "step" or self.stage == "train":
            happen()
        return inner(self, *arguments, **named)

    patch.setattr(owner, place, replacement)


def fail() -> None:
    raise OSError("the disk is gone")


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("place", "happen"), [("setup", fail), ("step", fail), ("setup", interrupt)])
def test_a_launch_that_fails_at_its_start_changes_nothing_and_says_so(
    prolong: Callable[[], Finished],
    finished: Finished,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    happen: Callable[[], None],
) -> None:
    before = state_of(finished.folder)
    with monkeypatch.context() as patch:
        hook(patch, place, happen)
        failed = prolong()
    assert failed.status == (1 if happen is fail else 130)
    assert f"{KEPT} {finished.folder} was changed" in failed.output
    assert state_of(finished.folder) == before
    assert read_run(finished.folder).state == "finished"


def test_the_run_goes_on_after_that_and_each_launch_is_on_record(
    prolong: Callable[[], Finished], finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_record(finished.folder)
    accuracy = finished.final("test/accuracy")
    with monkeypatch.context() as patch:
        hook(patch, "setup", fail)
        prolong()
    longer = prolong()
    assert (longer.status, longer.folder) == (0, finished.folder), longer.output
    first, second = read_record(longer.folder).launches
    assert (first.status, first.result, first.budget["trainer.max_epochs"]) == ("finished", before.result, 1)
    assert first.metrics["test/accuracy"] == accuracy
    assert (second.status, second.budget["trainer.max_epochs"]) == ("finished", 2)
    assert not (longer.folder / ".finished").exists()


def test_a_launch_that_is_killed_at_its_start_leaves_a_finished_run(
    prolong: Callable[[], Finished], finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_of(finished.folder)
    child = os.fork()
    if child == 0:
        try:
            hook(monkeypatch, "step", lambda: os.kill(os.getpid(), signal.SIGKILL))
            prolong()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert state_of(finished.folder) != before  # Nobody could put it back.
    seen = read_run(finished.folder)
    assert seen.state == "finished"
    assert seen.metrics["test/accuracy"] == finished_accuracy(before)
    assert load(finished.folder).config.trainer.max_epochs == 1
    with monkeypatch.context() as patch:
        hook(patch, "setup", fail)
        prolong()
    assert state_of(finished.folder) == before


def finished_accuracy(state: dict[str, bytes]) -> float:
    header, *rows = (line.split(",") for line in state["metrics.csv"].decode().splitlines())
    return next(float(row[header.index("test/accuracy")]) for row in rows if row[header.index("test/accuracy")])


@pytest.mark.slow
@pytest.mark.parametrize("happen", [fail, lambda: os.kill(os.getpid(), signal.SIGTERM)], ids=["failed", "stopped"])
def test_a_launch_that_ends_after_a_checkpoint_leaves_what_was_finished_on_record(
    prolong: Callable[[], Finished], finished: Finished, monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None]
) -> None:
    """It ends in its third step; one that fails saves the state before that."""
    before = read_record(finished.folder)
    steps = iter(range(1000))
    with monkeypatch.context() as patch:
        hook(patch, "step", lambda: happen() if next(steps) == 2 else None)
        ended = prolong()
    assert ended.status == (1 if happen is fail else 75)
    assert KEPT not in ended.output
    record, run = read_record(finished.folder), read_run(finished.folder)
    assert run.state == "stopped"
    assert [launch.status for launch in record.launches] == ["finished", "failed" if happen is fail else "stopped"]
    assert record.launches[0].result == before.result
    assert record.budget["trainer.max_epochs"] == 2


@pytest.mark.parametrize("content", ["", '{"status": "fini', '{"kind": "plain", "status": 3}'])
def test_a_damaged_run_is_named_and_a_new_one_begins(
    prolong: Callable[[], Finished], finished: Finished, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    damaged = finished.folder
    (damaged / "provenance.json").write_text(content)
    before = state_of(damaged)
    with monkeypatch.context() as patch:
        hook(patch, "setup", fail)  # Enough was seen by then.
        output = prolong().output
    assert f"a new run: a damaged run of this task lies at {damaged}: provenance.json " in output
    assert f"to start from it: config.ckpt_path={damaged}/lightning/last.ckpt" in output
    assert "no earlier one" not in output
    assert state_of(damaged) == before


@contextlib.contextmanager
def no_checkpoint_fits() -> Iterator[None]:
    """Lets no file grow beyond what a record, a configuration or the code needs, here and in processes begun here."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CHECKPOINT_BYTES // 2, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


CHECKPOINT_BYTES = 2_400_000
LARGE = "litmodule.nnmodule.config.layer_sizes=[784,256,10]"


def assert_untouched(folder: Path, before: dict[str, bytes], patch: pytest.MonkeyPatch) -> None:
    """Checks that a run or a sweep is finished, as it was, and nothing that anybody would remove."""
    assert state_of(folder) == before
    run = read_run(folder)
    assert {run.state, *(point.state for point in run.points)} == {"finished"}
    patch.setenv("AI_RESEARCH_PATH", str(folder.parents[3]))
    assert list(candidates_of([run])) == []


@pytest.fixture(scope="module")
def finished_sweep(command: Callable[..., Finished]) -> Finished:
    """A sweep of two points, each of one epoch."""
    sweep = command("mlp", *SHORT, LARGE, "config.seed=0,1", "trainer.max_epochs=1")
    assert sweep.status == 0, sweep.output
    assert all(path.stat().st_size > CHECKPOINT_BYTES for path in sweep.root.rglob("last.ckpt"))
    return sweep


@pytest.mark.slow
@pytest.mark.parametrize("num_parallel", [1, 2])
def test_a_finished_sweep_stays_finished(
    command: Callable[..., Finished],
    finished_sweep: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_parallel: int,
) -> None:
    root = tmp_path / "outputs"
    shutil.copytree(finished_sweep.root, root, symlinks=True)
    (folder,) = root.glob("data/*/*/*")
    before = state_of(folder)
    words = (*SHORT, LARGE, *LONGER, "config.seed=0,1", f"hydra.launcher.max_parallel={num_parallel}")
    with no_checkpoint_fits():
        failed = command("mlp", *words, root=root)
    assert failed.status == 1
    assert "2 of 2 points failed" in failed.output
    assert f"Nothing of the finished sweep in {folder} was changed." in failed.output
    assert_untouched(folder, before, monkeypatch)


@pytest.mark.slow
def test_a_sweep_of_which_one_point_went_on_is_no_failed_one(
    command: Callable[..., Finished], finished_sweep: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "outputs"
    shutil.copytree(finished_sweep.root, root, symlinks=True)
    (folder,) = root.glob("data/*/*/*")
    words = (*SHORT, LARGE, *LONGER, "config.seed=0,1")
    inner = MNISTDataModule.setup

    def setup(self: MNISTDataModule, stage: str) -> None:
        if self.config.seed == 1:
            fail()
        inner(self, stage)

    for more in ((), ("config.skip_finished=true",)):
        with monkeypatch.context() as patch:
            patch.setattr(MNISTDataModule, "setup", setup)
            failed = command("mlp", *words, *more, root=root)
        assert (failed.status, read_record(folder).status) == (1, "stopped"), failed.output
        assert "finished sweep" not in failed.output
        table = (folder / "sweep.csv").read_text().splitlines()
        assert [line.split(",")[2] for line in table[1:]] == ["finished", "failed"]
    assert [launch.status for launch in read_record(folder).launches] == ["finished", "failed", "failed"]


@pytest.mark.slow
def test_a_finished_run_of_two_ranks_stays_finished(
    command: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SHORT, LARGE, "hydra.launcher.tasks_per_node=2")
    finished = command("mlp", *words, "trainer.max_epochs=1")
    assert finished.status == 0, finished.output
    before = state_of(finished.folder)
    monkeypatch.setattr("common.launch.job.GRACE_S", 1)  # The other rank waits for the one that failed.
    with no_checkpoint_fits():
        failed = command("mlp", *words, *LONGER, root=finished.root)
    assert failed.status == 1
    assert f"{KEPT} {finished.folder} was changed" in failed.output
    assert_untouched(finished.folder, before, monkeypatch)


def test_a_finished_evolution_stays_finished(command: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("logger=none", "config.target_fitness=null", "population.config.size=8", "evaluator.config.backend=numpy")
    words += ("config.num_validation_episodes=30", "config.num_test_episodes=30")
    evolve: Any = lambda *more, **options: command(  # noqa: E731
        "cartpole", *words, *more, project="ne_control_score", defaults=(), **options
    )
    finished = evolve("config.num_generations=2")
    assert finished.status == 0, finished.output
    before = state_of(finished.folder)
    with monkeypatch.context() as patch:
        patch.setattr(Evolution, "advance", lambda self: fail())
        failed = evolve("config.num_generations=4", root=finished.root)
    assert failed.status == 1
    assert f"{KEPT} {finished.folder} was changed" in failed.output
    assert_untouched(finished.folder, before, monkeypatch)
