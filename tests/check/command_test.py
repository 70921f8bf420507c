"""What the command line says about keys and values, before anything has started."""

from pathlib import Path

import pytest

TASK = """
    # @package _global_
    defaults:
      - /datamodule: classify_mnist
      - /litmodule: classify_mnist
      - _self_
    litmodule:
      config: {num_classes: 10}
      nnmodule: {config: {input_size: 784, num_layers: 1, output_size: 10}}
"""
NEWLINE = "\n"
COMMAND_LINE = "(Set on the command line.)"


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("config.seed=-1", "config.seed=-1 is not allowed: it must be int ≥ 0."),
        ("config.seed=1.5", "config.seed=1.5 is not allowed: it must be int ≥ 0."),
        ("config.device=tpu", "config.device='tpu' is not allowed: it must be one of 'cpu', 'gpu'."),
        ("litmodule.config.num_classes=1", "litmodule.config.num_classes=1 is not allowed: it must be int ≥ 2."),
        ("litmodule.nnmodule.config.num_layers=0", "litmodule.nnmodule.config.num_layers=0 is not allowed"),
        ("datamodule.config.source=mnits", "datamodule.config.source='mnits' is not allowed: it must be one of"),
        (
            "datamodule.config.val_fraction=1",
            "datamodule.config.val_fraction=1 is not allowed: it must be float > 0 < 1",
        ),
        ("hydra.launcher.cpus_per_task=0", "hydra.launcher.cpus_per_task=0 is not allowed: it must be int ≥ 1 or null"),
        ("litmodule.optimizer.lrr=0.1", "the key litmodule.optimizer.lrr. Did you mean litmodule.optimizer.lr?"),
        ("+litmodule.optimizer.lrr=0.1", "the key litmodule.optimizer.lrr. Did you mean litmodule.optimizer.lr?"),
        ("++litmodule.optimizer.lrr=0.1", "the key litmodule.optimizer.lrr. Did you mean litmodule.optimizer.lr?"),
        ("optimizer.lr=0.1", "the key optimizer. Did you mean"),
        ("+sead=1", "the key sead. Did you mean"),
        ("config.sed=1", "the key config.sed. Did you mean config.seed?"),
        ("hydra.launcher.cpu_per_task=4", "hydra.launcher.cpu_per_task. Did you mean hydra.launcher.cpus_per_task?"),
        ("logger.entitty=me", "the key logger.entitty. Did you mean logger.entity?"),
    ],
)
def test_a_slip_on_the_command_line_is_told_once(argument: str, text: str, cli, root: Path) -> None:
    outcome = cli("task=fnn", argument)
    assert outcome.status == 2
    assert text in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert list(root.rglob("*")) == []


def test_the_command_line_is_named_as_the_place(cli) -> None:
    assert cli("task=fnn", "config.seed=-1").err.count(COMMAND_LINE) == 1


def test_a_wrong_value_is_told_at_its_origin_only(cli) -> None:
    err = cli("task=fnn", "config.seed=-1").err
    assert "datamodule" not in err


def test_a_reference_that_is_wrong_where_its_origin_is_right_is_told(cli) -> None:
    outcome = cli("task=fnn", "litmodule.config.num_classes=${config.seed}")
    assert outcome.status == 2
    assert "litmodule.config.num_classes=0 is not allowed" in outcome.err


def test_a_wrong_value_from_the_environment_is_told(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_DEVICE", "tpu")
    outcome = cli("task=fnn", "config.device=${oc.env:MY_DEVICE}")
    assert outcome.status == 2
    assert "config.device='tpu' is not allowed" in outcome.err


def test_all_mistakes_are_told_at_once(cli) -> None:
    err = cli("task=fnn", "config.seed=-1", "config.device=tpu", "trainer.max_epoch=3").err
    assert "config.seed=-1" in err
    assert "config.device='tpu'" in err
    assert "trainer.max_epoch. Did you mean trainer.max_epochs?" in err


@pytest.mark.parametrize(
    ("addition", "text"),
    [
        ("    config: {seed: -1}", "config.seed=-1 is not allowed: it must be int ≥ 0."),
        ("    config: {sede: 1}", "the key config.sede. Did you mean config.seed?"),
        ("    sead: 1", "the key sead."),
        ("    hydra: {launcher: {cpu_per_task: 4}}", "Did you mean hydra.launcher.cpus_per_task?"),
        ("    trainer: {max_epoch: 1}", "the key trainer.max_epoch. Did you mean trainer.max_epochs?"),
    ],
)
def test_a_slip_in_a_task_file_is_told_with_the_file(addition: str, text: str, cli, make_project, root: Path) -> None:
    project = make_project(mine=f"{TASK}{addition}\n")
    outcome = cli("task=mine", project=project)
    assert outcome.status == 2
    assert text in outcome.err
    assert f"(Set in {project / 'task' / 'mine.yaml'}, line {TASK.count(NEWLINE)}.)" in outcome.err
    assert list(root.rglob("*")) == []


def test_a_missing_value_is_told_with_both_remedies(cli, make_project) -> None:
    outcome = cli("task=mine", project=make_project(mine=TASK.replace("num_classes: 10", "")))
    assert outcome.status == 2
    assert "litmodule.config.num_classes is missing: give it in the task file, or as litmodule.config.num_classes=" in (
        outcome.err
    )


def test_a_call_that_lacks_an_argument_is_told(cli, make_project) -> None:
    project = make_project(
        mine=f"{TASK}    callbacks:\n      mine: {{_target_: pytorch_lightning.callbacks.EarlyStopping}}\n"
    )
    outcome = cli("task=mine", project=project)
    assert outcome.status == 2
    assert "callbacks.mine.monitor is missing: pytorch_lightning.callbacks.early_stopping.EarlyStopping needs it." in (
        outcome.err
    )


def test_a_task_that_chooses_no_data_module_is_told(cli, make_project) -> None:
    outcome = cli("task=mine", project=make_project(mine=TASK.replace("      - /datamodule: classify_mnist\n", "")))
    assert outcome.status == 2
    assert "datamodule" in outcome.err


def test_a_point_of_a_sweep_that_is_wrong_is_named(cli, root: Path) -> None:
    outcome = cli("task=fnn", "config.seed=0,-1")
    assert outcome.status == 2
    assert "config.seed=-1 is not allowed" in outcome.err
    assert "at the point config.seed=-1" in outcome.err
    assert list(root.rglob("*")) == []


def test_mappings_that_build_nothing_stay_free(cli, make_project) -> None:
    project = make_project(mine=TASK + "    trainer: {plugins: null, profiler: null}\n    logger: {tags: [a, b]}\n")
    assert cli("task=mine", "config.preflight_only=true", project=project).status == 0


def test_a_combination_that_a_config_refuses_is_told(cli) -> None:
    outcome = cli("task=fnn", "config.evaluate_only=true")
    assert outcome.status == 2
    assert "config.evaluate_only=true needs the checkpoint to evaluate: config.ckpt_path=<a file>." in outcome.err


def test_preflight_only_starts_nothing(cli, root: Path) -> None:
    outcome = cli("task=fnn", "config.preflight_only=true", "config.seed=0,1,2")
    assert outcome.status == 0
    assert "3 points checked" in outcome.out
    assert list(root.rglob("*")) == []
