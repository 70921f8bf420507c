"""What stands in a run's folder is used only if it is what its name says."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.run.files import UnusableFileError, check_files, is_of_another_owner, is_plain_file, open_file, read_bytes

PRECIOUS = b"somebody else's"


def make_link(path: Path) -> None:
    path.symlink_to(path.parents[1] / "precious")


OTHERS: dict[str, Callable[[Path], None]] = {
    "a symbolic link": make_link,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "precious").write_bytes(PRECIOUS)
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND | os.O_TRUNC])
def test_only_files_are_opened(folder: Path, kind: str, flags: int) -> None:
    OTHERS[kind](folder / "x.csv")
    with pytest.raises(UnusableFileError, match=f"x.csv is {kind}, where a file belongs. Move it away"):
        open_file(folder, "x.csv", flags)
    assert not is_plain_file(folder, "x.csv")
    assert (folder.parent / "precious").read_bytes() == PRECIOUS


def test_a_link_on_the_way_is_not_followed(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "config.yaml").write_text("x")
    (folder / ".hydra").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(UnusableFileError, match=r"\.hydra is a symbolic link, where a folder belongs"):
        read_bytes(folder, ".hydra/config.yaml")


def test_a_link_above_the_folder_is_followed(folder: Path) -> None:
    """The root of all outputs may lie on another disk."""
    (folder / "x.csv").write_text("content")
    (folder.parent / "link").symlink_to(folder)
    assert read_bytes(folder.parent / "link", "x.csv") == b"content"


def test_what_is_not_there_is_no_fault(folder: Path) -> None:
    check_files(folder, "lightning")
    with pytest.raises(FileNotFoundError):
        read_bytes(folder, "x.csv")


NAMES = [".lock", "provenance.json", "metrics.csv", "timings.csv", "fnn.log", "champion.pt", ".hydra/config.yaml"]
NAMES += [f"lightning/{name}.ckpt" for name in ("last", "previous", "best")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", OTHERS)
def test_a_launch_does_not_begin_among_what_is_no_file(folder: Path, name: str, kind: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    OTHERS[kind](folder / name)
    with pytest.raises(UnusableFileError, match=f"{name} is {kind}, where a file belongs"):
        check_files(folder, "lightning")


@pytest.mark.parametrize("name", ["lightning", ".hydra", "wandb"])
def test_a_launch_does_not_begin_where_a_folder_leads_elsewhere(folder: Path, name: str) -> None:
    (folder / name).symlink_to(folder.parent)
    with pytest.raises(UnusableFileError, match=f"{name} is a symbolic link, where a folder belongs"):
        check_files(folder, "lightning")


def test_own_pictures_and_notes_may_be_links(folder: Path) -> None:
    make_link(folder / "notes.md")
    make_link(folder / "loss.png")
    check_files(folder, "lightning")


AS_NOBODY = """
import os, sys
from pathlib import Path
from common.run.files import check_files, is_of_another_owner
os.setgroups([]); os.setgid(65534); os.setuid(65534)
folder = Path(sys.argv[1])
try:
    check_files(folder, "lightning")
    print("nothing wrong")
except Exception as error:
    print(error)
print(is_of_another_owner(folder))
"""


def as_nobody(folder: Path) -> str:
    """What another user than root sees, in a place that this user can reach."""
    words = [sys.executable, "-c", AS_NOBODY, str(folder)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not result.stderr, result.stderr
    return result.stdout


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@needs_root
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o200])
def test_a_file_without_permission_is_told(open_folder: Path, mode: int) -> None:
    (open_folder / "metrics.csv").write_text("x")
    (open_folder / "metrics.csv").chmod(mode)
    os.chown(open_folder / "metrics.csv", 65534, 65534)
    assert "metrics.csv may not be read and written by this user" in as_nobody(open_folder)


@needs_root
def test_a_read_only_folder_is_told(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    assert f"{open_folder} may not be read and written by this user" in as_nobody(open_folder)


@needs_root
def test_a_folder_of_another_owner_is_told_from_an_own_one(open_folder: Path, tmp_path: Path) -> None:
    assert as_nobody(open_folder).endswith("False\n")
    os.chown(open_folder, 12345, 12345)
    assert as_nobody(open_folder).endswith("True\n")
    assert is_of_another_owner(open_folder)
    assert not is_of_another_owner(tmp_path)


@pytest.fixture
def open_folder() -> "object":
    """A folder of nobody's, below no folder that is root's alone."""
    import shutil
    import tempfile

    path = Path(tempfile.mkdtemp(dir="/var/tmp"))  # Others can reach it; tmp_path is root's.
    path.chmod(0o777)
    folder = path / "run"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    yield folder
    shutil.rmtree(path)
