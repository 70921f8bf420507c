"""SLURM's commands on a real cluster, where single calls of them fail: stand-ins on the PATH call the real ones."""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.cli.runs import read_run
from common.errors import ConfigError, RunError
from common.launch.display import Job
from common.launch.resources import SlurmResources
from common.launch.slurm import launcher
from common.launch.slurm.batch import script_of
from common.launch.slurm.commands import (
    cancel,
    check_request,
    environment_of_job,
    jobs_from,
    largest_array,
    release,
    submit,
)
from common.launch.slurm.launcher import state_of
from common.run import queue
from common.run.queue import Standing, UnansweredError, is_in_queue, parse, standings
from common.run.record import Record, SlurmTask, read_record, write_record
from tests.slurm.conftest import LoginNode, record_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RESOURCES = SlurmResources(cpus_per_task=1, timeout_min=10)

STAND_IN = """#!/bin/sh
# The first {times} calls {what}.
echo call >> {count}
{before}
[ "$(wc -l < {count})" -le {times} ] && {{ {how}; }}
exec {real} "$@"
"""

INSTANT = """#!{interpreter}
import json, os, sys, time
path = os.environ["AI_RESEARCH_JOB_FOLDER"] + "/provenance.json"
record = json.load(open(path))
record["slurm"]["num_restarts"] = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
{body}
record.update(status=status, error=error, result=1.0)
json.dump(record, open(path, "w"))
sys.exit(code)
"""
"""A Python that writes a record as a run would, and is over at once."""

FINISHES = "status, error, code = 'finished', None, 0"


def record_with(status: Any, slurm: SlurmTask) -> Record:
    return Record("plain", "a1", {}, {}, {}, status=status, slurm=slurm)


def job_in(folder: Path) -> Job:
    """Returns a job of whose point nothing matters but how much was asked for."""
    job: Any = Job.__new__(Job)
    job.folder, job.point = folder, SimpleNamespace(record=SimpleNamespace(budget={}))
    return job


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def failing(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that makes a command of SLURM's fail some times; it returns where it counts its calls."""

    def make(name: str, times: int, how: str = "exit 1", before: str = "") -> Path:
        folder = tmp_path / "stand_ins"
        folder.mkdir(exist_ok=True)
        count = folder / f"{name}_calls"
        real = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
        text = STAND_IN.format(times=times, what=how, how=how, count=count, real=real, before=before)
        executable(folder / name, text)
        return count

    return make


@pytest.fixture
def place(cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to submit from, with this process on the login node and what fails on its PATH."""
    monkeypatch.setenv("SLURM_CONF", cluster["SLURM_CONF"])
    monkeypatch.setenv("PATH", f"{tmp_path / 'stand_ins'}:{os.environ['PATH']}")
    monkeypatch.setattr(queue, "PAUSE_S", 0.05)
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def script(place: Path) -> Path:
    path = place / "job.sh"
    path.write_text(script_of(place, 1, RESOURCES))
    return path


def test_question_that_fails_once_is_asked_again(place: Path, script: Path, failing: Any) -> None:
    job = submit(script, RESOURCES, None, [])
    calls = failing("squeue", 1, "echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1")
    (standing,) = standings([job]).values()
    assert (standing.state, standing.is_held) == ("PENDING", True)
    assert len(calls.read_text().split()) == 2
    assert cancel(job) is None
    assert standings([job])[job, None].state == "CANCELLED"
    assert standings([999999]) == {}


@pytest.mark.parametrize("how", ["exit 1", "echo garbage; exit 0", "echo 1 2; exit 0", "sleep 9; exit 1"])
def test_question_without_an_answer_is_said_to_be_unanswered(
    place: Path, failing: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(queue, "TIMEOUT_S", 0.5)
    failing("squeue", 99, how)
    record = record_with("queued", SlurmTask(1))
    with pytest.raises(UnansweredError, match="SLURM does not answer `squeue`, asked 3 times: "):
        standings([1])
    with pytest.raises(ConfigError, match="submitted as job 1, and whether that still waits or runs is unknown"):
        is_in_queue(record)


def test_submission_that_fails_once_is_tried_again(place: Path, script: Path, failing: Any) -> None:
    failing("sbatch", 1, "echo 'sbatch: error: Batch job submission failed: Socket timed out on send' >&2; exit 1")
    job = submit(script, RESOURCES, None, [])
    assert jobs_from(place) == [job]
    assert cancel(job) is None


def test_job_that_came_about_though_sbatch_failed_is_not_submitted_twice(
    place: Path, script: Path, failing: Any
) -> None:
    calls = failing("sbatch", 1, '/usr/bin/sbatch "$@" >/dev/null; echo "sbatch: error: Socket timed out" >&2; exit 1')
    job = submit(script, RESOURCES, None, [])
    assert jobs_from(place) == [job]
    assert len(calls.read_text().split()) == 1
    assert cancel(job) is None


def test_controller_that_is_down_is_no_wrong_request(place: Path, script: Path, failing: Any) -> None:
    down = "echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    calls = failing("sbatch", 99, down)
    with pytest.raises(UnansweredError, match=r"SLURM does not answer `sbatch`, asked 3 times: .*connect failure"):
        submit(script, RESOURCES, None, [])
    with pytest.raises(ConfigError, match=r"connect failure.*\nNothing was submitted. Try again when SLURM answers"):
        check_request(1, RESOURCES)
    assert len(calls.read_text().split()) == 6


def test_wrong_request_is_told_at_once(place: Path, script: Path, failing: Any) -> None:
    calls = failing("sbatch", 0)
    script.write_text(script_of(place, 1, SlurmResources(partition="gpus")))
    with pytest.raises(ConfigError, match=r"SLURM cannot run such a job: .*invalid partition specified: gpus"):
        submit(script, SlurmResources(partition="gpus"), None, [])
    assert len(calls.read_text().split()) == 1


def test_release_that_fails_once_is_tried_again(place: Path, script: Path, failing: Any) -> None:
    job = submit(script, RESOURCES, None, [])
    calls = failing("scontrol", 1)
    assert release(job) is None
    assert len(calls.read_text().split()) == 2
    assert not any(one.is_held for one in standings([job]).values())
    cancel(job)
    job = submit(script, RESOURCES, None, [])
    failing("scontrol", 99)
    assert "SLURM does not answer `scontrol`, asked 3 times" in str(release(job))
    cancel(job)


def test_pieces_of_a_sweep_run_one_after_the_other_where_not_all_points_may_run(place: Path, script: Path) -> None:
    first = submit(script, RESOURCES, None, [])
    second = submit(script, RESOURCES, first, [first])
    told = subprocess.run(["scontrol", "show", "job", str(second)], capture_output=True, text=True, check=True)
    assert f"Dependency=afterany:{first}(" in told.stdout
    assert cancel(first) is cancel(second) is None


def test_cluster_says_how_large_an_array_may_be(place: Path) -> None:
    assert largest_array() == 4
    check_request(5, RESOURCES)


@pytest.mark.parametrize(("timeout_min", "delay_s", "best_s"), [(1, 120, 30), (2, 120, 60), (3, 91, 90)])
def test_signal_that_leaves_no_time_is_refused(timeout_min: int, delay_s: int, best_s: int) -> None:
    text = f"hydra.launcher.timeout_min={timeout_min} with hydra.launcher.signal_delay_s={delay_s}: .*delay_s={best_s}"
    with pytest.raises(ConfigError, match=text):
        check_request(1, SlurmResources(timeout_min=timeout_min, signal_delay_s=delay_s))


def test_job_gets_nothing_of_the_shell_that_submits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SLURM_ARRAY_JOB_ID": "1", "SLURM_RESTART_COUNT": "99", "SBATCH_EXPORT": "NONE", "SBATCH_TIMELIMIT": "1"}
    given |= {"SQUEUE_USERS": "x", "RANK": "1", "WORLD_SIZE": "2", "WANDB_SERVICE": "3-1-tcp-localhost-1"}
    given |= {"SBATCH_PARTITION": "x", "AI_RESEARCH_JOB_FOLDER": "/x"}
    kept = {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "lab", "MY_OWN": "1"}
    for name, value in (given | kept).items():
        monkeypatch.setenv(name, value)
    got = environment_of_job(RESOURCES)
    assert not given.keys() & got.keys()
    assert {name: got[name] for name in kept} == kept
    assert "SBATCH_ACCOUNT" not in environment_of_job(SlurmResources(account="other"))


@pytest.mark.parametrize(
    ("num_points", "status", "answers", "requeued"),
    [
        (1, 75, ["RUNNING"], "7"),
        (3, 75, ["RUNNING"], "5_2"),
        (1, 143, ["fail", "fail", "RUNNING"], "7"),
        (1, 75, ["COMPLETING"], None),
        (1, 1, ["RUNNING"], None),
        (1, 0, ["RUNNING"], None),
    ],
)
def test_stopped_job_is_queued_again_by_its_own_number(
    tmp_path: Path, num_points: int, status: int, answers: list[str], requeued: str | None
) -> None:
    """The generated script itself, with what it calls replaced."""
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    executable(tools / "srun", f"#!/bin/sh\nexit {status}\n")
    executable(tools / "sleep", "#!/bin/sh\n")
    executable(tools / "scontrol", f'#!/bin/sh\necho "$@" >> {log}\n')
    (tmp_path / "answers").write_text("".join(f"{answer}\n" for answer in answers))
    take = f'a=$(head -n 1 {tmp_path}/answers); sed -i 1d {tmp_path}/answers; [ "$a" = fail ] && exit 1; echo $a'
    executable(tools / "squeue", f"#!/bin/sh\n{take}\n")
    script = executable(tmp_path / "job.sh", script_of(tmp_path, num_points, RESOURCES))
    ids = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}  # In a plain job an outer one's.
    ended = subprocess.run(["bash", str(script)], env=ids | {"PATH": f"{tools}:/usr/bin:/bin"}, check=False)
    assert ended.returncode == status
    assert (log.read_text().split() if log.exists() else None) == (["requeue", requeued] if requeued else None)


def test_what_squeue_prints_is_read() -> None:
    assert parse("7  N/A  2  RUNNING  None \n5 1 0 PENDING Resources (x)\n") == {
        (7, None): Standing("RUNNING", 2, "None"),
        (5, 1): Standing("PENDING", 0, "Resources (x)"),
    }


@pytest.mark.parametrize(
    ("status", "num_restarts", "standing", "state"),
    [
        ("queued", None, Standing("PENDING"), "pending"),
        ("stopped", 0, Standing("PENDING", 1), "pending"),
        ("running", 0, Standing("COMPLETING"), "running"),
        ("finished", 0, Standing("COMPLETED"), "finished"),
        ("finished", 0, None, "finished"),
        ("queued", None, Standing("CANCELLED"), "stopped"),
        ("stopped", 0, Standing("CANCELLED"), "stopped"),
        ("stopped", 0, Standing("FAILED"), "stopped"),
        ("stopped", 0, Standing("FAILED", 1), "failed"),
        ("running", 0, Standing("OUT_OF_MEMORY"), "failed"),
        ("queued", None, None, "failed"),
        ("stopped", None, None, "failed"),
    ],
)
def test_how_a_job_stands(
    tmp_path: Path, status: str, num_restarts: int | None, standing: Standing | None, state: str
) -> None:
    write_record(tmp_path, record_with(status, SlurmTask(1, num_restarts=num_restarts)))
    job = job_in(tmp_path)
    assert state_of(job, standing) == state


def test_jobs_that_slurm_says_nothing_of_are_left_alone_and_never_failed(
    place: Path, failing: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launcher, "POLL_S", 0.0)
    monkeypatch.setattr(launcher, "UNANSWERED_S", 1.0)
    failing("squeue", 99)
    record = record_with("running", SlurmTask(1, num_restarts=0))
    write_record(place, record)
    job = job_in(place)
    job.state = "running"
    with pytest.raises(
        RunError, match=r"for 0 minutes. The jobs go on without this command.\n  follow  squeue --jobs 1"
    ):
        launcher.follow({job: (1, None)}, place)
    assert "The jobs go on; asked again." in capsys.readouterr().out
    assert job.state == "running"
    assert read_record(place) == record


# ------------------------------------------------------------------------------------------------- whole commands


@pytest.fixture
def instant(tmp_path: Path) -> Callable[[str], str]:
    """Returns a function that makes a Python which only writes a record, and returns the override that uses it."""

    def make(body: str = FINISHES) -> str:
        text = INSTANT.format(interpreter=sys.executable, body=body)
        return f"hydra.launcher.python={executable(tmp_path / 'instant', text)}"

    return make


@pytest.fixture
def shell(login: LoginNode, tmp_path: Path) -> LoginNode:
    """The login node, with what fails on its PATH."""
    login.environment = {**login.environment, "PATH": f"{tmp_path / 'stand_ins'}:{login.environment['PATH']}"}
    return login


def table_of(sweep: Path) -> list[str]:
    return [line.split(",")[2] for line in (sweep / "sweep.csv").read_text().splitlines()[1:]]


def test_sweep_above_the_clusters_limit_is_split_and_followed_through_failing_questions(
    shell: LoginNode, instant: Any, failing: Any
) -> None:
    failing("squeue", 2)
    parameters = "hydra.launcher.additional_parameters={comment:hi}"
    status, printed = shell.run("fnn", "logger=none", instant(), parameters, "config.seed=0,1,2,3,4")
    assert status == 0, printed
    sweep = shell.folder("fnn")
    jobs = record_of(sweep)["slurm"]["job_ids"]
    assert len(jobs) == 2
    points = [record_of(point)["slurm"] for point in sorted(sweep.glob("[0-9]_*"))]
    assert [(point["job_id"], point["task"]) for point in points] == [
        *((jobs[0], n) for n in range(4)),
        (jobs[1], None),
    ]
    assert "Comment=hi" in shell.slurm("scontrol", "show", "job", str(jobs[1]))
    assert table_of(sweep) == ["finished"] * 5


def test_cancelled_points_are_stopped_in_every_table(shell: LoginNode, instant: Any) -> None:
    process = shell.start("fnn", "logger=none", instant("time.sleep(600)"), "config.seed=0,1")
    record = wait_for(lambda: shell.folders("fnn") and record_of(shell.folder("fnn")).get("slurm"))
    wait_for(lambda: "JobHeldUser" not in shell.slurm("squeue", "-h", "-j", str(record["job_id"]), "-o", "%r"))
    shell.slurm("scancel", str(record["job_id"]))
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 75, printed
    assert "2 of 2 points were stopped. The same command continues them." in printed
    sweep = shell.folder("fnn")
    assert table_of(sweep) == ["stopped", "stopped"]
    assert [line.split()[2] for line in printed.splitlines() if line.startswith(("  0  ", "  1  "))] == ["stopped"] * 2
    assert {point.state for point in read_run(sweep).points} == {read_run(sweep).state} == {"stopped"}


def test_job_that_nobody_can_release_is_cancelled_by_the_next_command(
    shell: LoginNode, instant: Any, failing: Any
) -> None:
    """Neither can the first command cancel it."""
    failing("scontrol", 99, '[ "$1" = release ] && exit 1')
    failing("scancel", 99)
    status, printed = shell.run("fnn", "logger=none", instant())
    assert status == 1, printed
    assert "cannot be released. SLURM does not answer `scontrol`, asked 3 times" in printed
    (held,) = (
        line.rsplit(maxsplit=1)[1] for line in printed.splitlines() if line.startswith("Still held in the queue")
    )
    failing("scontrol", 0)
    failing("scancel", 0)
    status, printed = shell.run("fnn", "logger=none", instant())
    assert status == 0, printed
    assert f"Job {held}, which an earlier command left held in the queue, was cancelled." in printed
    assert record_of(shell.folder("fnn"))["status"] == "finished"
    assert "JobState=CANCELLED" in shell.slurm("scontrol", "show", "job", held)


def test_job_submitted_from_within_another_is_queued_again_and_its_last_try_counts(
    shell: LoginNode, instant: Any
) -> None:
    """The shell has what an array's task has, and a site's habit of exporting nothing. The second try fails at once."""
    outer = {"SLURM_ARRAY_JOB_ID": "99", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "100", "SLURM_JOB_ID": "99"}
    shell.environment = shell.environment | outer | {"SBATCH_EXPORT": "NONE"}
    body = (
        "if record['slurm']['num_restarts']: sys.exit(3)\n"
        "assert 'RANK' not in os.environ\nstatus, error, code = 'stopped', 'the first try', 75"
    )
    process = shell.start("fnn", "logger=none", instant(body))
    record = wait_for(lambda: shell.folders("fnn") and record_of(shell.folder("fnn")).get("slurm"))
    job = str(record["job_id"])
    wait_for(lambda: shell.slurm("squeue", "-h", "-j", job, "-o", "%T %r") == "PENDING BeginTime")
    time.sleep(1)  # A job that is queued again may not begin within the same second.
    shell.slurm("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 1, printed
    assert "its try 2 left the queue before Python began (SLURM: FAILED)" in printed
    assert "the first try" not in printed
    assert record_of(shell.folder("fnn"))["status"] == "failed"
