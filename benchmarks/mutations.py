"""How many small mutations of the code do its tests notice?

    python benchmarks/mutations.py [--number 200] [--seed 1] [--only PART] [--json FILE]

Draws mutants (see `mutants.py`) of the parts in `PARTS`, each as likely as any other, and runs the tests of the part's
own folder on each until one fails. The checkout is left alone: mutants live in a copy. Prints a table, then each
survivor as a difference; `--json` keeps everything, and `--again FILE` judges only the survivors kept there once more.

So that a mutant costs seconds, a first run of the tests, without mutants, notes how long each takes and which functions
it enters; it is kept for as long as code and tests stay as they are. A mutant within a function is shown to the tests
that enter it, the quickest first; one in a module's or a class's own body to all tests of the folder, those that enter
the file first. Each is judged in a process forked from one that has imported all other packages already.

Not counted, and replaced by the next one drawn: a mutant whose module cannot be imported. A mutant counts as killed
when a test fails or takes a minute, when the tests' process dies, or when they take four times as long as without it.
"""

import argparse
import collections
import contextlib
import difflib
import functools
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks import mutation_recorder as recorder
from benchmarks.mutants import Mutant, mutants_of
from benchmarks.mutation_sandbox import become_root, run_in_sandbox

REPOSITORY = Path(__file__).resolve().parents[1]

PARTS = {
    "common/run": ("common/run", "tests/run"),
    "common/launch": ("common/launch", "tests/launch"),
    "common/check": ("common/check", "tests/check"),
    "common/dl": ("common/dl/checkpointing common/dl/datamodule common/dl/random_states.py", "tests/dl"),
    "common/ne": ("common/ne/evolution.py common/ne/algorithm common/ne/evaluator", "tests/ne"),
}
"""By name: what is mutated, and the folder whose tests must notice."""

COPIED = ("common", "projects", "hydra_plugins", "tests", "benchmarks", "pyproject.toml", "README.md", "GUIDE.md")
COPIED += ("Makefile", "requirements.txt", ".gitignore", "Dockerfile", "data")
SWITCHES = ("common", "common.utils", "common.utils.beartype", "common.utils.light_imports", "projects")
"""Modules that switch type checks on at their import, once in a process."""
KEPT = REPOSITORY / ".pytest_cache" / "mutations"
"""Where records are kept."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "raw", "20*-*-*")
ALLOWANCE_S = 60
"""What a test may take, and all together beyond four times what they take without a mutant."""


@dataclass
class Record:
    """What the tests of a folder do without mutants.

    Attributes:
        seconds: How long each test that passes takes.
        tests_of: The tests that enter each function, by file and qualified name.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    tests_of: dict[str, list[str]] = field(default_factory=dict)

    def tests_for(self, mutant: Mutant) -> list[str]:
        """Returns the tests that are shown a mutant, in order."""
        entering = {
            test
            for function, tests in self.tests_of.items()
            if function.startswith(f"{mutant.path}\t")
            and (not mutant.scope or function == f"{mutant.path}\t{mutant.scope}")
            for test in tests
        }
        shown = entering if mutant.scope and entering else set(self.seconds)
        return sorted(entering & shown, key=self._order) + sorted(shown - entering, key=self._order)

    def part(self, file: str) -> "Record":
        """Returns what the tests of one file do."""
        tests_of = {
            function: [test for test in tests if test.startswith(f"{file}::")]
            for function, tests in self.tests_of.items()
        }
        seconds = {test: time for test, time in self.seconds.items() if test.startswith(f"{file}::")}
        return Record(seconds, {function: tests for function, tests in tests_of.items() if tests})

    @classmethod
    def joined(cls, records: list["Record"]) -> "Record":
        """Returns several records as one."""
        whole = cls()
        for record in records:
            whole.seconds |= record.seconds
            for function, tests in record.tests_of.items():
                whole.tests_of.setdefault(function, []).extend(tests)
        return whole

    def _order(self, test: str) -> tuple[float, str]:
        return self.seconds[test], test


@dataclass
class Verdict:
    """What became of a mutant.

    Attributes:
        part: One of `PARTS`.
        mutant: The mutant.
        outcome: `killed`, `survived` or `not importable`.
        by: The test that failed, and how it did.
        difference: The mutant as a difference.
    """

    part: str
    mutant: Mutant
    outcome: str
    by: str
    difference: str


class Tests:
    """Runs tests of one folder in forked processes, in a copy of the repository.

    Args:
        copy: The copy.
        folder: The folder of tests, relative to it.
    """

    def __init__(self, copy: Path, folder: str) -> None:
        self.copy, self.folder = copy, folder

    def warm_up(self) -> None:
        """Imports what the tests import, and forgets again what lies in the copy."""
        with contextlib.redirect_stdout(io.StringIO()):
            pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", self.folder])
        gone = [name for name in sys.modules if name.partition(".")[0] in COPIED and name not in SWITCHES]
        for name in gone:
            del sys.modules[name]
        for name in set(SWITCHES) & set(sys.modules):
            for leaf in (other.rpartition(".")[2] for other in gone if other.rpartition(".")[0] == name):
                vars(sys.modules[name]).pop(leaf, None)

    def run(
        self, places: list[str], options: list[str], module: str | None, seconds: float, watcher: Any
    ) -> dict[str, Any] | None:
        """Runs tests in a forked process.

        Args:
            places: Files of tests.
            options: Of pytest.
            module: Imported first.
            seconds: After which the process is killed.
            watcher: A plugin for pytest that sees how each test went.

        Returns:
            What the watcher saw; None if the process was killed.
        """
        answer = self.copy.parent / "answer.json"
        answer.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                action = functools.partial(self._run, [*options, *places], module, watcher, answer)
                run_in_sandbox(action, writable=self.copy.parent)
            finally:
                os._exit(0)
        deadline = time.monotonic() + seconds
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
        return json.loads(answer.read_text()) if answer.exists() else None

    def _run(self, words: list[str], module: str | None, watcher: Any, answer: Path) -> None:
        with (self.copy.parent / "output.txt").open("wb") as output:
            for descriptor in (1, 2):
                os.dup2(output.fileno(), descriptor)
        try:
            if module is not None:
                __import__(module)
        except BaseException as error:
            answer.write_text(json.dumps({"not importable": repr(error)}))
            return
        status = pytest.main(["-q", "-p", "no:cacheprovider", *words], plugins=[watcher])
        answer.write_text(json.dumps({"status": int(status), **watcher.seen}))


class RecordingWatcher:
    """Notes the time of each test that passes, and lets the recorder write what it enters."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {"seconds": {}, "failed": []}
        self.spent: dict[str, float] = collections.defaultdict(float)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begins to record."""
        recorder.start(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes the outcome."""
        self.spent[report.nodeid] += report.duration
        if report.failed:
            self.seen["failed"].append(report.nodeid)
        if report.when == "teardown":
            self.seen["seconds"][report.nodeid] = round(self.spent[report.nodeid], 4)


class JudgingWatcher:
    """Runs the given tests alone, in their order, and notes which failed and how."""

    def __init__(self, tests: list[str]) -> None:
        self.places = {test: place for place, test in enumerate(tests)}
        self.seen: dict[str, Any] = {"by": ""}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the tests that are wanted."""
        items[:] = sorted((item for item in items if item.nodeid in self.places), key=lambda i: self.places[i.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notes a test file that cannot be imported."""
        if report.failed:
            self.seen["not importable"] = str(report.longrepr)[-300:]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes a failure."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            text = crash.message if crash else str(report.longrepr)[-200:]
            self.seen["by"] = f"{report.nodeid}: {' '.join(text.split())[:160]}"


def copied_repository(folder: Path) -> Path:
    """Copies what tests need, as a repository of its own; returns the copy."""
    copy = folder / "repository"
    copy.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=LEFT_OUT)
        else:
            shutil.copy2(source, copy / name)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "The code under test"]):
        subprocess.run(["git", "-c", "user.name=m", "-c", "user.email=m@m", *words], cwd=copy, check=True)
    return copy


def recorded(tests: Tests, scope: list[Path]) -> Record:
    """Returns what the tests do without mutants; what is kept of test files that have not changed is not done again."""
    files = [path.relative_to(tests.copy) for path in sorted((tests.copy / tests.folder).rglob("*_test.py"))]
    shared = [*(tests.copy / tests.folder).rglob("*.py"), tests.copy / "tests" / "conftest.py"]
    code = [path for folder in ("common", "projects") for path in (tests.copy / folder).rglob("*.py")]
    base = digest_of([*code, *(path for path in shared if not path.name.endswith("_test.py"))])
    kept = {file: KEPT / f"{file.stem}-{digest_of([tests.copy / file], base)}.json" for file in files}
    missing = [str(file) for file in files if not kept[file].exists()]
    if missing:
        fresh = record_afresh(tests, missing, scope)
        KEPT.mkdir(parents=True, exist_ok=True)
        for name in missing:
            kept[Path(name)].write_text(json.dumps(asdict(fresh.part(name))))
    return Record.joined([Record(**json.loads(path.read_text())) for path in kept.values()])


def digest_of(paths: list[Path], start: str = "") -> str:
    """Returns a fingerprint of files."""
    digest = hashlib.sha256(start.encode())
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def record_afresh(tests: Tests, files: list[str], scope: list[Path]) -> Record:
    """Runs test files, and returns what they do."""
    entered = tests.copy.parent / "entered.txt"
    entered.write_text("")
    os.environ |= {recorder.RECORD: str(entered), recorder.ROOT: str(tests.copy)}
    seen = tests.run(files, [], None, 3600, RecordingWatcher())
    del os.environ[recorder.RECORD]
    assert seen is not None, (tests.copy.parent / "output.txt").read_text()[-2000:]
    if seen["failed"]:
        print(f"Not used, because they fail without a mutant: {', '.join(seen['failed'])}", flush=True)
    record = Record({test: time for test, time in seen["seconds"].items() if test not in seen["failed"]})
    for line in sorted(set(entered.read_text().splitlines())):
        test, path, function = line.split("\t")
        if test in record.seconds and any(Path(path).is_relative_to(part) for part in scope):
            record.tests_of.setdefault(f"{path}\t{function}", []).append(test)
    return record


def judged(tests: Tests, part: str, mutant: Mutant, record: Record) -> Verdict:
    """Shows a mutant to the tests."""
    path = tests.copy / mutant.path
    source = path.read_bytes()
    mutated = mutant.applied_to(source)
    shown = record.tests_for(mutant)
    limit_s = ALLOWANCE_S + 4 * sum(record.seconds[test] for test in shown)
    try:
        rewrite(path, mutated)
        module = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        places = sorted({test.partition("::")[0] for test in shown})
        options = ["-x", "-o", f"timeout={ALLOWANCE_S}"]
        seen = tests.run(places, options, module, limit_s, JudgingWatcher(shown))
    finally:
        rewrite(path, source)
    outcome, by = verdict_on(seen)
    difference = "".join(
        difflib.unified_diff(
            source.decode().splitlines(keepends=True), mutated.decode().splitlines(keepends=True), mutant.path, "", n=1
        )
    )
    return Verdict(part, mutant, outcome, by, difference)


def verdict_on(seen: dict[str, Any] | None) -> tuple[str, str]:
    """Returns outcome and cause from what the watcher saw."""
    if seen is None:
        return "killed", "the tests' process died or took too long"
    if "not importable" in seen:
        return "not importable", seen["not importable"]
    return ("killed", seen["by"]) if seen["by"] else ("survived", "")


def rewrite(path: Path, content: bytes) -> None:
    """Writes a module, and removes what was compiled of it, which may look as new as it."""
    path.write_bytes(content)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()


def judge_all(drawn: Callable[[], Iterator[tuple[str, Mutant]]], copy: Path, number: int) -> list[Verdict]:
    """Judges mutants in the order drawn, part by part; those that are not importable are replaced by later ones."""
    verdicts: list[Verdict] = []
    counted = collections.Counter[str]()
    wanted = collections.Counter(part for part, _ in list(drawn())[:number])
    for part, count in wanted.items():
        scope, folder = PARTS[part]
        tests = Tests(copy, folder)
        tests.warm_up()
        record = recorded(tests, [Path(name) for name in scope.split()])
        for mutant in (mutant for where, mutant in drawn() if where == part):
            if counted[part] == count:
                break
            verdict = judged(tests, part, mutant, record)
            verdicts.append(verdict)
            counted[part] += verdict.outcome != "not importable"
            print(
                f"{time.strftime('%X')} {verdict.outcome:9} {mutant.path}:{mutant.line} {mutant.kind} {verdict.by}",
                flush=True,
            )
    return verdicts


def drawn_mutants(seed: int, only: str) -> list[tuple[str, Mutant]]:
    """Returns all mutants in a random order."""
    found = []
    for part, (scope, _) in PARTS.items():
        for name in scope.split():
            path = REPOSITORY / name
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            found += [(part, mutant) for file in files for mutant in mutants_of(file, REPOSITORY)]
    random.Random(seed).shuffle(found)
    return [(part, mutant) for part, mutant in found if only in mutant.path]


def print_table(verdicts: list[Verdict]) -> None:
    """Prints how many were killed, by part, then the survivors."""
    print("\n| part | mutants | killed | survived | not importable, not counted |\n|---|---|---|---|---|")
    counts = {part: collections.Counter(v.outcome for v in verdicts if v.part == part) for part in PARTS}
    counts["all"] = sum(counts.values(), collections.Counter())
    for part, count in counts.items():
        number = count["killed"] + count["survived"]
        share = f" ({count['killed'] / number:.0%})" if number else ""
        print(f"| {part} | {number} | {count['killed']}{share} | {count['survived']} | {count['not importable']} |")
    for verdict in verdicts:
        if verdict.outcome == "survived":
            print(f"\n{verdict.mutant.kind}, in {verdict.mutant.scope or 'the body'}:\n{verdict.difference}")


def main() -> None:
    """Draws, judges and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the path of files, for example common/run/lock")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--again", type=Path, help="what --json wrote before: its survivors are judged once more")
    given = parser.parse_args()
    become_root()
    drawn = drawn_mutants(given.seed, given.only)
    if given.again:
        survivors = [entry for entry in json.loads(given.again.read_text()) if entry["outcome"] == "survived"]
        drawn = [(entry["part"], Mutant(**entry["mutant"])) for entry in survivors]
    with tempfile.TemporaryDirectory() as folder:
        copy = copied_repository(Path(folder).resolve())
        shutil.copy2(recorder.__file__, copy.parent / "sitecustomize.py")
        os.chdir(copy)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        os.environ["PYTHONPATH"] = os.pathsep.join([str(copy), str(copy.parent)])
        sys.path.insert(0, str(copy))
        verdicts = judge_all(lambda: iter(drawn), copy, given.number)
    print_table(verdicts)
    if given.json:
        given.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))


if __name__ == "__main__":
    main()
