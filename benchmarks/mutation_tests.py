"""Runs the tests of one folder in a copy of the repository, in forked processes, and notes what they do.

Two ways to show them a mutant. A fresh process imports all of the copy, the mutated module with it. The quick way forks
a process in which the tests have been collected already, and puts the mutated module's code objects into the functions
that exist; what was computed while modules were imported stays as it was, so a mutant that survives like this must be
shown the other way too.
"""

import collections
import contextlib
import functools
import gc
import hashlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from benchmarks import mutation_recorder as recorder
from benchmarks.mutants import Mutant
from benchmarks.mutation_sandbox import run_in_sandbox

OWN_PACKAGES = ("common", "projects", "hydra_plugins", "tests")
KEPT = Path(__file__).resolve().parents[1] / ".pytest_cache" / "mutations"
"""Where records are kept."""
ALLOWANCE_S = 120
"""What a test may take, and all together beyond four times what they take without a mutant."""

QUIETLY = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
"""Options of pytest; plugins were imported before pytest could rewrite their assertions."""

Seen = dict[str, Any]
"""What a watcher saw."""


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
            if function.startswith(f"{mutant.path}:") and function.endswith(f":{mutant.scope}" if mutant.scope else "")
            for test in tests
        }
        shown = entering if mutant.is_in_body and entering else set(self.seconds)
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


class Tests:
    """The tests of one folder.

    Args:
        copy: The copy of the repository.
        folder: The folder of tests, relative to it.
        scope: What may be mutated, likewise.
    """

    def __init__(self, copy: Path, folder: str, scope: list[str]) -> None:
        self.copy, self.folder, self.scope = copy, folder, scope

    def warm_up(self) -> None:
        """Imports the packages that the tests import, and nothing of the copy but what `common` itself needs."""

        def action() -> None:
            pytest.main([*QUIETLY, "--collect-only", self.folder])
            self.answer({"modules": [name for name in sys.modules if name.partition(".")[0] not in OWN_PACKAGES]})

        for name in [name for name in sys.modules if name.partition(".")[0] in OWN_PACKAGES]:
            del sys.modules[name]  # Of the checkout: this folder's package imports it.
        sys.meta_path[:] = [finder for finder in sys.meta_path if "common" not in type(finder).__module__]
        importlib.import_module("common")
        for name in self.forked(action, 600)["modules"]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    def run(self, files: list[str], options: list[str], module: str | None, seconds: float, watcher: Any) -> Seen:
        """Runs test files in a fresh process.

        Args:
            files: The files.
            options: Of pytest.
            module: Imported first.
            seconds: After which the process is killed.
            watcher: A plugin for pytest that sees how each test went.
        """

        def action() -> None:
            try:
                if module is not None:
                    importlib.import_module(module)
            except BaseException as error:  # A mutant raises anything.
                self.answer({"not importable": repr(error)})
                return
            status = pytest.main([*QUIETLY, *options, *files], plugins=[watcher])
            self.answer({"status": int(status), **watcher.seen})

        return self.forked(action, seconds)

    def forked(self, action: Callable[[], None], seconds: float) -> Seen:
        """Runs something that answers in a forked process, in a sandbox, with its output in a file."""
        (self.copy.parent / "answer.json").write_text(json.dumps({"by": "the tests' process died or took too long"}))
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                with (self.copy.parent / "output.txt").open("wb") as output:
                    for descriptor in (1, 2):
                        os.dup2(output.fileno(), descriptor)
                run_in_sandbox(action, writable=self.copy.parent)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(0)
        deadline = time.monotonic() + seconds
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
        seen: Seen = json.loads((self.copy.parent / "answer.json").read_text())
        return seen

    def answer(self, seen: Seen) -> None:
        """Leaves what was seen where the process that forked finds it."""
        (self.copy.parent / "answer.json").write_text(json.dumps(seen))


class Collected:
    """A process in which the tests are collected, and which forks one for each mutant.

    Args:
        tests: The tests.
    """

    def __init__(self, tests: Tests) -> None:
        self.tests = tests
        self.watcher = FailureWatcher()
        request, self.requests = os.pipe()
        self.replies, reply = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            self.from_main, self.to_main = os.fdopen(request), os.fdopen(reply, "w")
            os.close(self.requests)
            with (tests.copy.parent / "collected.txt").open("wb") as output:
                for descriptor in (1, 2):
                    os.dup2(output.fileno(), descriptor)
            options = [*QUIETLY, "-o", f"timeout={ALLOWANCE_S}"]
            try:
                pytest.main([*options, tests.folder], plugins=[self, self.watcher])
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        os.close(request)
        os.close(reply)
        self.to_process, self.from_process = os.fdopen(self.requests, "w"), os.fdopen(self.replies)

    def run(self, chosen: list[str], module: str, seconds: float) -> Seen:
        """Runs tests in their order until one fails, with a module as its file is now."""
        print(json.dumps([chosen, module, seconds]), file=self.to_process, flush=True)
        seen: Seen = json.loads(self.from_process.readline())
        return seen

    def close(self) -> None:
        """Ends the process."""
        self.to_process.close()
        os.waitpid(self.process, 0)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serves requests."""
        items = {item.nodeid: item for item in session.items}
        self.codes = {}
        for part in self.tests.scope:
            for file in python_files(self.tests.copy / part):
                name = module_name(str(file.relative_to(self.tests.copy)))
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
                    self.codes[name] = code_of(name)
        for line in self.from_main:
            chosen, module, seconds = json.loads(line)
            run = functools.partial(self._judge, [items[test] for test in chosen], module)
            print(json.dumps(self.tests.forked(run, seconds)), file=self.to_main, flush=True)
        return True

    def _judge(self, items: list[pytest.Item], module: str) -> None:
        if module not in self.codes or not put_into_functions(self.codes[module], code_of(module)):
            self.tests.answer({"not importable": "only afresh"})
            return
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.watcher.seen["by"]:
                break
        self.tests.answer(self.watcher.seen)


def module_name(path: str) -> str:
    """Returns the name of the module in a file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def code_of(module: str) -> CodeType:
    """Returns a module's code as it is to be found in its file now, with whatever an import hook makes of it."""
    loader: Any = sys.modules[module].__spec__.loader  # type: ignore[union-attr]
    code: CodeType = loader.get_code(module)
    return code


def put_into_functions(old: CodeType, new: CodeType) -> bool:
    """Gives all functions that were defined by a module's old code the new one; returns whether they correspond."""
    before, after = codes_by_name(old), codes_by_name(new)
    if {name: len(codes) for name, codes in before.items()} != {name: len(codes) for name, codes in after.items()}:
        return False
    gc.unfreeze()
    for function in [thing for thing in gc.get_objects() if type(thing) is FunctionType]:
        code = function.__code__
        lines = [other.co_firstlineno for other in before.get(code.co_qualname, [])]
        if code.co_filename == old.co_filename and code.co_firstlineno in lines:
            replacement = after[code.co_qualname][lines.index(code.co_firstlineno)]
            if replacement.co_freevars != code.co_freevars:
                return False
            function.__code__ = replacement
    return True


def codes_by_name(code: CodeType) -> dict[str, list[CodeType]]:
    """Returns the code of all functions in a module by qualified name, in their order."""
    found: dict[str, list[CodeType]] = collections.defaultdict(list)
    for inner in [constant for constant in code.co_consts if isinstance(constant, CodeType)]:
        found[inner.co_qualname].append(inner)
        for name, codes in codes_by_name(inner).items():
            found[name] += codes
    return {name: sorted(codes, key=lambda one: one.co_firstlineno) for name, codes in found.items()}


class RecordingWatcher:
    """Notes the time of each test that passes, and lets the recorder write what it enters."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {"seconds": {}, "failed": []}
        self.spent: dict[str, float] = collections.defaultdict(float)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begins to record."""
        os.environ[recorder.TEST] = item.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes the outcome."""
        self.spent[report.nodeid] += report.duration
        if report.failed:
            self.seen["failed"].append(report.nodeid)
        if report.when == "teardown":
            self.seen["seconds"][report.nodeid] = round(self.spent[report.nodeid], 4)


class FailureWatcher:
    """Notes which test failed, and how."""

    def __init__(self) -> None:
        self.seen: Seen = {"by": ""}

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


class JudgingWatcher(FailureWatcher):
    """Lets only the given tests run, in their order."""

    def __init__(self, tests: list[str]) -> None:
        super().__init__()
        self.places = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the tests that are wanted."""
        items[:] = sorted((item for item in items if item.nodeid in self.places), key=lambda i: self.places[i.nodeid])


def recorded(tests: Tests) -> Record:
    """Returns what the tests do without mutants; what is kept of test files that have not changed is not done again."""
    files = [path.relative_to(tests.copy) for path in sorted((tests.copy / tests.folder).rglob("*_test.py"))]
    shared = [*(tests.copy / tests.folder).rglob("*.py"), tests.copy / "tests" / "conftest.py"]
    code = [path for folder in ("common", "projects") for path in (tests.copy / folder).rglob("*.py")]
    base = digest_of([*code, *(path for path in shared if not path.name.endswith("_test.py"))])
    kept = {file: KEPT / f"{file.stem}-{digest_of([tests.copy / file], base)}.json" for file in files}
    missing = [str(file) for file in files if not kept[file].exists()]
    if missing:
        fresh = record_afresh(tests, missing)
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


def record_afresh(tests: Tests, files: list[str]) -> Record:
    """Runs test files, and returns what they do."""
    entered = tests.copy.parent / "entered.txt"
    entered.write_text("")
    os.environ[recorder.RECORD] = str(entered)
    sources = {path: path.read_bytes() for part in tests.scope for path in python_files(tests.copy / part)}
    for path, source in sources.items():
        rewrite(path, recorder.noting(source.decode(), str(path.relative_to(tests.copy))).encode())
    seen = tests.run(files, [], None, 3600, RecordingWatcher())
    for path, source in sources.items():
        rewrite(path, source)
    del os.environ[recorder.RECORD]
    has_run = seen.get("status") in (0, 1) and entered.stat().st_size > 0
    assert has_run, (tests.copy.parent / "output.txt").read_text()[-2000:]
    if seen["failed"]:
        print(f"Not used, because they fail without a mutant: {', '.join(seen['failed'])}", flush=True)
    record = Record({test: time for test, time in seen["seconds"].items() if test not in seen["failed"]})
    for test, function in sorted({tuple(line.split("\t")) for line in entered.read_text().splitlines()}):
        if test in record.seconds:
            record.tests_of.setdefault(function, []).append(test)
    return record


def python_files(path: Path) -> list[Path]:
    """Returns a file, or all Python files in a folder."""
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def rewrite(path: Path, content: bytes) -> None:
    """Writes a module, and removes what was compiled of it, which may look as new as it."""
    path.write_bytes(content)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
