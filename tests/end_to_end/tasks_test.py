"""Every task that is shipped runs, and leaves behind everything that a run must leave.

Tasks are found on the disk, so that a new one is tested by being there.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra_zen import instantiate
from PIL import Image

import common.run
from tests.end_to_end.conftest import DIGITS

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECTS = ("classify_mnist", "oscillator_pred")
"""Deep-learning projects; those of other engines have end-to-end tests of their own."""

SMALL: dict[str, tuple[str, ...]] = {
    "classify_mnist": (DIGITS,),
    "oscillator_pred": (
        "datamodule.config.num_train=320",
        "datamodule.config.num_val=16",
        "datamodule.config.num_test=16",
        "datamodule.config.length=32",
        "datamodule.config.fixed_per_device_batch_size=16",
    ),
}
"""What makes a project's data small."""

SOURCES = {"classify_mnist": "digits", "oscillator_pred": "simulation"}
METRICS = {"classify_mnist": ("loss", "accuracy"), "oscillator_pred": ("loss",)}
TEST_METRICS = {"classify_mnist": (), "oscillator_pred": ("nrmse", "baseline_nrmse")}

SEARCHES = ("mlp_beluga",)
"""Tasks that are sweeps by themselves, and leave a folder of another kind."""

TASKS = sorted(
    (path.parents[1].name, path.stem)
    for path in REPOSITORY.glob("projects/*/task/*.yaml")
    if path.parents[1].name in PROJECTS and path.stem not in SEARCHES
)

SHORTENED = ("trainer.max_epochs=2", "trainer.log_every_n_steps=10", "litmodule.config.wandb_train_log_interval=50")


@pytest.fixture(scope="module", params=TASKS, ids=["/".join(task) for task in TASKS])
def run(request: pytest.FixtureRequest, command: Callable[..., Any]) -> Any:
    """A finished run of each task, for two epochs."""
    project, task = request.param
    finished = command(task, *SHORTENED, project=project, defaults=SMALL[project])
    assert finished.status == 0, finished.output
    return finished


def project_of(run: Any) -> str:
    """Returns the project whose task a run is."""
    return str(run.folder.parents[1].name)


def test_there_are_tasks_to_test() -> None:
    assert {"fnn", "mlp", "cdam_fnn", "cdam_lstm", "cdam_mamba2", "cgam_lstm", "dit"} <= {task for _, task in TASKS}


def test_search_for_a_cluster_runs_here_too(command: Callable[..., Any]) -> None:
    """Its launcher is another, it has no GPU, and two trials are enough: all else is as on the cluster."""
    here = ("hydra/launcher=local", "config.device=cpu", "hydra.sweeper.n_trials=2")
    finished = command("mlp_beluga", *here, "trainer.max_epochs=1")
    assert finished.status == 0, finished.output
    (sweep,) = finished.root.glob("data/classify_mnist/mlp_beluga/*")
    records = [json.loads(path.read_text()) for path in sorted(sweep.glob("[0-9]*/provenance.json"))]
    rates = [float(record["overrides"][0].removeprefix("litmodule.optimizer.lr=")) for record in records]
    assert [record["status"] for record in records] == ["finished", "finished"]
    assert rates[0] != rates[1]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert (sweep / "sweep.png").is_file()


def test_search_for_a_cluster_is_what_the_specification_says() -> None:
    text = (REPOSITORY / "projects" / "classify_mnist" / "task" / "mlp_beluga.yaml").read_text()
    task = yaml.safe_load(text)
    assert {"override /hydra/launcher": "slurm"} in task["defaults"]
    assert {"override /hydra/sweeper": "optuna"} in task["defaults"]
    assert task["hydra"]["launcher"]["python"].startswith("apptainer exec --nv ")
    sweeper = task["hydra"]["sweeper"]
    assert (sweeper["sampler"], sweeper["n_trials"]) == ("random", 10)
    assert sweeper["params"] == {"litmodule.optimizer.lr": "tag(log, interval(1e-4, 1e-1))"}


def test_run_leaves_hydras_files(run: Any) -> None:
    assert {path.name for path in (run.folder / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    overrides = yaml.safe_load((run.folder / ".hydra" / "overrides.yaml").read_text())
    assert set(SHORTENED) <= set(overrides)
    assert run.config.config.output_dir == str(run.folder)
    assert run.config.trainer.max_epochs == 2


def test_run_leaves_best_last_and_previous_checkpoint(run: Any) -> None:
    assert {path.name for path in (run.folder / "lightning").glob("*")} == {"best.ckpt", "last.ckpt", "previous.ckpt"}


def test_run_leaves_its_log(run: Any) -> None:
    assert "Batch size:" in run.log
    assert "Data-loading workers:" in run.log


def test_metrics_hold_every_stage(run: Any) -> None:
    for stage in ("train", "val", "test"):
        extra = TEST_METRICS[project_of(run)] if stage == "test" else ()
        for metric in (*METRICS[project_of(run)], *extra):
            values = run.series(f"{stage}/{metric}")
            assert values
            assert all(map(math.isfinite, values))


def test_training_metrics_stand_at_every_tenth_optimiser_step(run: Any) -> None:
    steps = [row["step"] for row in run.metrics if "train/loss" in row]
    assert steps == list(range(9, 10 * len(steps), 10))


def test_provenance_says_finished_with_the_validation_loss(run: Any) -> None:
    assert run.provenance["status"] == "finished"
    assert run.provenance["seed"] == 0
    assert run.provenance["data"]["source"] == SOURCES[project_of(run)]
    assert run.provenance["result"] == run.final("val/loss")


def test_run_leaves_an_offline_wandb_run(run: Any) -> None:
    assert len(list((run.folder / "wandb").glob("offline-run-*/run-*.wandb"))) == 1


def test_terminal_names_folder_plots_and_upload_command(run: Any) -> None:
    assert f"folder  {run.folder}" in run.output
    assert f"wandb sync {run.folder}/wandb/offline-run-*" in run.output
    for picture in run.folder.glob("*.png"):
        assert picture.name in run.output


def test_pictures_show_something(run: Any) -> None:
    pictures = {path.name: np.asarray(Image.open(path).convert("RGB")) for path in run.folder.glob("*.png")}
    curves = {f"{metric}.png" for metric in METRICS[project_of(run)]}
    assert {"samples.png", *curves} <= set(pictures)
    for pixels in pictures.values():
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_loaded_run_reproduces_the_test_metric(run: Any) -> None:
    loaded = common.run.load(run.folder)
    name, value = {"classify_mnist": accuracy_of, "oscillator_pred": nrmse_of}[project_of(run)](loaded)
    assert value == pytest.approx(run.final(f"test/{name}"), abs=1e-6)
    assert loaded.metrics == run.metrics
    assert loaded.config == run.config
    assert not loaded.module.training


def accuracy_of(loaded: Any) -> tuple[str, float]:
    from projects.classify_mnist.datamodule import normalize, read_digits

    images, labels = read_digits()[1]
    is_right = loaded.module.compute_logits(normalize(images)).argmax(dim=1) == labels
    return "accuracy", is_right.float().mean().item()


def nrmse_of(loaded: Any) -> tuple[str, float]:
    datamodule = instantiate(loaded.config.datamodule)
    datamodule.setup()
    condition, target = datamodule.datasets.test.tensors
    error = loaded.module.predict(condition).mean(dim=0) - target
    return "nrmse", (error.square().mean().sqrt() / target.std(correction=0)).item()
