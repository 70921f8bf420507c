"""Damages each file of a run's folder in each way, gives the same command again, and looks at what comes of it.

    python benchmarks/damage.py                                     # all files and all kinds of damage
    python benchmarks/damage.py --files metrics.csv --kinds half empty
    python benchmarks/damage.py --overrides logger=none             # faster, without W&B

A run that was stopped in mid-epoch is copied, damaged, and continued by the very command that began it. Right is one of
three ends: the run `continues`, in its folder, to the parameters and metrics of a run that was left in peace, to the
last bit; or `begins anew` in another folder, to the same result, and says which folder is damaged; or is `refused` in
one sentence, without the name of one of Python's errors, and nothing in the folder has changed. Before that, every
subcommand of `ai-research` looks at the damaged folder: none may crash or hang, or change a thing.

Each command runs in a process of its own, forked from one that has imported what it needs. On Linux these processes may
not pass over permissions, even where root runs them. What `reproduce` would run is not run: the run that was left in
peace stands for it.
"""

import argparse
import ctypes
import json
import os
import re
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = REPOSITORY / "projects" / "classify_mnist" / "train.py"
COMMAND = ("task=fnn", "datamodule.config.source=digits", "trainer.max_epochs=5", "trainer.limit_train_batches=20")
COMMAND += ("trainer.log_every_n_steps=5", "hydra.launcher.cpus_per_task=1")
STOPPED_BEHIND_ROW = 17
LIMIT_S = 120

FILES = (
    "metrics.csv",
    "provenance.json",
    "lightning/last.ckpt",
    "lightning/previous.ckpt",
    "lightning/best.ckpt",
    ".lock",
    ".hydra/config.yaml",
    "fnn.log",
)

OF_ANOTHER_TYPE = {".csv": b'{"step": 1}\n', ".json": b"[1, 2]\n", ".yaml": b"- a\n- b\n", ".log": b"\x89PNG\r\n\x1a\n"}

PYTHONS_ERRORS = re.compile(r"\b(?!RunStopped)\w+(Error|Exception|Violation)\b|Traceback|\[Errno")
"""But for the one that the stopped run has on record."""

SUBCOMMANDS: tuple[tuple[str, ...], ...] = (
    ("ls",),
    ("ls", "--json"),
    ("ls", "--points", "--metric", "val/loss<9"),
    ("show", "RUN"),
    ("show", "RUN", "--json"),
    ("compare", "RUN", "--unfinished"),
    ("compare", "RUN", "--unfinished", "--plot", "OUT.png", "--csv", "OUT.csv"),
    ("report", "RUN", "--output", "OUT.html"),
    ("watch", "--once"),
    ("watch", "--json"),
    ("sync", "--dry-run"),
    ("sync", "RUN", "--dry-run", "--json"),
    ("clean",),
    ("clean", "RUN", "--json"),
    ("doctor",),
    ("reproduce", "RUN"),
)


def random_bytes(path: Path) -> None:
    """Overwrites a file in its place, with as many bytes as it has."""
    path.write_bytes(bytes((7 * index * index + 13) % 251 for index in range(path.stat().st_size)))


def another_type(path: Path) -> None:
    """Puts a good file of another kind in a file's place: of a checkpoint's, one that torch reads, but no state."""
    path.unlink()
    if path.suffix == ".ckpt":
        import torch

        torch.save([1, 2, 3], path)
    else:
        path.write_bytes(OF_ANOTHER_TYPE.get(path.suffix, b"[]\n"))


def folder(path: Path) -> None:
    """Puts a folder in a file's place."""
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    """Moves a file away, and leaves a link to it."""
    target = Path(tempfile.gettempdir()) / f"elsewhere-{os.getpid()}-{path.name}"
    shutil.copyfile(path, target)
    path.unlink()
    path.symlink_to(target)


KINDS: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: os.truncate(path, 0),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "NUL bytes at the end": lambda path: path.write_bytes(path.read_bytes() + bytes(4)),
    "random bytes": random_bytes,
    "another type": another_type,
    "a folder": folder,
    "a link": link,
    "no permission": lambda path: path.chmod(0),
}


@dataclass
class Ended:
    """How a process ended.

    Attributes:
        status: Its exit status; negative for a signal.
        output: What it printed.
        seconds: How long it took.
    """

    status: int
    output: str
    seconds: float


def forked(work: Callable[[], object], *, is_weak: bool = True) -> Ended:
    """Does something in a process of its own, which obeys permissions even as root."""
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("w+", errors="replace") as output:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setsid()
                for descriptor in (1, 2):
                    os.dup2(output.fileno(), descriptor)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                signal.alarm(LIMIT_S)
                if is_weak:
                    obey_permissions()
                work()
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, code = os.waitpid(pid, 0)
        return Ended(
            os.waitstatus_to_exitcode(code), Path(output.name).read_text(errors="replace"), time.monotonic() - started
        )


def obey_permissions() -> None:
    """Gives up what lets root pass over permissions: all capabilities that overrule those of files."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    numbers = (1, 2, 3)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER.
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for number in numbers:
        for index in (0, 1, 2):  # Effective, permitted, inheritable, of the first 32.
            sets[index] &= ~(1 << number)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def train(root: Path, overrides: tuple[str, ...], stops_behind: int | None = None) -> None:
    """Runs the command, as `python train.py` would; asked to stop by a signal behind a row of metrics, if so."""
    os.environ["AI_RESEARCH_PATH"] = str(root)
    if stops_behind is not None:
        from common.run.metrics import MetricsFile

        append = MetricsFile.append

        def append_and_stop(self: MetricsFile, *arguments: Any, **keywords: Any) -> None:
            append(self, *arguments, **keywords)
            if self.num_rows == stops_behind:
                os.kill(os.getpid(), signal.SIGTERM)

        MetricsFile.append = append_and_stop  # type: ignore[method-assign]
    sys.argv = [str(SCRIPT), *COMMAND, *overrides]
    runpy.run_path(str(SCRIPT), run_name="__main__")


def look(root: Path, peaceful: Path, words: tuple[str, ...]) -> None:
    """Calls a subcommand of `ai-research`."""
    from common.cli import program, reproduce
    from common.cli.runs import read_run

    os.environ["AI_RESEARCH_PATH"] = str(root)
    reproduce.replayed = lambda *_: read_run(peaceful)
    sys.argv = ["ai-research", *words]
    program.main()


def content_of(place: Path, *, but: str) -> dict[str, str]:
    """Returns what each file of a folder holds and is, but one, the lock, and W&B's."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if name not in (but, ".lock") and not name.startswith("wandb"):
            kind = path.lstat()
            content = path.read_bytes().hex() if path.is_file() and not path.is_symlink() else ""
            found[name] = f"{kind.st_mode} {kind.st_mtime_ns if path.is_file() else ''} {content}"
    return found


def result_of(place: Path) -> tuple[Any, Any]:
    """Returns the final parameters of a run, and its rows without their times."""
    import torch

    from common.run.metrics import read_metrics

    checkpoint = torch.load(place / "lightning" / "last.ckpt", weights_only=True)
    best = torch.load(place / "lightning" / "best.ckpt", weights_only=True)
    rows = [{name: value for name, value in row.items() if name != "time"} for row in read_metrics(place)]
    states = [
        {name: value.numpy().tobytes() for name, value in one["state_dict"].items()} for one in (checkpoint, best)
    ]
    return states, rows


def only_run(root: Path) -> Path:
    """Returns the only run's folder."""
    (place,) = (path for path in root.glob("data/*/*/*") if not path.name.startswith("."))
    return place


class Stopped:
    """A run that was stopped, to be copied and damaged, and one that was left in peace.

    Args:
        scratch: An empty folder.
        overrides: What is added to the command.
    """

    def __init__(self, scratch: Path, overrides: tuple[str, ...]) -> None:
        self.scratch, self.overrides = scratch, overrides
        for name, behind in (("peaceful", None), ("stopped", STOPPED_BEHIND_ROW)):
            ended = forked(partial(train, scratch / name, overrides, behind))
            assert ended.status == (0 if behind is None else 75), ended.output
        self.peaceful = only_run(scratch / "peaceful")
        self.expected = result_of(self.peaceful)
        stopped = only_run(scratch / "stopped")
        dead = {"host": os.uname().nodename, "pid": 2**22 + 1, "start_time": 1}
        (stopped / ".lock").write_text(json.dumps(dead))  # As a process leaves it that is killed.

    def copy(self, name: str) -> Path:
        """Returns a root that holds a copy of the stopped run, hard links and all."""
        root = self.scratch / name
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        os.system(f"cp -a {self.scratch}/stopped/. {root}")  # noqa: S605  # The only program that keeps hard links.
        return root

    def continued(self, name: str, kind: str) -> tuple[str, str]:
        """Damages a copy and gives the command again; returns what came of it, and what was said or is wrong."""
        root = self.copy("continued")
        place = only_run(root)
        KINDS[kind](place / name)
        before = content_of(place, but=name)
        ended = forked(partial(train, root, self.overrides))
        said = [line for line in ended.output.splitlines() if str(place) in line or line.startswith("Error")]
        bad = PYTHONS_ERRORS.search(ended.output)
        if bad is not None or ended.status not in (0, 1, 2):
            return "FAULT", f"status {ended.status}: {bad and bad[0]}\n{ended.output}"
        runs = [path for path in place.parent.iterdir() if path.name[0] != "."]
        text = " | ".join(line.strip().replace(str(place), "…") for line in said)
        if ended.status == 0:
            (newest,) = [path for path in runs if path != place] or [place]
            if result_of(newest) != self.expected:
                return "FAULT", f"another result, status 0\n{ended.output}"
            if newest == place:
                return "continues", text
            return ("begins anew", text) if content_of(place, but=name) == before else ("FAULT", "it changed the old")
        changed = content_of(place, but=name) != before
        return ("FAULT", f"refused, but changed\n{ended.output}") if changed else ("refused", text)

    def looked_at(self, name: str, kind: str) -> list[str]:
        """Damages a copy and lets every subcommand look at it; returns what was wrong with any."""
        root = self.copy("looked_at")
        place = only_run(root)
        KINDS[kind](place / name)
        before = content_of(place, but="")
        faults = []
        for words in SUBCOMMANDS:
            given = tuple(
                word.replace("RUN", str(place)).replace("OUT", str(self.scratch / "out"))
                if word.isupper() or "OUT" in word
                else word
                for word in words
            )
            ended = forked(partial(look, root, self.peaceful, given))
            bad = PYTHONS_ERRORS.search(ended.output)
            if bad or ended.status not in (0, 1, 2):
                faults.append(f"{' '.join(words)}: status {ended.status}, {bad and bad[0]}\n{ended.output}")
        if content_of(place, but="") != before:
            faults.append("looking changed the folder")
        return faults


def main() -> None:
    """Prints a table: what came of each file and kind, and how many subcommands were right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="+", choices=FILES, default=FILES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--overrides", nargs="+", default=[])
    parser.add_argument("--skip-looking", action="store_true", help="Leave out the subcommands of ai-research.")
    asked = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY))
    preload()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        stopped = Stopped(Path(scratch), tuple(asked.overrides))
        for name in asked.files:
            for kind in asked.kinds:
                end, text = stopped.continued(name, kind)
                faults = [] if asked.skip_looking else stopped.looked_at(name, kind)
                counts.update([end, *["crash of ai-research" for _ in faults]])
                print(f"| {name} | {kind} | {end} | {text} |", flush=True)
                for fault in faults:
                    print(f"    FAULT: {fault}", flush=True)
    print(dict(counts))
    sys.exit(int(any(name in counts for name in ("FAULT", "crash of ai-research"))))


def preload() -> None:
    """Imports what the commands need, once for all."""
    import projects.classify_mnist.train  # noqa: I001  # First: it mends what others stumble over.
    import matplotlib.figure  # noqa: F401
    import plotly.offline  # noqa: F401
    import projects.classify_mnist.litmodule  # noqa: F401
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
