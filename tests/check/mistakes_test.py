"""Every mistake ends in status 2 and one sentence, whatever raised it, and nothing is written."""

import re
from pathlib import Path

import pytest

from tests.check.attack_test import TASK

SHORT = ("task=fnn", "logger=none", "datamodule.config.source=digits")

ON_THE_COMMAND_LINE = {
    "litmodule.optimizer.lr=${trainer}": "lr=<a partial of pytorch_lightning.trainer.trainer.Trainer> is not allowed",
    "litmodule.optimizer.lr=-1": "litmodule.optimizer.lr=-1 is not allowed: Invalid learning rate: -1. (Set on",
    "litmodule.optimizer.betas=[1,2]": "betas[0]=1 is not allowed: Invalid beta parameter at index 0: 1. (Set on",
    "litmodule.scheduler.factor=7": "litmodule.scheduler.factor=7 is not allowed: Constant multiplicative factor",
    "trainer.profiler=abc": "trainer.profiler='abc' is not allowed",
    "trainer.gradient_clip_algorithm=abc": "trainer.gradient_clip_algorithm='abc' is not allowed",
    "trainer.limit_train_batches=-inf": "it must be a finite number",
    "trainer.log_every_n_steps=-5": "trainer.log_every_n_steps=-5 is not allowed: it must be int ≥ 0 or null.",
    "trainer.limit_val_batches=-0.5": "trainer.limit_val_batches=-0.5 is not allowed: it must be int or float ≥ 0 or",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0 is not allowed: it must be int ≥ 1.",
    "trainer.max_steps=true": "trainer.max_steps=True is not allowed: it must be int ≥ -1.",
    "datamodule.dataloader.collate_fn=abc": "it must be an object to call or null",
    "datamodule.dataloader.batch_size=3": "use datamodule.config.fixed_per_device_batch_size",
    "+callbacks.x._target_=torch.nn.ReLU": "callbacks.x=<torch.nn.ReLU> is not allowed: it must be Callback.",
    "~datamodule": "datamodule={'config': {'source': 'digits'}} is not allowed: it must be BaseDataModule.",
    "litmodule/nnmodule=null": "litmodule/nnmodule=null: None is no choice of litmodule/nnmodule. Choose one of",
    "hydra/launcher=submitit_slurm": "Write hydra/launcher=slurm, which takes the same fields.",
    "config.seed=range(0,1000000000)": "Then add hydra.sweeper.max_points=1000000000.",
    "config.seed=range(0,3,0)": "range(0,3,0) never ends",
    "config.seed=shuffle(range(0,3))": "Leave shuffle out.",
    "litmodule/optimizer=glob(zz*)": "litmodule/optimizer=glob(zz*) lists no value.",
    "litmodule/optimizer=adam,zz": "'zz' is no choice of litmodule/optimizer.",
    "trainer.enable_checkpointing=true": "trainer.enable_checkpointing=True has no effect",
    "logger.log_model=true": "logger.log_model=True has no effect",
    "config.output_dir=x": "config.output_dir='x' has no effect",
    "config.ckpt_path=/nope": "there is no such file",
    "config.data_dir=s3://bucket/x": "config.data_dir='s3://bucket/x' is no folder of this machine",
    "trainer.max_epochs=${nope}": "Interpolation key 'nope' not found",
    "trainer.max_epochs=${oc.env:NOPE}": "Environment variable 'NOPE' not found",
    "hydra.verbose=true": "Of Hydra's own settings only hydra.launcher.* and hydra.sweeper.* can be set.",
    "config.device='a\x1b[31mb'": r"config.device='a\x1b[31mb' is not allowed",
    "config.device=" + "x" * 5000: "x… is not allowed",
}


@pytest.mark.parametrize(("argument", "text"), ON_THE_COMMAND_LINE.items(), ids=lambda text: text[:40])
def test_a_mistake_on_the_command_line_is_one_sentence(argument: str, text: str, cli, root: Path) -> None:
    outcome = cli(*SHORT, argument)
    assert outcome.status == 2
    assert text in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not re.search(r"\b[A-Z]\w*(Error|Exception)\b|\x1b", outcome.err)
    assert list(root.rglob("*")) == []


IN_A_FILE = {
    "logger: abc": "logger='abc' is not allowed: it must be a partial of Logger",
    "callbacks: {x: null}": "callbacks.x=None is not allowed: it must be Callback. (Set in",
    "5: 1": "line 12: the key '5' is no text",
    "true: 1": "line 12: the key 'true' is no text",
    "hydra: null": "line 12: hydra must hold launcher or sweeper",
    "hydra: {job: {chdir: true}}": "line 12: hydra.job is not allowed",
    "a: &a [*a]": "line 12: a[0] holds itself, by an alias",
    "a: &a {b: {c: *a}}": "holds itself, by an alias",
    "a: " + "[" * 99 + "]" * 99: "nested too deeply",
    "datamodule: {config: {val_fraction: .nan}}": "config.val_fraction=nan is not allowed: it must be a finite number",
    "callbacks: {x: {_target_: pytorch_lightning.callbacks.Timer, _convert_: x}}": "_convert_='x' is not allowed",
    "callbacks: {x: {_target_: pytorch_lightning.callbacks.GradientAccumulationScheduler, scheduling: {a: 2}}}": (
        "callbacks.x.scheduling={'a': 2} is not allowed: it must be dict[int, int]."
    ),
}


@pytest.mark.parametrize(("addition", "text"), IN_A_FILE.items(), ids=lambda text: text[:40])
def test_a_mistake_in_a_task_file_is_one_sentence(addition: str, text: str, cli, make_project, root: Path) -> None:
    outcome = cli("task=mine", "datamodule.config.source=digits", project=make_project(mine=f"{TASK}    {addition}\n"))
    assert outcome.status == 2
    assert text in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert list(root.rglob("*")) == []


HEAD = "# @package _global_\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (HEAD.encode("utf-16"), "line 1: this is not text in UTF-8"),
        (HEAD.encode() + "# é".encode("latin-1"), "line 2: this is not text in UTF-8"),
        (b"\xef\xbb\xbf" + HEAD.encode(), "a byte order mark stands before the text"),
        ((HEAD + "defaults: fnn\n").encode(), "line 2: defaults must be a list"),
        ((HEAD + "defaults: [5]\n").encode(), "line 2: an item of defaults is the name of another task"),
        ((HEAD + "defaults: [mine]\n").encode(), "its defaults lead back to itself"),
        ((HEAD + "defaults:\n  - override /hydra/launcher: basic\n").encode(), "Choose local or slurm."),
        ((HEAD + "defaults:\n  - /logger@hydra.job: wandb\n").encode(), "line 3: /logger@hydra.job is not allowed"),
        ((HEAD + "- a\n").encode(), "a task file holds keys and values"),
        ((HEAD + "a: [1\n").encode(), "is not valid YAML"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_no_task_is_told_with_its_line(content: bytes, text: str, cli, make_project) -> None:
    project = make_project(mine="")
    (project / "task" / "mine.yaml").write_bytes(content)
    outcome = cli("task=mine", project=project)
    assert outcome.status == 2
    assert text in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


@pytest.mark.parametrize("group", ["litmodule/optimizer=adam", "logger=none"])
def test_a_group_that_is_given_twice_is_refused(group: str, cli) -> None:
    outcome = cli("task=fnn", group, group)
    assert outcome.status == 2
    assert f"{group.partition('=')[0]} is given 2 times" in outcome.err


@pytest.mark.parametrize(
    "argument",
    [
        "+callbacks.x={_target_: pytorch_lightning.callbacks.GradientAccumulationScheduler, scheduling: {0: 2, 1: 4}}",
        "litmodule.optimizer={_target_: torch.optim.SGD, _partial_: true, lr: 0.1, betas: null}",
        "litmodule/optimizer=glob(ad*)",
        "litmodule/optimizer=choice(adam,sgd)",
        "logger.entity=me",
        "+callbacks.summary._target_=pytorch_lightning.callbacks.ModelSummary",
        "trainer.profiler=simple",
        "hydra.sweeper.max_points=3",
    ],
)
def test_what_is_right_is_accepted(argument: str, cli) -> None:
    outcome = cli(*SHORT, argument, "config.preflight_only=true")
    if "betas" in argument:  # SGD has none.
        assert (outcome.status, "the key litmodule.optimizer.betas" in outcome.err) == (2, True)
    else:
        assert outcome.status == 0, outcome.err


def test_mistakes_of_a_kind_are_told_together(cli) -> None:
    outcome = cli(*SHORT, "config.seed=range(-200,0)")
    assert outcome.status == 2
    assert outcome.err.count("is not allowed: it must be int ≥ 0.") == 3
    assert "The same at 197 points with other values of config.seed." in outcome.err


@pytest.mark.parametrize("root", ["s3://bucket", "gs://bucket/x", "user@host:/x", "host:/x", "a\nb"])
def test_a_root_that_is_no_folder_of_this_machine_is_refused(root: str, cli, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AI_RESEARCH_PATH", root)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    outcome = cli(*SHORT)
    assert outcome.status == 2
    assert "is no folder of this machine" in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_no_locale_makes_a_difference(cli_in_subprocess, make_project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    text = TASK.replace("config: {device: cpu}", "config: {device: cpu, seed: -1}  # 784 → 10")
    runner = "from projects.classify_mnist.train import TaskRunner; TaskRunner.run_task()"
    script = f"import sys; sys.argv[0] = sys.argv.pop(1); {runner}"
    outcome = cli_in_subprocess(script, str(make_project(mine=text) / "train.py"), "task=mine", script="-c")
    assert outcome.status == 2
    assert "config.seed=-1 is not allowed: it must be int ? 0." in outcome.err
