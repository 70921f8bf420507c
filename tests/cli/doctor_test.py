"""The doctor finds what is wrong with a machine; each fault is brought about for real."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cli import checks, doctor, machine_checks
from common.cli.checks import Finding


def found(check: Callable[[], Iterator[Finding]], subject: str) -> list[Finding]:
    """Returns what a check says of a subject."""
    return [finding for finding in check() if finding.subject == subject]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of some megabytes."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        folder = tmp_path / f"disk_{megabytes}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("this process may not mount a disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs an empty package, which hides one of the same name."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def add(name: str, version: str, *requires: str) -> None:
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {line}" for line in requires]
        (info / "METADATA").write_text(
            "\n".join([f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *lines, ""])
        )

    return add


@pytest.fixture
def put_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a shell script on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, text: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    return put


def test_fault_1_outputs_cannot_be_written(root: Path) -> None:
    """The file system itself refuses: root may write where the permissions forbid it."""
    (root / "data").mkdir()
    freeze = subprocess.run(["chattr", "+i", str(root / "data")], capture_output=True, check=False)
    if freeze.returncode:
        pytest.skip("this process may not freeze a folder")
    (finding,) = found(checks.check_outputs, "outputs")
    subprocess.run(["chattr", "-i", str(root / "data")], check=True)
    assert finding.verdict == "fault"
    assert "cannot be written to" in finding.detail
    assert "AI_RESEARCH_PATH" in finding.remedy


def test_fault_2_the_disk_is_full(small_disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = small_disk(1)
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    (disk / "data").mkdir()
    monkeypatch.setenv("AI_RESEARCH_PATH", str(disk))
    (finding,) = found(checks.check_outputs, "outputs")
    assert finding.verdict == "fault"
    assert "No space left" in finding.detail
    assert finding.remedy == "Make room: ai-research clean"


def test_fault_3_the_disk_is_nearly_full(small_disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_RESEARCH_PATH", str(small_disk(50)))
    (finding,) = found(checks.check_outputs, "outputs")
    assert (finding.verdict, "GB free" in finding.detail) == ("fault", True)


def test_fault_4_outputs_go_below_a_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").touch()
    monkeypatch.setenv("AI_RESEARCH_PATH", str(root / "file"))
    (finding,) = found(checks.check_outputs, "outputs")
    assert finding.verdict == "fault"


def test_fault_5_torchvision_of_another_torch(install: Any) -> None:
    install("torchvision", "0.20.0", "torch==2.5.0", "numpy")
    (finding,) = found(checks.check_torchvision, "torchvision")
    assert finding.verdict == "fault"
    assert "0.20.0 was built for torch==2.5.0" in finding.detail
    assert "requirements.txt" in finding.remedy


def test_fault_6_a_package_is_too_old(install: Any) -> None:
    install("hydra_core", "1.1.0")
    (finding,) = found(checks.check_packages, "packages")
    assert finding.verdict == "fault"
    assert "hydra-core 1.1.0 (required <1.4,>=1.3.8)" in finding.detail


def test_another_version_than_the_lock_is_a_warning(install: Any) -> None:
    install("beartype", "0.99.0")
    (finding,) = found(checks.check_packages, "lock")
    assert finding.verdict == "warning"
    assert "beartype 0.99.0 instead of " in finding.detail


@pytest.mark.parametrize("harm", ["everybody may write", "no text", "empty", "a folder"])
def test_fault_7_the_key_file_is_unusable(root: Path, harm: str) -> None:
    path = root / "WANDB_KEY.txt"
    if harm == "a folder":
        path.mkdir(mode=0o700)
    else:
        path.write_bytes({"no text": b"\xff\xfe", "empty": b""}.get(harm, b"key"))
        path.chmod(0o666 if harm == "everybody may write" else 0o600)
    (finding,) = found(checks.check_wandb, "W&B")
    assert finding.verdict == "fault"
    assert str(path) in finding.detail
    assert "chmod 600" in finding.remedy


def test_fault_8_a_stale_lock(make_run: Any) -> None:
    """A run whose record says that it runs, and whose lock names a process that has died."""
    folder = make_run(status="running")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder / ".lock").write_text(f'{{"host": "{os.uname().nodename}", "pid": {dead.pid}, "start_time": 1}}')
    (finding,) = found(checks.check_interrupted_runs, "runs")
    assert finding.verdict == "warning"
    assert folder.name in finding.detail
    assert str(folder) in finding.remedy


def test_fault_9_shared_memory_is_small_or_missing(small_disk: Any, tmp_path: Path) -> None:
    (small,) = checks.check_shared_memory(small_disk(8))
    (missing,) = checks.check_shared_memory(tmp_path / "nothing")
    assert [finding.verdict for finding in (small, missing)] == ["fault", "fault"]
    assert "--shm-size" in small.remedy
    assert "there is no" in missing.detail


@pytest.mark.slow
def test_fault_10_torch_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = machine_checks.check_torch()
    assert finding.verdict == "fault"
    assert finding.detail == "ImportError: libcudart.so.13: cannot open shared object file"


@pytest.mark.slow
def test_fault_11_a_gpu_that_torch_does_not_see(put_program: Any) -> None:
    put_program("nvidia-smi", "echo a GPU")
    findings = {finding.subject: finding for finding in machine_checks.check_torch()}
    assert findings["torch"].verdict == "good"
    if not findings["GPU"].detail.startswith("this machine has one"):
        pytest.skip("torch sees a GPU here")
    assert findings["GPU"].verdict == "warning"
    assert "Troubleshooting" in findings["GPU"].remedy


def test_fault_12_a_gpu_that_is_not_usable() -> None:
    seen = {"error": "RuntimeError: CUDA error: out of memory", "gpus": ["X"]}
    finding = machine_checks._gpu_finding(seen, "CUDA 13.0")
    assert (finding.verdict, "out of memory" in finding.detail) == ("fault", True)


def test_wandb_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    (finding,) = checks.check_wandb()
    assert finding.verdict == "warning"
    assert "http://127.0.0.1:9 does not answer" in finding.detail


@pytest.mark.parametrize(
    ("mode", "verdicts"),
    [("REQUEUE", ["good"]), ("CANCEL", ["good", "warning"]), ("GANG,CANCEL", ["good", "warning"]), ("OFF", ["good"])],
)
def test_slurm_that_cancels_instead_of_requeueing(put_program: Any, mode: str, verdicts: list[str]) -> None:
    put_program("sbatch", "")
    put_program("sinfo", "echo 'short*'; echo long")
    put_program(
        "scontrol", f"echo 'JobRequeue              = 1'; echo 'MaxArraySize = 1001'; echo 'PreemptMode = {mode}'"
    )
    findings = list(machine_checks.check_slurm())
    assert [finding.verdict for finding in findings] == verdicts
    assert findings[0].detail == "partitions short*, long; at most 1001 points per sweep"


def test_slurm_without_a_controller(put_program: Any) -> None:
    for name in ("sbatch", "sinfo", "scontrol"):
        put_program(name, "exit 1")
    (finding,) = machine_checks.check_slurm()
    assert finding.verdict == "warning"
    assert "no controller answers" in finding.detail


def test_a_file_system_without_locks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such file system can be had here: the call that asks it stands for it."""

    def refuse(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(checks.fcntl, "flock", refuse)
    (finding,) = found(checks.check_outputs, "locks")
    assert finding.verdict == "warning"
    assert "No locks available" in finding.detail


def test_no_container_runtime_and_no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [finding.verdict for finding in machine_checks.check_containers()] == ["warning"]
    (finding,) = checks.check_git()
    assert (finding.verdict, finding.detail) == (
        "warning", "runs cannot record their code: its whole state, since git is not installed"
    )  # fmt: skip
    assert [finding.detail for finding in machine_checks.check_slurm()] == [
        "not here: hydra/launcher=local is what there is"
    ]


def test_git_is_judged_by_what_a_run_would_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "projects").mkdir(parents=True)
    (repository / "projects" / "a.py").touch()
    monkeypatch.setattr(checks, "repository_path", lambda: repository)

    def seen() -> tuple[str, str]:
        (finding,) = checks.check_git()
        return finding.verdict, finding.detail

    assert seen() == (
        "warning",
        f"runs cannot record their code: its whole state, since {repository} is in no git work tree",
    )
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    assert seen()[1].endswith(f"the repository of {repository} has no commit, or none that git can read")
    author = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    subprocess.run(["git", *author, "commit", "-q", "-m", "first"], cwd=repository, check=True)
    assert seen()[0] == "good"
    if os.geteuid() == 0:
        os.chown(repository, 65534, 65534)  # "Dubious ownership", as git calls it.
        assert seen()[0] == "good"
    (repository / "projects" / "large.py").write_bytes(bytes(1_000_001))
    verdict, detail = seen()
    assert verdict == "warning"
    assert detail.endswith("but not: projects/large.py: changed or new, and larger than 1 MB")


@pytest.mark.slow
def test_this_machine_can_run(ai_research: Any, root: Path) -> None:
    if shutil.disk_usage(root).free < checks.FEWEST_FREE_BYTES:
        pytest.skip("this disk is full")
    said = ai_research("doctor")
    assert said.status == 0, said.out
    assert "Runs will work." in said.out


def test_a_fault_means_status_1(ai_research: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Finding("disk", "fault", "it is full", "rm")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([bad]),))
    said = ai_research("doctor")
    assert (said.status, "A run would fail." in said.out) == (1, True)
    assert ai_research("doctor", "--json").json == [vars(bad)]
