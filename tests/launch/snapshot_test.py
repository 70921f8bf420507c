"""The copy of the code that jobs run from: what belongs to it, and what tells one from another."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from common.errors import ConfigError
from common.launch import snapshot
from common.run.listing import list_code

FILES = {
    "common/a.py": "a",
    "common/deep/down/b.py": "bb",
    "common/ignored.py": "runs all the same",
    "projects/mine/ignored.dat": "data of the project",
    "hydra_plugins/p/p.py": "p",
    "projects/__init__.py": "",
    "projects/mine/train.py": "mine",
    "projects/mine/ignored.yaml": "mine too",
    "tool.sh": "new, and not ignored",
    "projects/other/x.py": "tracked",
}
LEFT_OUT = {
    "ignored.txt": "x",
    "common/__pycache__/a.pyc": "x",
    "projects/other/ignored.py": "x",
    "data/run/m.csv": "x",
    "notes.txt": "neither tracked nor code",
    "projects/mine/notes.md": "neither tracked nor code",
    "projects/mine/.env": "KEY=1",
    "tool.sh~": "x",
}
WITHOUT_GIT = {name for name in FILES if name not in ("tool.sh", "projects/other/x.py")}


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


def take(folder: Path, project: Path) -> str:
    """Copies the code of the repository that `checkout` has made."""
    listing = list_code(snapshot.repository_path(), project)
    snapshot.leave_out(listing)
    folder.mkdir(exist_ok=True)
    return snapshot.take_snapshot(folder, listing)


def copied(folder: Path) -> dict[str, str]:
    code = folder / ".code"
    return {str(path.relative_to(code)): path.read_text() for path in code.rglob("*") if path.is_file()}


def test_all_that_git_does_not_ignore_and_all_that_runs_is_copied(checkout: Path, tmp_path: Path) -> None:
    digest = take(tmp_path / "sweep", checkout / "projects" / "mine")
    expected = FILES | {".gitignore": (checkout / ".gitignore").read_text()}
    assert copied(tmp_path / "sweep") == expected
    facts = b"".join(f"{name}\0{len(expected[name])}\0{expected[name]}".encode() for name in sorted(expected, key=Path))
    assert digest == hashlib.sha256(facts).hexdigest()
    assert os.access(tmp_path / "sweep" / ".code" / "projects" / "mine" / "train.py", os.X_OK)
    assert not os.access(tmp_path / "sweep" / ".code" / "common" / "a.py", os.X_OK)


def test_an_older_copy_is_replaced_and_another_state_has_another_digest(checkout: Path, tmp_path: Path) -> None:
    first = take(tmp_path / "sweep", checkout / "projects" / "mine")
    assert take(tmp_path / "sweep", checkout / "projects" / "mine") == first
    (checkout / "tool.sh").unlink()
    (checkout / "common" / "a.py").write_text("A")
    second = take(tmp_path / "sweep", checkout / "projects" / "mine")
    assert second != first
    assert "tool.sh" not in copied(tmp_path / "sweep")
    assert copied(tmp_path / "sweep")["common/a.py"] == "A"


def test_without_git_what_runs_is_copied(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    take(tmp_path / "sweep", checkout / "projects" / "mine")
    assert set(copied(tmp_path / "sweep")) == WITHOUT_GIT


def test_a_project_elsewhere_is_not_copied(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "train.py").write_text("x")
    take(tmp_path / "sweep", tmp_path / "elsewhere")
    assert set(copied(tmp_path / "sweep")) == {name for name in WITHOUT_GIT if "mine" not in name}


def test_what_is_left_out_is_said(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, size in (("common/largest.bin", 10_000_000), ("common/larger.bin", 10_000_001)):
        with (checkout / name).open("wb") as file:
            file.truncate(size)
    facts = snapshot.snapshot_facts(made(tmp_path / "sweep"), "checkpoints", snapshot.list_for_copy(), None)
    assert facts.keys() == {"snapshot"}
    said = capsys.readouterr().out
    assert "Not in the copy of the code: common/larger.bin: larger than 10 MB.\n" in said
    assert all(name in said for name in ("notes.txt", "tool.sh~", "projects/mine/notes.md", "projects/mine/.env"))
    assert (tmp_path / "sweep" / ".code" / "common" / "largest.bin").stat().st_size == 10_000_000
    assert not (tmp_path / "sweep" / ".code" / "common" / "larger.bin").exists()


def made(folder: Path) -> Path:
    """Makes a folder."""
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("is_absolute", [True, False])
@pytest.mark.parametrize("place", ["elsewhere", "checkout/ignored_library"])
def test_a_package_behind_a_link_is_imported_from_the_copy(
    checkout: Path, tmp_path: Path, place: str, is_absolute: bool
) -> None:
    """Wherever the link leads, nothing of the copy needs what it was made of."""
    library = made(tmp_path / place) / "inner"
    library.mkdir()
    (library / "__init__.py").write_text("VALUE = 7")
    (library / "further.py").write_text("VALUE = 8")
    (library / "back").symlink_to(library.parent)  # A circle.
    link = checkout / "projects" / "mine" / "linked"
    link.symlink_to(library if is_absolute else os.path.relpath(library, link.parent))
    (checkout / "projects" / "mine" / "alone.py").symlink_to(library / "further.py")
    take(tmp_path / "sweep", checkout / "projects" / "mine")
    checkout.rename(tmp_path / "moved")
    library.parent.exists() and library.parent.rename(tmp_path / "moved_too")
    project = tmp_path / "sweep" / ".code" / "projects" / "mine"
    assert (project / "linked" / "__init__.py").read_text() == "VALUE = 7"
    assert (project / "linked" / "further.py").read_text() == "VALUE = 8"
    assert (project / "alone.py").read_text() == "VALUE = 8"


def test_a_link_to_data_leads_where_it_did(checkout: Path, tmp_path: Path) -> None:
    (made(tmp_path / "dataset") / "images.bin").write_text("1")
    for name, target in (("far", tmp_path / "dataset"), ("near", Path("../../data")), ("beside", Path("train.py"))):
        (checkout / "projects" / "mine" / name).symlink_to(target)
    take(tmp_path / "sweep", checkout / "projects" / "mine")
    project = tmp_path / "sweep" / ".code" / "projects" / "mine"
    assert (project / "far" / "images.bin").read_text() == "1"
    assert (project / "near" / "run" / "m.csv").read_text() == "x"
    assert (project / "beside").readlink() == Path("train.py")


@pytest.mark.parametrize(("umask", "modes"), [(0o077, (0o600, 0o700)), (0o002, (0o664, 0o775))])
def test_the_umask_says_who_may_read_the_copy(
    checkout: Path, tmp_path: Path, umask: int, modes: tuple[int, int]
) -> None:
    before = os.umask(umask)
    try:
        take(tmp_path / "sweep", checkout / "projects" / "mine")
    finally:
        os.umask(before)
    code = tmp_path / "sweep" / ".code"
    found = tuple((code / name).stat().st_mode & 0o777 for name in ("common/a.py", "projects/mine/train.py"))
    assert found == modes
    assert code.stat().st_mode & 0o777 == modes[1]


def test_a_key_in_a_file_is_not_copied(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    (checkout / "common" / "a.py").write_text("key = '0123456789abcdef'")
    take(tmp_path / "sweep", checkout / "projects" / "mine")
    assert copied(tmp_path / "sweep")["common/a.py"] == "key = '<WANDB_API_KEY>'"


def test_a_module_that_would_not_be_in_the_copy_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("mine_alone")
    module.__file__ = str(checkout / "ignored_library" / "__init__.py")
    made(checkout / "ignored_library").joinpath("__init__.py").touch()
    monkeypatch.setitem(sys.modules, "mine_alone", module)
    with pytest.raises(ConfigError, match=r"The module mine_alone .* would not be in the copy of the code"):
        snapshot.list_for_copy()
    module.__file__ = str(checkout / "tool.sh")
    snapshot.list_for_copy()


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
    take(tmp_path / "sweep", checkout / "projects" / "mine")
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
