"""A run's folder is made once and never shared; its names are safe and bounded."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.run.files import open_file
from common.run.folder import MAX_NAME_BYTES, name_of_point, reserve_folder


def prepare(folder: Path) -> None:
    (folder / "first.txt").touch()


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert reserve_folder(tmp_path / "a" / "b" / "c", prepare) == tmp_path / "a" / "b" / "c"
    assert (tmp_path / "a" / "b" / "c" / "first.txt").is_file()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]


def test_a_folder_that_exists_is_never_handed_out_again(tmp_path: Path) -> None:
    folders = [reserve_folder(tmp_path / "now", prepare) for _ in range(4)]
    assert [folder.name for folder in folders] == ["now", "now_1", "now_2", "now_3"]


def test_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "now").write_text("keep me")
    assert reserve_folder(tmp_path / "now", prepare).name == "now_1"
    assert (tmp_path / "now").read_text() == "keep me"


def test_threads_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(reserve_folder, [tmp_path / "x" / "now"] * 64, [prepare] * 64))
    assert len(set(folders)) == 64


@pytest.mark.slow
def test_processes_never_share_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from common.run.folder import reserve_folder\n"
        "sys.stdin.readline()\n"
        "prepare = lambda folder: (folder / 'x').touch()\n"
        f"for _ in range(50): print(reserve_folder(Path({str(tmp_path / 'now')!r}), prepare))"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    folders = [line for process in processes for line in process.communicate()[0].splitlines()]
    assert len(folders) == len(set(folders)) == 100


@pytest.mark.parametrize("below", ["now", "a/now", "a/b/now"])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(ConfigError, match=r"AI_RESEARCH_PATH|is a file where a folder is needed"):
        reserve_folder(tmp_path / "file" / below, prepare)
    assert (tmp_path / "file").read_text() == "keep me"


@pytest.mark.parametrize(
    ("index", "num_points", "overrides", "name"),
    [
        (0, 2, ["litmodule.optimizer.lr=0.01"], "0_litmodule.optimizer.lr=0.01"),
        (7, 100, ["a=1", "b=-2"], "07_a=1,b=-2"),
        (0, 1, ["lr=1e-3"], "0_lr=1e-3"),
    ],
)
def test_a_plain_name_shows_the_overrides(index: int, num_points: int, overrides: list[str], name: str) -> None:
    assert name_of_point(index, num_points, overrides) == name


NASTY = [
    ["a=../../etc"],
    ["a=/etc/passwd"],
    ["a=b c"],
    ["a='x\ny'"],
    ["a=b\0c"],
    ["a=ü→"],
    ["a=" + "x" * 1000],
    ["a=" + "→" * 1000],
    ["a=" + "x" * 117],
    ["a=*?<>|:\\"],
    ["a=."],
    ["a=.."],
    [],
]


@pytest.mark.parametrize("overrides", NASTY, ids=repr)
def test_a_name_is_safe_and_bounded(overrides: list[str], tmp_path: Path) -> None:
    name = name_of_point(3, 1000, overrides)
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert not set(name) & set("/\\ \n\0*?<>|:\"'")
    assert name.startswith("003")
    assert not name.endswith(".")
    (tmp_path / name).mkdir()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a=b c"], ["a=b/c"]),
        (["a=" + "x" * 500], ["a=" + "x" * 500 + "y"]),
        (["a=b c"], ["a=b_c"]),
        (["a=."], ["a="]),
        (["a=1", "b=2"], ["a=1/b=2"]),
    ],
)
def test_differing_overrides_get_differing_names(one: list[str], other: list[str]) -> None:
    assert name_of_point(0, 2, one) != name_of_point(0, 2, other)


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o700), (0o022, 0o755), (0o002, 0o775)])
def test_the_umask_and_the_groups_mark_say_who_may_enter(tmp_path: Path, umask: int, mode: int) -> None:
    for mark in (0, 0o2000):
        parent = tmp_path / f"parent{mark}"
        parent.mkdir()
        parent.chmod(0o777 | mark)
        before = os.umask(umask)
        try:
            folder = reserve_folder(parent / "run", open_new)
        finally:
            os.umask(before)
        assert folder.stat().st_mode & 0o7777 == mode | mark
        assert (folder / ".lock").stat().st_mode & 0o777 == mode & 0o666


def open_new(folder: Path) -> None:
    """Makes a file as the launcher does."""
    os.close(open_file(folder, ".lock", os.O_RDWR | os.O_CREAT))
