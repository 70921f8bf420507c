"""`provenance.json`: the commit, every uncommitted change, and how a run ended."""

import json
import subprocess
from pathlib import Path

import pytest

from common.run.continuation import Run
from common.run.lock import FolderLock
from common.run.provenance import end_launch, git_state, package_versions, redacted, start_launch
from common.run.record import FILE_NAME, Git, Record, Status

KEY = "0123456789abcdef0123456789abcdef01234567"


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    result = subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True)
    return result.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "kept.txt").write_text("one\n")
    (folder / "deleted.txt").write_text("gone\n")
    (folder / ".gitignore").write_text("ignored.txt\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def state(repository: Path) -> Git:
    found = git_state(repository)
    assert found is not None
    return found


def test_a_clean_repository_has_a_commit_a_branch_and_no_difference(repository: Path) -> None:
    assert state(repository) == Git(git(repository, "rev-parse", "HEAD").strip(), "main", "")


def test_the_difference_restores_the_work_tree(repository: Path, tmp_path: Path) -> None:
    (repository / "kept.txt").write_text("two\n")
    (repository / "deleted.txt").unlink()
    (repository / "untracked.txt").write_text("new\n")
    (repository / "staged.txt").write_text("staged\n")
    (repository / "binary.bin").write_bytes(bytes(range(256)))
    (repository / "ignored.txt").write_text("secret\n")
    git(repository, "add", "staged.txt")
    diff = state(repository).uncommitted_diff
    assert "secret" not in diff
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    (tmp_path / "diff").write_text(diff)
    git(clone, "apply", str(tmp_path / "diff"))
    expected = {path.name: path.read_bytes() for path in repository.iterdir() if path.is_file()}
    expected.pop("ignored.txt")
    assert {path.name: path.read_bytes() for path in clone.iterdir() if path.is_file()} == expected


def test_taking_the_difference_touches_neither_index_nor_objects(repository: Path) -> None:
    (repository / "untracked.txt").write_text("new\n")
    (repository / "kept.txt").write_text("two\n")
    before = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}
    state(repository)
    assert {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()} == before
    assert git(repository, "status", "--porcelain") == " M kept.txt\n?? untracked.txt\n"


def test_a_folder_without_git_has_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


def test_a_repository_without_a_commit_has_no_state(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None


def test_a_machine_without_git_has_no_state(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert git_state(repository) is None


def read(folder: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((folder / FILE_NAME).read_text())
    return record


def a_run(folder: Path) -> Run:
    return Run(folder, Record("plain", "a1", {}, {}, package_versions()), FolderLock(folder))


@pytest.mark.parametrize("status", ["finished", "stopped", "failed"])
def test_the_status_goes_from_running_to_the_end(tmp_path: Path, status: Status) -> None:
    run = a_run(tmp_path)
    start_launch(run, seed=0)
    running = read(tmp_path)
    assert (running["status"], running["ended"], running["error"], running["seed"]) == ("running", None, None, 0)
    end_launch(run, status, 1.23, error="E: x", result=0.5)
    ended = read(tmp_path)
    assert (ended["status"], ended["error"], ended["seconds"]) == (status, "E: x", 1.2)
    assert ended["result"] == (0.5 if status == "finished" else None)
    assert str(ended["ended"]) >= str(ended["started"])
    assert ended["git"] == running["git"]


def test_the_record_has_what_it_takes_to_repeat_a_run(tmp_path: Path) -> None:
    start_launch(a_run(tmp_path), seed=3, data={"source": "digits"})
    record = read(tmp_path)
    assert {"command", "working_directory", "started", "python", "packages", "machine", "git", "seed", "data"} <= set(
        record
    )
    assert {"torch", "pytorch-lightning", "hydra-core", "numpy"} <= set(package_versions())


def test_the_wandb_key_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr("sys.argv", ["train.py", "task=fnn", f"logger.notes={KEY}"])
    monkeypatch.setattr("common.run.provenance.git_state", lambda repository: Git("1", "", redacted(f"+{KEY}")))
    run = a_run(tmp_path)
    start_launch(run, seed=0)
    end_launch(run, "failed", 1, error=f"Denied: {KEY}")
    assert KEY not in (tmp_path / FILE_NAME).read_text()


def test_the_wandb_key_in_an_uncommitted_file_is_redacted(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (repository / "notes.txt").write_text(f"{KEY}\n")
    assert KEY not in state(repository).uncommitted_diff


def test_an_empty_wandb_key_redacts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "")
    assert redacted("abc") == "abc"
