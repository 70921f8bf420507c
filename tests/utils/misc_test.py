"""CPUs that a job was given, and the nearest name."""

import os
from pathlib import Path

import pytest

from common.utils import misc
from common.utils.misc import _cgroup_cpu_quota, available_cpus, nearest, repository_path


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    (tmp_path / "cgroup" / "cpu").mkdir(parents=True)
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("text", "quota"), [("200000 100000\n", 2.0), ("150000 100000\n", 1.5), ("max 100000\n", None)]
)
def test_the_quota_of_a_cgroup_version_2(cgroup: Path, text: str, quota: float | None) -> None:
    (cgroup / "cpu.max").write_text(text)
    assert _cgroup_cpu_quota(cgroup) == quota


@pytest.mark.parametrize(("text", "quota"), [("300000\n", 3.0), ("-1\n", None)])
def test_the_quota_of_a_cgroup_version_1(cgroup: Path, text: str, quota: float | None) -> None:
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(text)
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert _cgroup_cpu_quota(cgroup) == quota


def test_a_machine_without_cgroups_has_no_quota(tmp_path: Path) -> None:
    assert _cgroup_cpu_quota(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("affinity", "quota", "cpus"), [(8, None, 8), (8, 2.0, 2), (2, 8.0, 2), (8, 1.5, 1), (8, 0.5, 1), (1, None, 1)]
)
def test_the_smaller_of_affinity_and_quota_counts(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    monkeypatch.setattr(misc, "_cgroup_cpu_quota", lambda: quota)
    assert available_cpus() == cpus


KEYS = [
    "config.seed",
    "config.device",
    "litmodule.optimizer.lr",
    "litmodule.optimizer.weight_decay",
    "trainer.max_epochs",
]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("config.sed", "config.seed"),
        ("optimizer.lr", "litmodule.optimizer.lr"),
        ("lr", "litmodule.optimizer.lr"),
        ("litmodule.optimizer.learning_rate", "litmodule.optimizer.lr"),
        ("litmodule.optimizer.wieght_decay", "litmodule.optimizer.weight_decay"),
        ("max_epoch", "trainer.max_epochs"),
        ("zzzzzz", None),
        ("", None),
    ],
)
def test_the_nearest_key(name: str, meant: str | None) -> None:
    assert nearest(name, KEYS) == meant


def test_nothing_is_near_where_there_is_nothing() -> None:
    assert nearest("x", []) is None


def test_the_repository_holds_common_and_projects() -> None:
    assert {"common", "projects"} <= {path.name for path in repository_path().iterdir()}
