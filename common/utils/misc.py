"""Tools that fit nowhere else."""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

REMOTE = re.compile(r"[\w.+-]{2,}:|[^/]*@[^/]*:")
"""How an address begins: `s3://bucket`, `host:/folder`, `user@host:folder`."""


def available_cpus() -> int:
    """Returns how many CPUs this process may use: its affinity and its cgroup's quota, not the machine's count."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpu_quota()
    return max(1, cpus if quota is None else min(cpus, int(quota)))


def _cgroup_cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Returns the CPUs that the cgroup (version 2, then 1) grants, or None where it sets no limit."""
    try:
        if (root / "cpu.max").is_file():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
    except OSError:
        return None
    return None if quota in ("max", "-1") else float(quota) / float(period)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Returns the name that `name` was probably meant to be, or None where nothing comes near.

    A dotted key is also recognised by its last part alone, so that `optimizer.lr` leads to `litmodule.optimizer.lr`.
    """
    candidates = sorted(names)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if close:
        return close[0]
    leaf = name.rpartition(".")[2]
    by_leaf: dict[str, str] = {}
    for candidate in sorted(candidates, key=lambda candidate: -difflib.SequenceMatcher(None, name, candidate).ratio()):
        by_leaf.setdefault(candidate.rpartition(".")[2], candidate)
    close = difflib.get_close_matches(leaf, by_leaf, n=1, cutoff=0.6)
    return by_leaf[close[0]] if close else None


def repository_path() -> Path:
    """Returns the folder that holds `common` and `projects`."""
    return Path(__file__).resolve().parents[2]
