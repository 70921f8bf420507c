"""No subcommand crashes, hangs or changes a thing, whatever became of a file of a run."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.damage import FILES, KINDS, PYTHONS_ERRORS, content_of
from common.run.checkpoint import write_checkpoint

LOOKS = (
    ("ls", "--points"),
    ("show", "RUN"),
    ("show", "RUN", "--json"),
    ("compare", "RUN", "--unfinished"),
    ("watch", "--once"),
    ("sync", "--dry-run"),
    ("clean",),
)
"""Those that look at a run's files; benchmarks/damage.py calls all, in processes that obey permissions."""


@pytest.fixture
def stopped(make_run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A stopped run with every file that a run has."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = [{"step": step, "time": 1.7e9 + step, "val/loss": 1 / step} for step in range(1, 9)]
    folder: Path = make_run("project/fnn/2026-01-31_12-00-00", status="stopped", metrics=rows)
    for name in ("best", "previous", "last"):
        write_checkpoint(folder / "lightning" / f"{name}.ckpt", {"w": torch.zeros(9)})
    (folder / ".lock").write_text(json.dumps({"host": os.uname().nodename, "pid": 2**22 + 1, "start_time": 1}))
    (folder / "fnn.log").write_text("line\n" * 9)
    return folder


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", [*KINDS, "a pipe"])
def test_looking_at_a_damaged_run(ai_research: Any, stopped: Path, name: str, kind: str, tmp_path: Path) -> None:
    if kind == "a pipe":  # Whoever opened it to read would wait for ever.
        (stopped / name).unlink()
        os.mkfifo(stopped / name)
    else:
        KINDS[kind](stopped / name)
    before = content_of(stopped, but="")
    for words in LOOKS:
        said = ai_research(*(str(stopped) if word == "RUN" else word for word in words))
        assert said.status in (0, 2), said
        assert not PYTHONS_ERRORS.search(said.out + said.err), said
    assert content_of(stopped, but="") == before


@pytest.fixture
def page(ai_research: Any, stopped: Path, tmp_path: Path) -> Any:
    def write() -> str:
        assert ai_research("report", stopped, "--output", tmp_path / "page.html").status == 0
        return (tmp_path / "page.html").read_text()

    return write


def test_a_report_holds_nothing_that_a_link_leads_to(page: Any, stopped: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"c2VjcmV0 secret of somebody else")
    (stopped / "own.png").write_bytes(b"own picture")
    (stopped / "out.png").symlink_to(secret)
    (stopped / "dangling.png").symlink_to(tmp_path / "nothing.png")
    (stopped / "loop.gif").symlink_to("loop.gif")
    (stopped / "folder.png").mkdir()
    os.mkfifo(stopped / "pipe.jpg")
    for name in ("fnn.log", ".hydra/config.yaml"):
        (stopped / name).unlink()
        (stopped / name).symlink_to(secret)
    text = page()
    assert "own.png" in text
    assert not any(name in text for name in ("out.png", "dangling.png", "loop.gif", "folder.png", "pipe.jpg"))
    assert "secret of somebody else" not in text
    assert "YzJWamNtVjAg" not in text  # The same in base64.


def test_a_report_does_not_follow_a_folder_that_leads_out(page: Any, stopped: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.yaml").write_text("secret: of somebody else")
    shutil.rmtree(stopped / ".hydra")
    (stopped / ".hydra").symlink_to(tmp_path / "elsewhere")
    assert "of somebody else" not in page()


def test_nothing_to_draw_is_said(ai_research: Any, stopped: Path, tmp_path: Path) -> None:
    (stopped / "metrics.csv").unlink()
    said = ai_research("compare", stopped, "--unfinished", "--plot", tmp_path / "x.png")
    assert (said.status, "x.png was not drawn: none of these runs has a metric" in said.err) == (2, True)


def test_show_says_what_is_damaged(ai_research: Any, stopped: Path) -> None:
    with (stopped / "metrics.csv").open("ab") as file:
        file.write(bytes(4))
    assert (
        "metrics.csv ends with 4 bytes that are no row: what is whole counts here" in ai_research("show", stopped).out
    )
