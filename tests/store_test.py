"""What the stores offer under which names; SPEC §5 fixes them."""

from typing import Any

import pytest

from projects.classify_mnist.train import TaskRunner

NAMES = {
    "hydra/launcher": {"local", "slurm"},
    "hydra/sweeper": {"grid"},
    "trainer": {"base"},
    "datamodule": {"classify_mnist"},
    "litmodule": {"classify_mnist"},
    "litmodule/nnmodule": {"fnn", "mlp"},
    "litmodule/optimizer": {"adam", "adamw", "sgd"},
    "litmodule/scheduler": {"constant", "linear_warmup"},
    "logger": {"wandb", "none"},
    "callbacks": {"none", "early_stopping"},
}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("sys.argv", ["/somewhere/projects/classify_mnist/train.py", "task=fnn"])
    monkeypatch.setattr("common.utils.runner.get_task_names", lambda: ["fnn"])
    return TaskRunner.handle_configs()


def test_every_promised_name_is_there(store: Any) -> None:
    offered: dict[str, set[str]] = {}
    for entry in store:
        offered.setdefault(entry["group"], set()).add(entry["name"])
    assert {group: names - offered.get(group, set()) for group, names in NAMES.items()} == {
        group: set() for group in NAMES
    }


def test_the_wandb_project_is_the_project_and_the_task(store: Any) -> None:
    assert store["logger", "wandb"].project == "classify_mnist_fnn"


@pytest.mark.parametrize("key", ["entity", "group", "job_type", "notes", "tags"])
def test_what_the_wandb_logger_hides_is_declared(store: Any, key: str) -> None:
    assert key in store["logger", "wandb"]


def test_outputs_go_below_the_root_by_project_task_and_time(store: Any) -> None:
    config = store["hydra", "config"]
    assert config.sweep.dir.startswith("${oc.env:AI_RESEARCH_PATH}/data/classify_mnist/fnn/${now:")
    assert config.sweep.subdir == "."
    assert config.job.name == "fnn"
