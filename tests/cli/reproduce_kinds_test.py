"""Whatever kind of run it was, it is made again bit for bit: each by the real commands, in a copy of the repository."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FNN = (
    "task=fnn", "datamodule.config.source=digits", "logger=none", "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1", "trainer.limit_train_batches=20", "trainer.log_every_n_steps=5",
)  # fmt: skip
EVOLUTION = (
    "task=cartpole", "logger=none", "population.config.size=8", "config.num_validation_episodes=30",
    "config.num_test_episodes=30",
)  # fmt: skip


@pytest.mark.slow
def test_a_trial_from_a_checkpoint_in_a_repository_within_a_repository(
    in_copy: Any, copy_of_repository: Path, root: Path, tmp_path: Path
) -> None:
    """Its values are fixed, it starts where it started, and the commit is that of the larger repository."""
    inner, train = tmp_path / "larger" / "inner", "projects/classify_mnist/train.py"
    shutil.copytree(copy_of_repository, inner, ignore=shutil.ignore_patterns(".git", ".mypy_cache"))
    author = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *words], cwd=inner.parent, check=True)
    litmodule = inner / "projects/classify_mnist/litmodule.py"
    litmodule.write_bytes(litmodule.read_bytes() + b"\r\n# Edited.\r\n")
    assert in_copy(train, *FNN, place=inner).status == 0
    (checkpoint,) = root.glob("data/classify_mnist/fnn/*/lightning/last.ckpt")
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "litmodule.optimizer.lr=interval(1e-3,1e-2)")
    ran = in_copy(
        train, *FNN[:4], *FNN[5:], *search, "trainer.max_epochs=2", f"config.ckpt_path={checkpoint}", place=inner
    )
    assert ran.status == 0, ran.err
    (folder,) = root.glob("data/classify_mnist/fnn/*/0*")
    said = in_copy("-m", "common.cli", "reproduce", folder, place=inner)
    assert said.status == 0, said.err
    assert "Bit-identical: metrics.csv (times aside) and the final parameters." in said.out


@pytest.mark.slow
def test_evolution_on_two_ranks_that_went_on_with_a_larger_budget(in_copy: Any, root: Path) -> None:
    for budget in ("config.num_generations=2", "config.num_generations=4"):
        ran = in_copy("projects/ne_control_score/train.py", *EVOLUTION, budget, "hydra.launcher.tasks_per_node=2")
        assert ran.status == 0, ran.err + ran.out
    (folder,) = root.glob("data/ne_control_score/*/*")
    assert len(json.loads((folder / "provenance.json").read_text())["launches"]) == 2
    said = in_copy("-m", "common.cli", "reproduce", folder, "--json")
    assert said.status == 0, said.err
    assert said.json["identical"]
    assert said.err.count("Running ") == 2
