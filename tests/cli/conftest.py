"""Run folders to look at: made by hand, so that each can be as odd as a test needs it, and by real commands."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from common.cli import program
from common.dl.engine import DEEP_LEARNING
from common.run.lock import FolderLock
from tests.end_to_end.conftest import command  # noqa: F401

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Said:
    """How a call of the program ended.

    Attributes:
        status: Its exit status.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stdout holds, which must be valid JSON."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


class Program(Protocol):
    """Calls `ai-research` in this process."""

    def __call__(self, *arguments: object) -> Said:
        """Calls it with arguments."""


class MakeRun(Protocol):
    """Makes a run's folder."""

    def __call__(
        self, name: str | None = None, /, *, metrics: list[dict[str, float]] | None = None, **facts: Any
    ) -> Path:
        """Makes it with metrics, and with facts in place of those that its record would have."""


@pytest.fixture
def ai_research(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Calls the program in this process, without a terminal, in wide lines."""
    monkeypatch.setenv("COLUMNS", "250")

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["ai-research", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            program.main()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Said(end.value.code, captured.out, captured.err)

    return call


@pytest.fixture
def make_run(root: Path) -> MakeRun:
    """Makes run folders as real runs leave them, but for what is not looked at."""
    seconds = count()

    def make(name: str | None = None, /, *, metrics: list[dict[str, float]] | None = None, **facts: Any) -> Path:
        number = next(seconds)
        name = name or f"project/task/2026-01-31_12-00-{number:02d}"
        folder = root / "data" / name
        folder.mkdir(parents=True)
        settings = facts.pop("settings", {})
        seed = facts.get("seed", 0)
        record = {
            "status": "finished",
            "kind": "plain",
            "identity": f"{number:012x}",
            "budget": {"trainer.max_epochs": 2},
            "code": {},
            "packages": {},
            "engine": asdict(DEEP_LEARNING),
            "created_ns": (1_769_860_800 + number) * 10**9,
            "changes": {key: {"default": None, "value": value} for key, value in settings.items()},
            "given": settings,
            "seed": seed,
            "started": "2026-01-31T12:00:00+00:00",
            "ended": f"2026-01-31T12:00:{number:02d}+00:00",
            "launches": [{"started": "2026-01-31T12:00:00+00:00", "ended": "2026-01-31T12:01:30+00:00"}],
            **facts,
        }
        (folder / "provenance.json").write_text(json.dumps(record))
        tree: dict[str, Any] = {"config": {"seed": seed, "output_dir": str(folder)}, "logger": {"name": name}}
        for key, value in settings.items():
            node = tree
            for part in key.split(".")[:-1]:
                node = node.setdefault(part, {})
            node[key.rpartition(".")[2]] = value
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(tree))
        if metrics is not None:
            write_metrics(folder, metrics)
        return folder

    return make


def write_metrics(folder: Path, rows: list[dict[str, float]]) -> None:
    """Writes a `metrics.csv`."""
    columns = list(dict.fromkeys(["step", "epoch", "time", *(name for row in rows for name in row)]))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def held() -> Iterator[Callable[[Path], None]]:
    """Holds a run's lock until the test's end, as a process that writes there does."""
    locks: list[FolderLock] = []

    def hold(folder: Path) -> None:
        locks.append(FolderLock(folder))
        assert locks[-1].acquire()

    yield hold
    for lock in locks:
        lock.release()


@pytest.fixture(scope="session")
def real_root(command: Callable[..., Any]) -> Path:  # noqa: F811
    """Two learning rates with three seeds, and a run that failed, of classify_mnist."""
    short = ("trainer.max_epochs=2", "trainer.limit_train_batches=20", "trainer.log_every_n_steps=5")
    swept = command("fnn", *short, "litmodule.optimizer.lr=1e-3,1e-2", "config.seed=0,1,2")
    assert swept.status == 0, swept.output
    failed = command("fnn", *short, "litmodule.optimizer.lr=1e38", root=swept.root)
    assert failed.status == 1, failed.output
    return Path(swept.root)


@pytest.fixture
def real(real_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets the program look at the real runs; returns the sweep's folder."""
    monkeypatch.setenv("AI_RESEARCH_PATH", str(real_root))
    (sweep,) = (path.parent for path in real_root.glob("data/*/*/*/0_*"))
    return sweep


@pytest.fixture(scope="session")
def copy_of_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository as it is now, everything committed."""
    copy = tmp_path_factory.mktemp("repository")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no git work tree, or git is not installed")
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
    author = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *words], cwd=copy, check=True)
    return copy


@pytest.fixture
def in_copy(copy_of_repository: Path, root: Path) -> Callable[..., Said]:
    """Runs Python in the copy of the repository, or another one, with its code."""

    def run(*arguments: object, place: Path = copy_of_repository) -> Said:
        environment = {**os.environ, "PYTHONPATH": str(place), "AI_RESEARCH_PATH": str(root)}
        words = [sys.executable, *map(str, arguments)]
        result = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
        return Said(result.returncode, result.stdout, result.stderr)

    return run
