"""A run is made again from its commit and its uncommitted changes, bit by bit."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from common.cli.differences import first_difference_of_metrics, first_difference_of_parameters
from common.cli.reproduce import check_restored, environment_differences
from common.cli.restore import budget_spent, chosen_settings, replaying_command
from common.cli.runs import read_run
from common.dl.engine import DEEP_LEARNING
from common.engine import Engine
from common.errors import ConfigError
from common.ne.engine import NEUROEVOLUTION
from common.run.code import code_fingerprints

ROWS = [{"step": 1, "time": 1.0, "loss": 0.5}, {"step": 2, "time": 2.0, "loss": float("nan")}]


def test_metrics_are_the_same_but_for_their_times() -> None:
    again = [{**row, "time": 99.0} for row in ROWS]
    assert first_difference_of_metrics(ROWS, again, is_finished=True) is None


@pytest.mark.parametrize(
    ("again", "is_finished", "text"),
    [
        ([ROWS[0], {"step": 2, "loss": 0.1}], True, "row 2 (step 2), loss: nan was recorded, 0.1 came out"),
        ([{**ROWS[0], "loss": 0.5000000000000001}], True, "row 1 (step 1), loss: 0.5 was"),
        ([{**ROWS[0], "more": 1}], True, "row 1 (step 1), more: None was recorded, 1 came out"),
        (ROWS[:1], True, "2 rows were recorded, 1 came out"),
        ([*ROWS, ROWS[1]], True, "2 rows were recorded, 3 came out"),
        ([*ROWS, ROWS[1]], False, None),
    ],
)
def test_the_first_difference_of_metrics(again: Any, is_finished: bool, text: str | None) -> None:
    found = first_difference_of_metrics(ROWS, again, is_finished=is_finished)
    assert found is text is None or (text is not None and str(found).startswith(text))


def test_the_first_difference_of_parameters() -> None:
    base = {"state_dict": {"a": torch.zeros(3), "b": torch.tensor([1.0, float("nan")])}, "epoch": torch.tensor(1)}
    assert first_difference_of_parameters(base, {"state_dict": dict(base["state_dict"])}) is None
    for change, text in (
        ({"b": torch.tensor([1.0, 2.0])}, "b: 1 of 2 elements differ; the first, number 1, was recorded as nan"),
        ({"a": torch.tensor([0.0, -0.0, 0.0])}, "a: 1 of 3 elements differ"),  # Equal, but not in its bits.
        ({"a": torch.zeros(4)}, "a: torch.float32 (3,) was recorded, torch.float32 (4,) came out"),
        ({"c": torch.zeros(1)}, "c is only in the reproduced checkpoint"),
    ):
        found = first_difference_of_parameters(base, {"state_dict": {**base["state_dict"], **change}})
        assert str(found).startswith(text)


def test_other_versions_are_named(make_run: Any, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pytest==1.0\nnumpy==0.9\n# x\nnot-installed==3\n")
    folder = make_run(packages={"numpy": "1.0", "torch": torch.__version__}, python="2.7", machine={"processor": "z80"})
    lines = environment_differences(read_run(folder), tmp_path)
    assert [line.partition(" instead of ")[2] for line in lines] == ["1.0", "1.0 (by the lock)", "2.7", "z80"]
    assert lines[0].startswith("numpy ")


@pytest.fixture
def replayable(make_run: Any, tmp_path: Path) -> Any:
    """Makes a run with given overrides, and returns the command that runs it again."""

    def make(task: list[str], hydra: list[str], fixed: dict[str, int], **facts: Any) -> list[str]:
        folder = make_run(settings={"config.data_dir": "/the data"}, **facts)
        settings = {"hydra": {"overrides": {"task": task, "hydra": hydra}}}
        (folder / ".hydra" / "hydra.yaml").write_text(json.dumps(settings))
        script = tmp_path / "projects/project/train.py"
        script.parent.mkdir(parents=True)
        script.touch()
        return replaying_command(read_run(folder), tmp_path, fixed)[1:]

    return make


def test_the_command_keeps_overrides_and_sets_its_own(replayable: Any) -> None:
    given = ["task=task", "config.seed=3", "config.ckpt_path=null", "config.data_dir=x", "+trainer.max_time=1"]
    words = replayable(given, ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=8", "hydra.launcher.detach=true"],
                       {"hydra.launcher.cpus_per_task": 2})  # fmt: skip
    assert words == [
        "task=task", "config.seed=3", "+trainer.max_time=1", "hydra/launcher=slurm", "hydra.launcher.detach=true",
        "config.ckpt_path=last", "config.data_dir='/the data'", "hydra.launcher.cpus_per_task=2",
    ]  # fmt: skip


def test_a_run_on_several_machines_is_not_made_again_on_one(make_run: Any, tmp_path: Path) -> None:
    folder = make_run(settings={"config.data_dir": "/data"})
    script = tmp_path / "projects/project/train.py"
    script.parent.mkdir(parents=True)
    script.touch()
    settings = {"hydra": {"overrides": {"task": [], "hydra": []}, "launcher": {"nodes": 2}}}
    (folder / ".hydra" / "hydra.yaml").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="ran on 2 machines together"):
        replaying_command(read_run(folder), tmp_path, {})


def test_code_that_is_not_what_the_run_ran_on_is_never_run(make_run: Any, tmp_path: Path) -> None:
    """The first file that differs, came or went is named, and why it could be so."""
    for name in ("same.py", "other.py"):
        (tmp_path / "common").mkdir(exist_ok=True)
        (tmp_path / "common" / name).write_text("x = 1\n")
    whole = code_fingerprints([tmp_path / "common"], tmp_path)
    check_restored(read_run(make_run(code=whole)), tmp_path)
    git = {"commit": "1", "problems": ["common/lost.py: changed or new, and larger than 1 MB"]}
    for code, text in (
        (whole | {"common/other.py": "0"}, "common/other.py differs. Nothing was run."),
        (whole | {"common/lost.py": "0"}, "common/lost.py is missing. Nothing was run. What could not be recorded at "
                                          "the launch: common/lost.py: changed or new, and larger than 1 MB."),
        ({"common/same.py": whole["common/same.py"]}, "common/other.py was not there. Nothing was run."),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"^The restored code is not what the run ran on: {text}"):
            check_restored(read_run(make_run(code=code, git=git)), tmp_path)


def test_a_run_that_began_from_a_checkpoint_begins_there_again(replayable: Any) -> None:
    assert "config.ckpt_path='/a/b.ckpt'" in replayable(
        ["task=task"], [], {}, origin={"path": "/a/b.ckpt", "fingerprint": "1"}
    )


def test_what_a_run_chose_is_fixed() -> None:
    checkpoint = {"DataModule": {"batch_size": 7, "num_workers": 2}, "continuation": {"num_threads": 4}, "epoch": 3}
    assert chosen_settings(checkpoint, DEEP_LEARNING) == {
        "datamodule.config.fixed_per_device_batch_size": 7,
        "datamodule.config.fixed_per_device_num_workers": 2,
        "hydra.launcher.cpus_per_task": 4,
    }
    assert chosen_settings({}, DEEP_LEARNING) == {}
    assert chosen_settings(checkpoint, NEUROEVOLUTION) == {}


@pytest.mark.parametrize(
    ("engine", "status", "budget", "expected"),
    [
        (DEEP_LEARNING, "finished", {"trainer.max_steps": -1}, {}),
        (DEEP_LEARNING, "finished", {"trainer.max_steps": -1, "trainer.max_time": "00:01:00:00"}, {}),
        (DEEP_LEARNING, "stopped", {"trainer.max_steps": -1}, {"trainer.max_steps": 7}),
        (NEUROEVOLUTION, "finished", {"config.num_generations": 9}, {}),
        (NEUROEVOLUTION, "stopped", {}, {"config.num_generations": 8, "config.num_minutes": "null"}),
        (NEUROEVOLUTION, "finished", {"config.num_minutes": 1},
         {"config.num_generations": 7, "config.num_minutes": "null"}),
        (Engine(), "stopped", {}, {}),
    ],
)  # fmt: skip
def test_a_reproduction_ends_where_the_run_ended(
    make_run: Any, engine: Engine, status: str, budget: Any, expected: Any
) -> None:
    folder = make_run(status=status, budget=budget, engine=asdict(engine), metrics=[{"step": 7}])
    assert budget_spent(read_run(folder)) == expected


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"kind": "sweep"}, "is a sweep: give one of its points"),
        ({"git": None}, "recorded no commit"),
        ({"git": {"problems": ["its whole state, since git is not installed"]}}, "since git is not installed"),
        ({"status": "stopped"}, "has logged nothing before it ended"),
        ({"origin": {"path": __file__, "fingerprint": "0" * 12}}, "which the run starts from, has changed since"),
        ({"origin": {"path": "/gone.ckpt", "fingerprint": "0" * 12}}, "'/gone.ckpt' cannot be read: No such file"),
        ({"git": {"commit": "0" * 40, "branch": "gone"}}, f"commit {'0' * 40} (branch gone) is not in"),
    ],
)
def test_what_cannot_be_reproduced_says_why(ai_research: Any, make_run: Any, facts: Any, text: str) -> None:
    said = ai_research("reproduce", make_run(**facts))
    assert said.status == 2
    assert text in said.err


SHORT = (
    "task=fnn", "datamodule.config.source=digits", "logger=none", "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1", "trainer.limit_train_batches=20", "trainer.log_every_n_steps=5",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_from_a_dirty_work_tree_is_met_to_the_last_bit(
    in_copy: Any, copy_of_repository: Path, root: Path
) -> None:
    """A tracked file is changed, and the optimiser reads a new one: without the stored changes it would differ."""
    litmodule = copy_of_repository / "projects/classify_mnist/litmodule.py"
    before = litmodule.read_text()
    litmodule.write_text(before + "\n\nfrom projects.classify_mnist import extra  # noqa: E402, F401\n")
    extra = copy_of_repository / "projects/classify_mnist/extra.py"
    extra.write_text(
        '"""Shifts the metrics."""\n\nfrom projects.classify_mnist import datamodule\n\ndatamodule.STD = 0.2\n'
    )
    ran = in_copy("projects/classify_mnist/train.py", *SHORT)
    litmodule.write_text(before)
    extra.unlink()
    assert ran.status == 0, ran.err
    (folder,) = root.glob("data/classify_mnist/fnn/*")
    said = in_copy("-m", "common.cli", "reproduce", folder, "--json")
    assert said.status == 0, said.err
    outcome = said.json
    assert outcome["identical"]
    assert outcome["environment"] == []
    assert not list(copy_of_repository.glob(".git/worktrees/*"))

    other = folder.with_name("2026-01-31_12-00-00")  # As if something else had come out, from other packages.
    shutil.copytree(folder, other)
    record = json.loads((other / "provenance.json").read_text())
    record["packages"]["numpy"] = "1.0"
    (other / "provenance.json").write_text(json.dumps(record))
    metrics = (other / "metrics.csv").read_text().splitlines()
    metrics[-1] = metrics[-1].rpartition(",")[0] + ",0.125"
    (other / "metrics.csv").write_text("\n".join(metrics) + "\n")
    said = in_copy("-m", "common.cli", "reproduce", other)
    assert said.status == 1
    assert f"The metrics differ first in row {len(metrics) - 1}" in said.out
    assert "test/accuracy: 0.125 was recorded" in said.out
    assert "numpy" in said.err
    assert "instead of 1.0" in said.err
