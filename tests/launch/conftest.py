"""Runs the tiny runner in this process."""

from pathlib import Path
from typing import Any

import pytest

from tests.launch.tiny import TinyRunner


@pytest.fixture(autouse=True)
def seen() -> list[float]:
    TinyRunner.seen = []
    return TinyRunner.seen


@pytest.fixture
def run(cli, make_project) -> Any:
    project = make_project(tiny="# @package _global_\nnumber: 2\n")
    return lambda *arguments: cli("task=tiny", *arguments, project=project, runner=TinyRunner)


@pytest.fixture
def outputs(root: Path) -> Any:
    return lambda: sorted((root / "data" / "scratch_project" / "tiny").glob("*"))
