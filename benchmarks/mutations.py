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
when a test fails or takes two minutes, when the tests' process dies, or when all take four times as long as without it.
"""

import argparse
import collections
import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mutants import Mutant, mutants_of
from benchmarks.mutation_sandbox import become_root
from benchmarks.mutation_tests import (
    ALLOWANCE_S,
    Collected,
    JudgingWatcher,
    Record,
    Tests,
    module_name,
    python_files,
    recorded,
    rewrite,
)

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
LEFT_OUT = shutil.ignore_patterns("__pycache__", "raw", "20*-*-*")


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


def judged(tests: Tests, collected: Collected, part: str, mutant: Mutant, record: Record) -> Verdict:
    """Shows a mutant to the tests."""
    path, module = tests.copy / mutant.path, module_name(mutant.path)
    source = path.read_bytes()
    mutated = mutant.applied_to(source)
    shown = record.tests_for(mutant)
    limit_s = ALLOWANCE_S + 4 * sum(record.seconds[test] for test in shown)
    try:
        rewrite(path, mutated)
        seen = collected.run(shown, module, limit_s) if mutant.is_in_body else {"by": ""}
        if not seen.get("by"):
            files = sorted({test.partition("::")[0] for test in shown})
            options = ["-x", "-o", f"timeout={ALLOWANCE_S}"]
            seen = tests.run(files, options, module, limit_s, JudgingWatcher(shown))
    finally:
        rewrite(path, source)
    outcome = "not importable" if "not importable" in seen else "killed" if seen["by"] else "survived"
    before, after = (text.decode().splitlines(keepends=True) for text in (source, mutated))
    difference = "".join(difflib.unified_diff(before, after, mutant.path, "", n=1))
    return Verdict(part, mutant, outcome, str(seen.get("not importable", seen.get("by"))), difference)


def judge_all(drawn: Callable[[], Iterator[tuple[str, Mutant]]], copy: Path, number: int) -> list[Verdict]:
    """Judges mutants in the order drawn, part by part; those that are not importable are replaced by later ones."""
    verdicts: list[Verdict] = []
    counted = collections.Counter[str]()
    wanted = collections.Counter(part for part, _ in list(drawn())[:number])
    for part, count in wanted.items():
        scope, folder = PARTS[part]
        tests = Tests(copy, folder, scope.split())
        tests.warm_up()
        record = recorded(tests)
        collected = Collected(tests)
        for mutant in (mutant for where, mutant in drawn() if where == part):
            if counted[part] == count:
                break
            verdict = judged(tests, collected, part, mutant, record)
            verdicts.append(verdict)
            counted[part] += verdict.outcome != "not importable"
            print(
                f"{time.strftime('%X')} {verdict.outcome:9} {mutant.path}:{mutant.line} {mutant.kind} {verdict.by}",
                flush=True,
            )
        collected.close()
    return verdicts


def drawn_mutants(seed: int, only: str) -> list[tuple[str, Mutant]]:
    """Returns all mutants in a random order."""
    found = []
    for part, (scope, _) in PARTS.items():
        for name in scope.split():
            for file in python_files(REPOSITORY / name):
                found += [(part, mutant) for mutant in mutants_of(file, REPOSITORY)]
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
        os.chdir(copy)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        os.environ["PYTHONPATH"] = str(copy)
        sys.path.insert(0, str(copy))
        verdicts = judge_all(lambda: iter(drawn), copy, given.number)
    print_table(verdicts)
    if given.json:
        given.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))


if __name__ == "__main__":
    main()
