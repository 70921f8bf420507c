"""The Optuna sweeper: what is searched, that the same command gives the same values, and how trials may end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.launch.sweep.optuna import STORAGE_NAME, open_study
from common.run.record import read_record, write_record
from tests.launch.tiny import TinyRunner

OPTUNA = "hydra/sweeper=optuna"
LOG = "number=tag(log,interval(1e-4,1e-1))"


def trials(number: int, sampler: str = "random", *further: str) -> tuple[str, ...]:
    return (OPTUNA, LOG, f"hydra.sweeper.n_trials={number}", f"hydra.sweeper.sampler={sampler}", *further)


def numbers_of(sweep: Path) -> list[float]:
    """Returns what the trials were given, in their order."""
    folders = sorted(path for path in sweep.glob("[0-9]*"))
    return [float(folder.name.partition("=")[2]) for folder in folders]


def values_of(sweep: Path) -> list[float | None]:
    return [trial.value for trial in open_study(sweep / STORAGE_NAME, "minimize").trials]


def states_of(sweep: Path) -> list[str]:
    return [trial.state.name for trial in open_study(sweep / STORAGE_NAME, "minimize").trials]


@pytest.mark.slow
def test_trials_are_points_with_what_optuna_draws(run, outputs, seen: list[float]) -> None:
    outcome = run(*trials(6))
    assert outcome.status == 0, outcome.err
    (sweep,) = outputs()
    assert numbers_of(sweep) == seen
    assert all(1e-4 <= number <= 1e-1 for number in seen)
    assert min(seen) < 1e-2 < max(seen)
    assert values_of(sweep) == [1 / number for number in seen]
    assert len((sweep / "sweep.csv").read_text().splitlines()) == 7
    assert outcome.out.count("[6/6]") == 1


@pytest.mark.slow
def test_killed_search_goes_on_with_the_same_values(
    run, outputs, seen: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More trials than TPE draws at random, two at a time; the kill comes in the middle of the last pair."""
    arguments = trials(12, "tpe", "hydra.sweeper.n_jobs=2")
    assert run(*arguments).status == 0
    (whole,) = outputs()
    expected = list(seen)
    run_subtask = TinyRunner.run_subtask

    def killed(config: Any, number: float, free: Any) -> float:
        if len(seen) == len(expected) - 1:
            raise KeyboardInterrupt
        return run_subtask(config, number, free)

    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(TinyRunner, "run_subtask", staticmethod(killed))
        assert run(*arguments).status == 130
    cut = outputs()[-1]
    assert cut != whole
    with (cut / STORAGE_NAME).open("ab") as file:
        file.write(b'{"op_code":4,"wor')  # A kill in the middle of a line.
    (cut / f"{STORAGE_NAME}.lock").symlink_to("nowhere")
    outcome = run(*arguments)
    assert outcome.status == 0, outcome.err
    assert outputs()[-1] == cut
    assert seen == expected
    assert numbers_of(cut) == expected
    assert values_of(cut) == values_of(whole)
    assert len((cut / "sweep.csv").read_text().splitlines()) == 13


@pytest.mark.slow
def test_samplers_and_seeds_give_other_values(run, outputs, seen: list[float]) -> None:
    for arguments in (trials(3), trials(3, "random", "hydra.sweeper.seed=1"), trials(3)):
        assert run(*arguments).status == 0
    assert seen[:3] != seen[3:6]
    assert seen[:3] == seen[6:]
    assert len(outputs()) == 3


@pytest.mark.slow
def test_larger_number_of_trials_continues_a_finished_search(run, outputs, seen: list[float]) -> None:
    assert run(*trials(9)).status == 0
    first = list(seen)
    assert run(*trials(11)).status == 0
    (sweep,) = outputs()
    assert seen[:9] == first
    assert len(seen) == 11
    assert numbers_of(sweep) == seen
    assert read_record(sweep).status == "finished"


@pytest.mark.slow
def test_failed_trial_is_tried_again_and_finished_ones_are_kept(run, outputs, seen: list[float], monkeypatch) -> None:
    run_subtask = TinyRunner.run_subtask

    def fails(config: Any, number: float, free: Any) -> float:
        if len(seen) == 1:
            seen.append(number)
            raise OSError("the disk is full")
        return run_subtask(config, number, free)

    with monkeypatch.context() as patch:
        patch.setattr(TinyRunner, "run_subtask", staticmethod(fails))
        outcome = run(*trials(3))
    assert outcome.status == 1
    assert "1 of 3 points failed" in outcome.err
    assert "the disk is full" in outcome.err
    (sweep,) = outputs()
    assert states_of(sweep) == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert run(*trials(3)).status == 0
    assert seen[3:] == [seen[1]]
    assert states_of(sweep) == ["COMPLETE"] * 3
    assert len(outputs()) == 1


@pytest.mark.slow
def test_pruned_trial_is_no_failure_and_not_tried_again(run, outputs, seen: list[float], monkeypatch) -> None:
    import optuna

    run_subtask = TinyRunner.run_subtask

    def prunes(config: Any, number: float, free: Any) -> float:
        if len(seen) == 1:
            seen.append(number)
            raise optuna.TrialPruned
        return run_subtask(config, number, free)

    monkeypatch.setattr(TinyRunner, "run_subtask", staticmethod(prunes))
    assert run(*trials(3)).status == 0
    (sweep,) = outputs()
    assert states_of(sweep) == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert read_record(sweep).status == "finished"
    assert run(*trials(4)).status == 0
    assert len(seen) == 4
    assert states_of(sweep) == ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"]
    assert (sweep / "sweep.csv").read_text().count("pruned") == 1


@pytest.mark.slow
def test_trial_that_finished_unseen_is_taken_from_its_folder(run, outputs, seen: list[float]) -> None:
    """The kill came between the end of the run and Optuna's hearing of it."""
    assert run(*trials(2)).status == 0
    (sweep,) = outputs()
    journal = sweep / STORAGE_NAME
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-1]))
    write_record(sweep, replace(read_record(sweep), status="running"))
    assert states_of(sweep) == ["COMPLETE", "RUNNING"]
    seen.clear()
    assert run(*trials(2)).status == 0
    assert seen == []
    assert states_of(sweep) == ["COMPLETE", "COMPLETE"]


DAMAGES = {
    "a blank line in the middle": lambda text: text.replace(b"\n", b"\n\n", 1),
    "a blank line at the end": lambda text: text + b"\n",
    "half a line in the middle": lambda text: text.replace(b'"op_code"', b"\n", 3),
    "NUL bytes at the end": lambda text: text + bytes(4) + b"\n",
    "NUL bytes instead of it": lambda text: bytes(len(text)) + b"\n",
    "random bytes": lambda text: b"\xff\xfe\x80\n" + text,
    "JSON of another kind": lambda text: text + b"5\n",
    "an unknown operation": lambda text: text + b'{"op_code": 77, "worker_id": "x"}\n',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_journal_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    import optuna

    journal = tmp_path / STORAGE_NAME
    open_study(journal, "minimize").add_trial(optuna.trial.create_trial(value=1.0))
    assert values_of(tmp_path) == [1.0]
    journal.write_bytes(DAMAGES[damage](journal.read_bytes()))
    study = open_study(journal, "minimize")
    assert study.trials == []
    assert f"{journal} is damaged, and lies in optuna.log.damaged now." in caplog.text
    assert (tmp_path / f"{STORAGE_NAME}.damaged").is_file()
    study.add_trial(optuna.trial.create_trial(value=2.0))
    assert values_of(tmp_path) == [2.0]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["half a line in the middle", "NUL bytes instead of it"])
def test_study_whose_journal_is_damaged_is_built_anew_from_its_trials(
    run, outputs, seen: list[float], damage: str
) -> None:
    assert run(*trials(3, "tpe")).status == 0
    (sweep,) = outputs()
    numbers, values = numbers_of(sweep), values_of(sweep)
    content = (sweep / STORAGE_NAME).read_bytes()
    (sweep / STORAGE_NAME).write_bytes(DAMAGES[damage](content))
    seen.clear()
    outcome = run(*trials(4, "tpe"))
    assert outcome.status == 0, outcome.err
    assert f"{sweep / STORAGE_NAME} is damaged, and lies in optuna.log.damaged now." in outcome.err
    assert len(seen) == 1
    assert numbers_of(sweep)[:3] == numbers
    assert values_of(sweep)[:3] == values
    assert (sweep / f"{STORAGE_NAME}.damaged").is_file()


@pytest.mark.slow
def test_journal_that_is_a_folder_is_told_in_a_sentence(run, outputs) -> None:
    assert run(*trials(2)).status == 0
    (sweep,) = outputs()
    (sweep / STORAGE_NAME).unlink()
    (sweep / STORAGE_NAME).mkdir()
    outcome = run(*trials(3))
    assert outcome.status == 2
    assert f"{sweep / STORAGE_NAME} is a folder, where a file belongs. Move it away or mend it" in outcome.err


def test_result_that_is_no_number_is_told(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyRunner, "run_subtask", staticmethod(lambda config, number, free: "fine"))
    outcome = run(*trials(2))
    assert outcome.status == 1
    assert "Optuna needs a number from each trial" in outcome.err


def test_result_that_is_nan_is_a_trial_without_value(run, outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyRunner, "run_subtask", staticmethod(lambda config, number, free: float("nan")))
    assert run(*trials(2)).status == 0
    assert states_of(outputs()[0]) == ["FAIL", "FAIL"]


TASK = """
    # @package _global_
    defaults:
      - override /hydra/sweeper: optuna
      - _self_
    hydra:
      sweeper:
        n_trials: 3
        params:
          number: tag(log, interval(1e-4, 1e-1))
          free.way: choice(left, right)
          free.count: int(interval(1, 3))
          free.step: range(2, 9, 3)
          free.fixed: 7
    free: {way: null, count: null, step: null, fixed: null}
"""


@pytest.mark.slow
def test_task_file_says_what_is_searched_and_the_command_line_wins(cli, make_project, outputs, seen) -> None:
    project = make_project(tiny=TASK)
    outcome = cli("task=tiny", "free.way=up", project=project, runner=TinyRunner)
    assert outcome.status == 0, outcome.err
    (sweep,) = outputs()
    for folder in sweep.glob("[0-9]*"):
        varied = dict(override.split("=") for override in read_record(folder).overrides)
        assert set(varied) == {"number", "free.count", "free.step"}
        assert varied["free.count"] in "123"
        assert varied["free.step"] in ("2", "5", "8")
        config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
        assert (config["free"]["way"], config["free"]["fixed"]) == ("up", 7)


def test_ends_of_what_is_searched_are_checked_before_anything_starts(cli, make_project, outputs) -> None:
    project = make_project(tiny=TASK.replace("number: tag(log, interval(1e-4, 1e-1))", "config.seed: range(-1, 3)"))
    outcome = cli("task=tiny", project=project, runner=TinyRunner)
    assert outcome.status == 2
    assert "config.seed=-1 is not allowed" in outcome.err
    assert outputs() == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((OPTUNA,), "hydra/sweeper=optuna has nothing to search"),
        ((OPTUNA, LOG, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0 is not allowed: it must be int ≥ 1"),
        ((OPTUNA, LOG, "hydra.sweeper.sampler=grid"), "hydra.sweeper.sampler='grid' is not allowed: it must be one of"),
        ((LOG,), "hydra/sweeper=optuna searches intervals"),
    ],
)
def test_what_cannot_be_searched_is_told(run, outputs, arguments: tuple[str, ...], text: str) -> None:
    outcome = run(*arguments)
    assert outcome.status == 2
    assert text in outcome.err
    assert outputs() == []


def test_without_optuna_it_is_said_how_to_install_it(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.launch.sweep.optuna.importlib.util.find_spec", lambda name: None)
    outcome = run(*trials(2))
    assert outcome.status == 2
    assert "pip install -e '.[optuna]'" in outcome.err
