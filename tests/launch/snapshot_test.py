"""The copy of the code that jobs run from: what belongs to it, and what tells one from another."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from common.launch import snapshot

FILES = {
    "common/a.py": "a",
    "common/deep/down/b.py": "bb",
    "common/ignored.py": "runs all the same",
    "hydra_plugins/p/p.py": "p",
    "projects/__init__.py": "",
    "projects/mine/train.py": "mine",
    "projects/mine/ignored.yaml": "mine too",
    "notes.txt": "new, and not ignored",
    "projects/other/x.py": "tracked",
}
LEFT_OUT = {
    "ignored.txt": "x",
    "common/__pycache__/a.pyc": "x",
    "projects/other/ignored.py": "x",
    "data/run/m.csv": "x",
}
WITHOUT_GIT = {name for name in FILES if name not in ("notes.txt", "projects/other/x.py")}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one project that runs and another that does not."""
    root = tmp_path / "checkout"
    for name, text in (FILES | LEFT_OUT).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".gitignore").write_text("ignored*\n__pycache__/\n/data/\n")
    (root / "projects" / "mine" / "train.py").chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "projects/other"], cwd=root, check=True)
    monkeypatch.setattr(snapshot, "repository_path", lambda: root)
    monkeypatch.setattr(snapshot, "get_absolute_project_path", lambda: root / "projects" / "mine")
    return root


def copied(folder: Path) -> dict[str, str]:
    code = folder / ".code"
    return {str(path.relative_to(code)): path.read_text() for path in code.rglob("*") if path.is_file()}


def test_all_that_git_does_not_ignore_and_all_that_runs_is_copied(checkout: Path, tmp_path: Path) -> None:
    digest = snapshot.take_snapshot(tmp_path / "sweep", checkout / "projects" / "mine")
    expected = FILES | {".gitignore": (checkout / ".gitignore").read_text()}
    assert copied(tmp_path / "sweep") == expected
    facts = b"".join(f"{name}\0{len(expected[name])}\0{expected[name]}".encode() for name in sorted(expected, key=Path))
    assert digest == hashlib.sha256(facts).hexdigest()
    assert os.access(tmp_path / "sweep" / ".code" / "projects" / "mine" / "train.py", os.X_OK)
    assert not os.access(tmp_path / "sweep" / ".code" / "common" / "a.py", os.X_OK)


def test_an_older_copy_is_replaced_and_another_state_has_another_digest(checkout: Path, tmp_path: Path) -> None:
    first = snapshot.take_snapshot(tmp_path / "sweep", checkout / "projects" / "mine")
    assert snapshot.take_snapshot(tmp_path / "sweep", checkout / "projects" / "mine") == first
    (checkout / "notes.txt").unlink()
    (checkout / "common" / "a.py").write_text("A")
    second = snapshot.take_snapshot(tmp_path / "sweep", checkout / "projects" / "mine")
    assert second != first
    assert "notes.txt" not in copied(tmp_path / "sweep")
    assert copied(tmp_path / "sweep")["common/a.py"] == "A"


def test_without_git_what_runs_is_copied(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    snapshot.take_snapshot(tmp_path / "sweep", checkout / "projects" / "mine")
    assert set(copied(tmp_path / "sweep")) == WITHOUT_GIT


def test_a_project_elsewhere_is_not_copied(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "train.py").write_text("x")
    snapshot.take_snapshot(tmp_path / "sweep", tmp_path / "elsewhere")
    assert set(copied(tmp_path / "sweep")) == {name for name in WITHOUT_GIT if "mine" not in name}


def test_a_large_file_is_data(checkout: Path, tmp_path: Path) -> None:
    for name, size in (("common/largest.bin", 10_000_000), ("common/larger.bin", 10_000_001)):
        with (checkout / name).open("wb") as file:
            file.truncate(size)
    snapshot.take_snapshot(tmp_path / "sweep", checkout / "projects" / "mine")
    assert (tmp_path / "sweep" / ".code" / "common" / "largest.bin").stat().st_size == 10_000_000
    assert not (tmp_path / "sweep" / ".code" / "common" / "larger.bin").exists()


@pytest.mark.parametrize(("before", "after"), [(None, "/code"), ("/mine", "/code:/mine"), ("", "/code")])
def test_a_job_imports_from_its_copy_first(before: str | None, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_RESEARCH_PATH", "/results")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    variables = snapshot.variables_of_job(Path("/run"), Path("/code"))
    assert variables["PYTHONPATH"] == after
    assert variables["AI_RESEARCH_PATH"] == "/results"
    assert [name for name, value in variables.items() if value == "/run"] == [snapshot.JOB_VARIABLE]


def test_the_program_of_a_job_lies_in_its_copy(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/train.py", "task=x"])
    assert snapshot.program_in(Path("/code")) == Path("/code/projects/mine/train.py")


def test_within_the_block_imports_come_from_the_copy(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot.take_snapshot(tmp_path / "sweep", checkout / "projects" / "mine")
    code = tmp_path / "sweep" / ".code"
    beside = f"{checkout}-other"
    package = ModuleType("scratch_package")
    package.__path__ = [str(checkout / "common"), beside]
    monkeypatch.setitem(sys.modules, "scratch_package", package)
    before = [str(checkout), str(checkout / "data"), beside, "/usr/lib", str(checkout / "projects" / "mine")]
    monkeypatch.setattr(sys, "path", list(before))
    postponed = sys.modules.get("torch._dynamo")
    with snapshot.imports_from(code):
        # A folder that is not in the copy stays where it is.
        inside = [str(code), str(checkout / "data"), beside, "/usr/lib", str(code / "projects" / "mine")]
        assert sys.path == inside
        assert package.__path__ == [str(code / "common"), beside]
    assert sys.modules.get("torch._dynamo") is postponed  # It was not loaded to be asked where it lies.
    assert sys.path == before
    assert package.__path__ == [str(checkout / "common"), beside]
