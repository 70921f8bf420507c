"""A disk that fills up, a folder that becomes read-only or vanishes: the run says so, and loses nothing saved."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.run.checkpoint import read_checkpoint
from tests.end_to_end.continue_test import SHORT, STEPS_PER_EPOCH, assert_same, at_step, peaceful  # noqa: F401

pytestmark = pytest.mark.slow

SAVING_OFTEN = "config.save_every_n_minutes=1e-9"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def last_step(root: Path) -> int:
    (path,) = root.glob("data/classify_mnist/mlp/*/lightning/last.ckpt")
    return int(read_checkpoint(path)["global_step"])


def test_a_disk_that_fills_up(command: Callable[..., Any], at_step, disk: Path, peaceful) -> None:  # noqa: F811
    filler = disk / "filler"

    def fill_up() -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    at_step(14, fill_up)
    failed = command("mlp", *SHORT, root=disk)
    assert failed.status == 1
    assert "the disk is full" in failed.output
    assert last_step(disk) == STEPS_PER_EPOCH
    filler.unlink()
    assert_same(command("mlp", *SHORT, root=disk), peaceful)


def test_a_folder_that_becomes_read_only(command: Callable[..., Any], at_step, tmp_path: Path, peaceful) -> None:  # noqa: F811
    def freeze(sign: str) -> int:
        (folder,) = tmp_path.glob("data/classify_mnist/mlp/*/lightning")
        return subprocess.run(["chattr", f"{sign}i", str(folder)], capture_output=True, check=False).returncode

    statuses: list[int] = []
    at_step(14, lambda: statuses.append(freeze("+")))
    failed = command("mlp", *SHORT, SAVING_OFTEN, root=tmp_path)
    freeze("-")
    if statuses != [0]:
        pytest.skip("this process may not freeze a folder")
    assert failed.status == 1
    assert "Operation not permitted" in failed.output
    assert "What was saved before is intact" in failed.output
    assert last_step(tmp_path) == 14
    assert_same(command("mlp", *SHORT, root=tmp_path), peaceful)


def test_a_folder_that_vanishes(command: Callable[..., Any], at_step, tmp_path: Path) -> None:  # noqa: F811
    def remove() -> None:
        (folder,) = (tmp_path / "data/classify_mnist/mlp").iterdir()
        shutil.rmtree(folder)

    at_step(14, remove)
    failed = command("mlp", *SHORT, SAVING_OFTEN, root=tmp_path)
    assert failed.status == 1
    assert "is gone" in failed.output
    assert not list((tmp_path / "data/classify_mnist").rglob("*.ckpt"))
