"""Whatever a person can get wrong on the command line: one short message, the right exit status, nothing written."""

import os
from pathlib import Path

import pytest
import torch
from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import ConfigKeyError

from common.errors import ConfigError, RunError, exit_status_of, message_of, report_errors

TASK = """
    # @package _global_
    defaults:
      - /datamodule: classify_mnist
      - /litmodule: classify_mnist
      - override /logger: none
      - _self_
    litmodule:
      config: {num_classes: 10}
      nnmodule: {config: {input_size: 784, num_layers: 1, output_size: 10}}
"""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "You must specify the task argument: task=<name>. Tasks of classify_mnist: fnn, mlp"),
        (["task="], "There is no task ''"),
        (["task=fn"], "There is no task 'fn' in classify_mnist. Did you mean task=fnn? Tasks: fnn, mlp"),
        (["task=zzzzzz"], "There is no task 'zzzzzz' in classify_mnist. Tasks: fnn, mlp"),
        (["task=fnn", "task=mlp"], "One task per command; received task=fnn,mlp."),
        (["task=fnn,mlp"], "One task per command; received task=fnn,mlp."),
        (["+task=fnn,mlp"], "One task per command"),
        (["task=choice(fnn,mlp)"], "One task per command"),
        (["task=../../etc"], "There is no task '../../etc'"),
        (["task=/etc/passwd"], "There is no task '/etc/passwd'"),
        (["task=.hidden"], "There is no task '.hidden'"),
        (["task=fnn", "datamodule=classify_mnits"], "classify_mnits"),
        (["task=fnn", "config.seed"], "config.seed"),
        (["task=fnn", "litmodule.optimizer.lr=interval(0,1)"], "The grid sweeper cannot sweep over"),
        (["task=fnn", "config.ckpt_path=no/such.ckpt"], "no/such.ckpt': there is no such file."),
        (["task=fnn", "config.evaluate_only=true"], "needs the checkpoint to evaluate"),
        (["task=fnn", "datamodule.config.source=digits", "config.seed=${no.such.key}"], "no.such.key"),
    ],
)
def test_a_mistake_in_the_command_exits_2_and_writes_nothing(arguments: list[str], text: str, cli, root: Path) -> None:
    outcome = cli(*arguments)
    assert text in outcome.err
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    assert list(root.rglob("*")) == []


def test_a_gpu_that_is_not_there_is_told(cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = cli("task=fnn", "config.device=gpu", "datamodule.config.source=digits")
    assert "config.device='gpu', but PyTorch sees no GPU" in outcome.err
    assert outcome.status == 2
    assert list(root.rglob("*")) == []


def test_malformed_yaml_is_told_with_file_and_line(cli, make_project, root: Path) -> None:
    project = make_project(broken=TASK + "    trainer: {max_epochs: 1]}\n")
    outcome = cli("task=broken", project=project)
    assert f"{project / 'task' / 'broken.yaml'}, line 10 is not valid YAML" in outcome.err
    assert outcome.status == 2
    assert list(root.rglob("*")) == []


def test_a_duplicate_key_is_told_with_file_and_line(cli, make_project) -> None:
    project = make_project(broken=TASK + "    litmodule: {}\n")
    outcome = cli("task=broken", project=project)
    assert "broken.yaml, line 10 is not valid YAML: found duplicate key litmodule" in outcome.err
    assert outcome.status == 2


def test_a_task_file_without_package_global_is_told(cli, make_project) -> None:
    outcome = cli("task=local", project=make_project(local=TASK.replace("# @package _global_", "# a note")))
    assert "# @package _global_" in outcome.err
    assert outcome.status == 2


def test_a_project_without_tasks_is_told_where_to_add_one(cli, make_project) -> None:
    project = make_project()
    outcome = cli("task=x", project=project)
    assert f"none yet: add a YAML file to {project / 'task'}" in outcome.err
    assert outcome.status == 2


def test_an_unwritable_root_is_told(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("keep me")
    monkeypatch.setenv("AI_RESEARCH_PATH", str(file))
    outcome = cli("task=fnn", "datamodule.config.source=digits")
    assert "AI_RESEARCH_PATH" in outcome.err
    assert outcome.status == 2
    assert file.read_text() == "keep me"


def test_an_unreadable_checkpoint_is_told(cli, tmp_path: Path) -> None:
    checkpoint = tmp_path / "damaged.ckpt"
    checkpoint.write_bytes(b"not a checkpoint")
    outcome = cli(
        "task=fnn", "logger=none", "datamodule.config.source=digits", f"config.ckpt_path={checkpoint}",
        "config.evaluate_only=true", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert f"The checkpoint {checkpoint} cannot be read" in outcome.err
    assert outcome.status == 2


def test_a_tracebacks_variable_shows_the_traceback(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    outcome = cli("task=zzzzzz")
    assert "Traceback (most recent call last)" in outcome.err
    assert outcome.status == 2
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x"), 2),
        (RunError("x"), 1),
        (HydraException("x"), 2),
        (ConfigKeyError("x"), 2),
        (ValueError("x"), 1),
        (InstantiationException("x"), 1),
    ],
)
def test_an_error_has_its_exit_status(error: Exception, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status_of(error) == status
    with pytest.raises(SystemExit) as end, report_errors():
        raise error
    assert end.value.code == status
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_while_building_has_the_status_of_its_cause() -> None:
    error = InstantiationException("Error in call to target 'x': ...\nfull_key: datamodule")
    error.__cause__ = ConfigError("no data")
    assert exit_status_of(error) == 2
    assert message_of(error) == "Error: no data\n  while building datamodule"


def test_an_interrupt_exits_130() -> None:
    with pytest.raises(SystemExit) as end, report_errors():
        raise KeyboardInterrupt
    assert end.value.code == 130


def test_the_variable_is_as_before_when_the_block_ends() -> None:
    with report_errors():
        assert os.environ["HYDRA_FULL_ERROR"] == "1"
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_an_unexpected_error_names_its_type_and_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), report_errors():
        raise ZeroDivisionError("by zero")
    err = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in err
    assert f"{__file__}:" in err
    assert "HYDRA_FULL_ERROR=1" in err
