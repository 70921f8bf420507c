"""RUN is a folder, a unique prefix of a timestamp or an identity, `last`, or a sweep's point."""

from pathlib import Path
from typing import Any

import pytest

from common.cli.find import find_run, newest_first, task_folders
from common.errors import ConfigError


def test_a_folder(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run()
    assert find_run(str(folder)).folder == folder
    monkeypatch.chdir(folder.parent)
    assert find_run(folder.name).folder == folder
    assert find_run(".").state == "damaged"


def test_a_prefix_of_a_timestamp(make_run: Any) -> None:
    make_run("p/t/2026-01-31_12-00-00")
    wanted = make_run("p/t/2026-01-31_13-00-00")
    assert find_run("2026-01-31_13").folder == wanted


def test_a_whole_timestamp_that_begins_another(make_run: Any) -> None:
    wanted = make_run("p/t/2026-01-31_12-00-00")
    make_run("p/t/2026-01-31_12-00-00_1")
    assert find_run("2026-01-31_12-00-00").folder == wanted


def test_a_prefix_of_an_identity_finds_a_point(make_run: Any) -> None:
    make_run("p/t/2026-01-31_12-00-00", kind="sweep", identity="aaaaaaaaaaaa")
    wanted = make_run("p/t/2026-01-31_12-00-00/0_x", kind="point", identity="bcdef0123456")
    assert find_run("bcd").folder == wanted
    assert find_run("2026-01-31_12-00-00/0").folder == wanted
    with pytest.raises(ConfigError, match="has no point 1; it has 1"):
        find_run("2026-01-31_12-00-00/1")


def test_the_newest_of_one_identity(make_run: Any) -> None:
    make_run("p/t/2026-01-31_12-00-00", identity="bcdef0123456")
    wanted = make_run("p/t/2026-01-31_13-00-00", identity="bcdef0123456")
    assert find_run("bcdef").folder == wanted


def test_what_may_be_several_is_listed(make_run: Any) -> None:
    folders = [make_run("p/t/2026-01-31_12-00-00"), make_run("p/u/2026-01-31_12-00-00")]
    with pytest.raises(ConfigError, match="any of 2 runs") as error:
        find_run("2026")
    assert all(str(folder) in str(error.value) for folder in folders)


def test_last(make_run: Any, root: Path) -> None:
    with pytest.raises(ConfigError, match="no run yet"):
        find_run("last")
    make_run("p/t/2026-01-31_12-00-00")
    wanted = make_run("q/t/2026-02-01_12-00-00")
    (root / "data/q/t/2026-02-02_12-00-00").mkdir()  # Without a record: no run.
    assert find_run("last").folder == wanted


def test_nothing(make_run: Any) -> None:
    make_run()
    with pytest.raises(ConfigError, match="No run 'x'"):
        find_run("x")


def test_datasets_are_no_runs(make_run: Any, root: Path) -> None:
    folder = make_run()
    (root / "data/MNIST/raw/files").mkdir(parents=True)
    (root / "data/notes.txt").touch()
    (folder.parent / "foreign").mkdir()
    (folder.parent / ".new-abc").mkdir()
    assert [run.folder.name for run in newest_first(task_folders())] == [folder.name, "foreign"]


def test_an_unknown_project_names_the_nearest(make_run: Any) -> None:
    make_run("classify_mnist/fnn/2026-01-31_12-00-00")
    with pytest.raises(ConfigError, match="Did you mean 'classify_mnist'"):
        task_folders("clasify_mnist")
    with pytest.raises(ConfigError, match="Did you mean 'fnn'"):
        task_folders("classify_mnist", "fn")
