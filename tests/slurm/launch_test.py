"""The slurm launcher on a real cluster."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.run.metrics import read_metrics
from tests.docs.markdown import CLUSTER, all_blocks, commands
from tests.slurm.conftest import DEFAULTS, LoginNode, assert_same_result, record_of, result_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHORT = ("trainer.max_epochs=1", "logger=none")
LONG = ("trainer.max_epochs=6", "litmodule.optimizer.lr=1e-3")
PAIR = ("trainer.max_epochs=2", "litmodule.optimizer.lr=1e-3")
DETACHED = "hydra.launcher.detach=true"
TWO_NODES = ("hydra.launcher.nodes=2", "hydra.launcher.partition=pair")

TOLERANCE = 1e-5
"""How far results may lie apart that were added up in another order."""


@pytest.fixture(scope="module")
def peaceful(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long run that nothing interrupted."""
    login = LoginNode(cluster, tmp_path_factory.mktemp("peaceful"))
    status, printed = login.run("fnn", *LONG, "logger=none")
    assert status == 0, printed
    return login.folder("fnn")


@pytest.fixture(scope="module")
def peaceful_pair(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two nodes that nothing interrupted."""
    login = LoginNode(cluster, tmp_path_factory.mktemp("peaceful_pair"))
    status, printed = login.run("fnn", *PAIR, *TWO_NODES, "logger=none")
    assert status == 0, printed
    job = login.slurm("scontrol", "show", "job", number_of_job(login))
    assert "NumNodes=2 NumCPUs=2 NumTasks=2" in job
    return login.folder("fnn")


def num_rows(login: LoginNode) -> int:
    """Returns how many rows of metrics the one run has written."""
    return sum(len(read_metrics(folder)) for folder in login.folders("fnn"))


def number_of_job(login: LoginNode) -> str:
    """Returns the number of the one job in the queue."""
    return str(record_of(login.folder("fnn"))["slurm"]["job_id"])


def start_now(login: LoginNode, job: str) -> None:
    """Spares most of the two minutes that SLURM lets a job wait that was queued again.

    Started within the second in which it was queued, it would be refused: that is when its credential was revoked.
    """
    wait_for(lambda: login.slurm("squeue", "-h", "-j", job, "-o", "%T %r") == "PENDING BeginTime")
    login.slurm("scontrol", "update", f"JobId={job}", "StartTime=now+3")


def test_task_runs_as_a_job_with_the_cpus_and_by_the_python_asked_for(login: LoginNode, tmp_path: Path) -> None:
    wrapper = tmp_path / "in_container"
    wrapper.write_text(f'#!/bin/sh\necho "$PREPARED" > {tmp_path}/proof\nexec "$@"\n')
    wrapper.chmod(0o755)
    status, printed = login.run(
        "fnn",
        *SHORT,
        "hydra.launcher.cpus_per_task=2",
        f"hydra.launcher.python='{wrapper} {sys.executable}'",
        "hydra.launcher.setup=['export PREPARED=yes']",
    )
    assert status == 0, printed
    record = record_of(login.folder("fnn"))
    assert record["status"] == "finished"
    assert record["machine"]["slurm_job_id"] == str(record["slurm"]["job_id"])
    described = login.slurm("scontrol", "show", "job", str(record["slurm"]["job_id"]))
    assert "NumCPUs=2" in described
    assert "TimeLimit=7-00:00:00" in described
    assert [line.split(": ")[1].split()[0] for line in printed.splitlines() if ": " in line][-1] == "finished"
    assert (tmp_path / "proof").read_text() == "yes\n"


def test_sweep_names_the_point_that_failed_and_finishes_the_others(login: LoginNode) -> None:
    status, printed = login.run("fnn", *SHORT, "litmodule.optimizer.lr=1e-3,1e-2,1e38,1e-4")
    assert status == 1, printed
    folder = login.folder("fnn")
    points = sorted(path for path in folder.glob("[0-9]_*"))
    assert [record_of(point)["status"] for point in points] == ["finished", "finished", "failed", "finished"]
    assert "1 of 4 points failed" in printed
    assert "litmodule.optimizer.lr=1e+38: " in printed
    assert str(points[2]) in printed
    assert record_of(folder)["status"] == "failed"


def test_search_that_is_shipped_runs_on_the_cluster(login: LoginNode) -> None:
    own = ("account=null", "mem_gb=1", "gpus_per_node=null", "setup=[]", "python=null")
    overrides = [f"hydra.launcher.{setting}" for setting in own]
    status, printed = login.run(
        "mlp_beluga", *SHORT, *overrides, "config.device=cpu", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2"
    )
    assert status == 0, printed
    records = [record_of(point) for point in login.folder("mlp_beluga").glob("[0-9]*_*")]
    assert [record["status"] for record in records] == ["finished", "finished"]
    assert len({record["slurm"]["job_id"] for record in records}) == 1
    assert len({record["result"] for record in records}) == 2


@pytest.mark.parametrize(("uninterrupted", "settings"), [("peaceful", LONG), ("peaceful_pair", (*PAIR, *TWO_NODES))])
def test_job_that_is_requeued_ends_in_the_same_bits(
    login: LoginNode, request: pytest.FixtureRequest, uninterrupted: str, settings: tuple[str, ...]
) -> None:
    peaceful: Path = request.getfixturevalue(uninterrupted)
    process = login.start("fnn", *settings)
    wait_for(lambda: num_rows(login) > len(read_metrics(peaceful)) / 4)
    job = number_of_job(login)
    login.slurm("scontrol", "requeue", job)
    start_now(login, job)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    record = record_of(login.folder("fnn"))
    assert [launch.get("status") for launch in record["launches"]] == ["stopped", "finished"]
    assert_same_result(login.folder("fnn"), peaceful)
    runs = login.folder("fnn").glob("wandb/offline-run-*/run-*.wandb")
    assert len({path.name for path in runs}) == 1


def test_job_that_reaches_its_time_limit_twice_ends_in_the_same_bits(login: LoginNode, peaceful: Path) -> None:
    """A limit is a minute at least. The run is halted, so that it is not over before: SLURM's signal wakes it."""
    limits = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=5")
    process = login.start("fnn", *LONG, *limits, "logger=none")
    for reached in (100, 300):
        wait_for(lambda reached=reached: num_rows(login) > reached)
        os.kill(record_of(login.folder("fnn"))["launches"][-1]["pid"], signal.SIGSTOP)
        start_now(login, number_of_job(login))
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    launches = record_of(login.folder("fnn"))["launches"]
    assert [launch["status"] for launch in launches] == ["stopped", "stopped", "finished"]
    assert_same_result(login.folder("fnn"), peaceful)


def test_two_ranks_on_one_node_give_the_result_of_one_on_each_of_two(login: LoginNode, peaceful_pair: Path) -> None:
    status, printed = login.run("fnn", *PAIR, "logger=none", "hydra.launcher.tasks_per_node=2")
    assert status == 0, printed
    folder = login.folder("fnn")
    assert "NumNodes=1 NumCPUs=2 NumTasks=2" in login.slurm("scontrol", "show", "job", number_of_job(login))
    assert record_of(folder)["identity"] != record_of(peaceful_pair)["identity"]
    (rows, parameters), (other_rows, other_parameters) = result_of(folder), result_of(peaceful_pair)
    assert len(rows) == len(other_rows)
    for row, other in zip(rows, other_rows, strict=True):
        assert row == pytest.approx(other, abs=TOLERANCE)
    assert all(torch.allclose(parameters[name], other_parameters[name], atol=TOLERANCE) for name in parameters)
    for one in (folder, peaceful_pair):
        assert (one / "rank_1.log").is_file()


def test_job_whose_second_node_fails_at_once_is_not_queued_again(login: LoginNode, tmp_path: Path) -> None:
    """Although the first node's process is ended by a signal, before it could handle any."""
    wrapper = tmp_path / "fails_on_second"
    wrapper.write_text(
        f'#!/bin/sh\n[ "$RANK" = 1 ] && exit 1\n[ "$RANK" = 0 ] && sleep 2\nexec {sys.executable} "$@"\n'
    )
    wrapper.chmod(0o755)
    status, printed = login.run("fnn", *PAIR, *TWO_NODES, f"hydra.launcher.python={wrapper}")
    assert status == 1, printed
    assert "Restarts=0" in login.slurm("scontrol", "show", "job", number_of_job(login))


@pytest.mark.parametrize("words", commands(CLUSTER), ids=shlex.join)
def test_command_of_the_guide_works(login: LoginNode, words: list[str]) -> None:
    (shown,) = [
        block.text for block in all_blocks("text") if block.text.startswith("Folder <run>") and "job" in block.text
    ]
    status, printed = login.run(
        words[2].removeprefix("task="), *SHORT, *(word for word in words[3:] if word not in DEFAULTS)
    )
    assert status == 0, printed
    if words == commands(CLUSTER)[0]:
        folder = login.folder("fnn")
        lines = printed.replace(str(folder), "<run>").replace(folder.name, "<run>").splitlines()
        assert {masked(line) for line in shown.splitlines()} <= {masked(line) for line in lines}
    elif DETACHED in words:
        job = number_of_job(login)
        assert f"squeue --jobs {job}" in printed
        assert f"scancel {job}" in printed
    wait_for(lambda: all(record_of(folder)["status"] == "finished" for folder in login.folders("fnn")))


def test_guide_shows_how_to_leave_jobs_alone() -> None:
    assert any(DETACHED in words for words in commands(CLUSTER))


def masked(line: str) -> str:
    """Returns a line without the numbers that differ from run to run."""
    return re.sub(r"\d+(\.\d+)?", "#", line)


def test_what_was_submitted_is_what_runs_and_a_queued_run_is_left_alone(login: LoginNode, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=login.repository, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(login.repository / name, repository / name)
    subprocess.run(["git", "init", "--quiet"], cwd=repository, check=True)
    login.repository = repository
    login.slurm("scontrol", "update", "PartitionName=main", "State=DOWN")
    assert login.run("fnn", *SHORT, DETACHED)[0] == 0
    queued = login.folder("fnn")
    second = login.run("fnn", *SHORT, DETACHED)[1]
    assert f"a new run: {queued.name} is in SLURM's queue as job" in second
    (repository / "projects" / "classify_mnist" / "litmodule.py").write_text("raise RuntimeError('edited')\n")
    login.slurm("scontrol", "update", "PartitionName=main", "State=UP")
    wait_for(lambda: record_of(queued)["status"] == "finished")
    assert len(record_of(queued)["snapshot"]) == 64


def test_what_the_cluster_cannot_give_is_said_before_anything_is_submitted(login: LoginNode) -> None:
    status, printed = login.run("fnn", *SHORT, "hydra.launcher.partition=gpus")
    assert status == 2, printed
    assert "SLURM cannot run such a job: " in printed
    assert "invalid partition specified: gpus" in printed
    assert login.folders("fnn") == []
    status, printed = login.run("fnn", *SHORT, "hydra.launcher.cpus_per_task=1000")
    assert status == 2, printed
    assert login.folders("fnn") == []


def test_search_that_learns_from_its_trials_cannot_be_left_alone(login: LoginNode) -> None:
    search = ("hydra/sweeper=optuna", "litmodule.optimizer.lr=interval(0.1,0.2)", "hydra.sweeper.n_trials=4")
    status, printed = login.run("fnn", *SHORT, *search, "hydra.sweeper.n_jobs=2", DETACHED)
    assert status == 2, printed
    assert "a search whose 4 trials are chosen 2 at a time" in printed
    assert "or choose all at once with hydra.sweeper.n_jobs=4." in printed
    assert login.folders("fnn") == []


def test_preflight_tells_what_the_cluster_cannot_give_among_all_other_mistakes(login: LoginNode) -> None:
    """A key, a type, a missing value, a layer's size and a resource, in fifty points, of which none is submitted."""
    status, printed = login.run(
        "fnn",
        "hydra.launcher.mem_gb=100000",
        "litmodule.optimizer.lrr=0.1",
        "config.seed=" + ",".join(map(str, range(24))) + ",many",
        "litmodule.nnmodule.config.input_size=784,700",
        "trainer.max_epochs=???",
    )
    assert status == 2, printed
    assert login.folders("fnn") == []
    for mistake in (
        "SLURM cannot run such a job: ",
        "No configuration declares the key litmodule.optimizer.lrr.",
        "config.seed='many' is not allowed",
        "trainer.max_epochs is missing",
        "The network does not fit the data, a batch of 2×1×28×28, 2: ",
    ):
        assert mistake in printed
    assert printed.count("at the point config.seed=many") == 2
