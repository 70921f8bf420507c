"""A sample of the matrix of configurations, and its judge: `benchmarks/chaos.py --matrix` runs a large one."""

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.matrix.compare import differences, rows_differ
from benchmarks.matrix.draw import RANKS, Configuration, draw
from benchmarks.matrix.history import history_of
from benchmarks.matrix.matrix import table
from benchmarks.matrix.run import (
    Outcome,
    Root,
    command_of,
    draw_interruptions,
    expected_statuses,
    results_of,
    try_configuration,
)

NUM, SEED = 24, 1
SLOW = {("ranks", "2"), ("worker start", "spawn"), ("budget", "2 seconds")}
"""What takes seconds more; a large matrix has it, and other tests have two ranks and workers that are spawned."""


def sample() -> list[Configuration]:
    """Returns configurations that have each value of each axis, as far as so few can."""
    candidates = [configuration for configuration in draw(400, SEED) if not SLOW & set(configuration.axes.items())]
    seen: set[tuple[str, str]] = set()
    chosen = []
    for _ in range(NUM):
        best = max(candidates, key=lambda configuration: len(set(configuration.axes.items()) - seen))
        candidates.remove(best)
        seen |= set(best.axes.items())
        chosen.append(best)
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("index", range(NUM))
def test_interrupted_configuration_ends_as_in_peace_or_is_refused(index: int) -> None:
    outcome = try_configuration(sample()[index], random.Random(index), max_interruptions=1)
    assert not outcome.problems, command_of(outcome)


# --- the judge


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was left in peace."""
    configuration = Configuration("learning", ("trainer.max_epochs=1",), True, {})
    root = Root(tmp_path_factory.mktemp("matrix") / "root", configuration)
    status, output = root.launch()
    assert status == 0, output
    return root.runs[0]


@pytest.fixture
def copy(peaceful: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(peaceful, tmp_path / "runs" / peaceful.name, symlinks=True))


def judge(ours: Path, theirs: Path) -> list[str]:
    return differences(ours, theirs, num_ranks=1, is_timed=False)


def change_checkpoint(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


def change_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.slow
def test_judge_finds_nothing_where_nothing_differs(peaceful: Path, copy: Path) -> None:
    assert judge(copy, peaceful) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            lambda run: change_checkpoint(run / "lightning/last.ckpt", smallest_change),
            "last.ckpt differs in .state_dict",
        ),
        (
            lambda run: change_checkpoint(run / "lightning/last.ckpt", lambda held: held["optimizer_states"].clear()),
            "last.ckpt differs in .optimizer_states",
        ),
        (
            lambda run: change_checkpoint(run / "lightning/best.ckpt", smallest_change),
            "best.ckpt differs in .state_dict",
        ),
        (lambda run: (run / "lightning/best.ckpt").unlink(), "best.ckpt is missing"),
        (lambda run: change_text(run / "metrics.csv", "\n9,0", "\n8,0"), "metrics.csv, row"),
        (lambda run: change_text(run / "provenance.json", '"finished"', '"stopped"'), "its record says stopped"),
        (lambda run: (run / "lightning/.last.ckpt.1.tmp").touch(), "left behind"),
        (lambda run: (run.parent / ".new-1").mkdir(), "left behind"),
        (lambda run: (run / "loss.png").unlink(), "pictures"),
        (lambda run: shutil.rmtree(run / "wandb"), "0 W&B runs instead of 1"),
        (lambda run: (run / "wandb/offline-run-20260101_000000-other").mkdir(), "2 W&B runs instead of 1"),
        (
            lambda run: next(run.glob("wandb/offline-run-*/*.wandb")).write_bytes(b":W&B\xe1\xbe\0"),
            "W&B's history, step 0",
        ),
    ],
)
def test_judge_finds(peaceful: Path, copy: Path, damage: Callable[[Path], object], problem: str) -> None:
    damage(copy)
    assert any(problem in found for found in judge(copy, peaceful)), judge(copy, peaceful)


def smallest_change(checkpoint: dict[str, Any]) -> None:
    weight = next(iter(checkpoint["state_dict"].values()))
    weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))


def rows(*steps: int, loss: float = 0.5) -> list[dict[str, str]]:
    """Returns a row of training for each step, and one of the validation at the end."""
    trained = [{"step": str(step), "epoch": "0", "train/loss": f"{loss + step}"} for step in steps]
    return [*trained, {"step": str(steps[-1]), "epoch": "0", "val/loss": f"{loss}"}]


@pytest.mark.parametrize("last", [7, 8, 9])
def test_judge_compares_what_both_did_until_their_time_was_up(last: int) -> None:
    """With a row every three batches; the batch that is a run's last has one, too."""
    short, long = rows(3, 6, last), rows(3, 6, 9, 12, 13)
    assert rows_differ(short, long, is_timed=True) == rows_differ(long, short, is_timed=True) == []
    assert rows_differ(short, long, is_timed=False) != []
    for other in (rows(3, 5, last), rows(3, 6, last, loss=0.6)):
        assert rows_differ(other, long, is_timed=True)[0].startswith("metrics.csv, row ")


@pytest.mark.slow
def test_judge_evaluates_the_best_network_itself(peaceful: Path, copy: Path) -> None:
    """Both runs agree, and both say what is not so."""
    for run in (copy, peaceful):
        assert not judge(run, run)
    change_checkpoint(copy / "lightning/best.ckpt", lambda held: held["state_dict"]["nnmodule.layers.4.weight"].zero_())
    assert any("evaluated again" in found for found in judge(copy, copy))


def test_wandb_history_is_each_step_once(peaceful: Path) -> None:
    rows, problems = history_of(peaceful)
    assert not problems
    assert sorted(rows) == list(range(len(rows)))
    assert [row["val/loss"] for row in rows.values() if "val/loss" in row]


# --- what is drawn, and how it is interrupted


def test_every_value_of_every_axis_is_drawn() -> None:
    from benchmarks.matrix.draw import axes_of

    drawn = [configuration.axes for configuration in draw(400, SEED)]
    for project in ("learning", "evolving"):
        for axis, values in (axes_of(project) | {"ranks": RANKS}).items():
            missing = set(values) - {axes.get(axis) for axes in drawn}
            assert not missing, f"{axis}: {missing}"


def test_registered_members_are_values_of_axes() -> None:
    from benchmarks.matrix.draw import axes_of

    assert {"adam", "adamw", "sgd"} <= axes_of("learning")["optimizer"].keys()
    assert {"simple_ga", "snes", "cma_es"} <= axes_of("evolving")["algorithm"].keys()


def test_a_configuration_follows_from_seed_and_number_alone() -> None:
    assert list(draw(5, 3))[4] == list(draw(9, 3))[4] != list(draw(5, 4))[4]


def test_interruptions_come_while_their_events_do() -> None:
    configuration = Configuration("learning", (), False, {})
    drawn = [list(draw_interruptions(configuration, {"train": 10, "val": 4}, random.Random(i))) for i in range(200)]
    assert {len(interruptions) for interruptions in drawn} == {1, 2, 3}
    moments = {moment.partition("@")[2].partition(":")[0] for interruptions in drawn for moment in interruptions}
    assert moments == {"train", "val", "after"}
    assert all(int(moment.rpartition(":")[2]) <= 10 for moments in drawn for moment in moments if "@train" in moment)


@pytest.mark.parametrize(
    ("interruption", "statuses"),
    [
        (None, {0}),
        ("SIGTERM@train:5", {0, 75, -signal.SIGTERM}),
        ("SIGKILL@val:1", {0, 75, -signal.SIGKILL}),
        ("EXCEPTION@train:1", {0, 1}),
    ],
)
def test_statuses_that_are_expected(interruption: str | None, statuses: set[int]) -> None:
    assert expected_statuses(interruption, 1) == statuses


def test_results_are_read_from_what_a_run_prints() -> None:
    printed = "Epoch 2: 100%\r\n  val/loss       0.6118\r\n  folder  /a/b\r\n\r\n  plots   loss.png\r\n"
    assert results_of(printed) == ["val/loss       0.6118"]


def test_table_counts_by_axis() -> None:
    configurations = [Configuration("learning", (), False, {"bar": value}) for value in ("on", "off", "on")]
    outcomes = [Outcome(configuration) for configuration in configurations]
    outcomes[2].verdict = "refused"
    assert table(outcomes).splitlines()[2:] == ["| bar | off | 1 | 0 | 0 |", "| bar | on | 1 | 1 | 0 |"]


def test_command_repeats_a_configuration() -> None:
    configuration = Configuration("learning", ("a=1", "+b={c:1}"), True, {})
    assert command_of(Outcome(configuration, ["SIGTERM@train:5"])) == (
        "python benchmarks/chaos.py --repeat learning --terminal --interruptions SIGTERM@train:5 "
        "--overrides a=1 '+b={c:1}'"
    )
