"""`sync` uploads the pieces of a run in order, and goes on where it was stopped."""

import os
from pathlib import Path
from typing import Any

import pytest

STAND_IN = """#!{python}
import pathlib, sys
pieces = sys.argv[sys.argv.index("--yes") + 1:]
with open({log!r}, "a") as file:
    file.write(" ".join(pathlib.Path(piece).name for piece in pieces) + "\\n")
for piece in pieces:
    if (pathlib.Path(piece) / "refused").exists():
        sys.exit("wandb: ERROR the server refuses this")
    (pathlib.Path(piece) / "run.wandb.synced").touch()
"""
"""Stands for `wandb sync`, which needs a server of W&B's: marks what it was given, as that does."""


@pytest.fixture
def pieces_of(make_run: Any) -> Any:
    """Adds offline pieces to a run, in disorder."""

    def add(*names: str, **facts: Any) -> list[Path]:
        folder = make_run(**facts)
        paths = [folder / "wandb" / f"offline-run-{name}" for name in names]
        for path in reversed(paths):
            path.mkdir(parents=True)
            (path / "run.wandb").write_text("x")
        return paths

    return add


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A key, an address that answers, and a stand-in for W&B's program; returns what it was called with."""
    import http.server
    import sys
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    listening = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    log = tmp_path / "called"
    package = tmp_path / "stand_in" / "wandb"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN.format(python=sys.executable, log=str(log)))
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    yield log
    listening.shutdown()
    listening.server_close()


def test_pieces_go_in_order_and_only_once(ai_research: Any, pieces_of: Any, server: Path) -> None:
    first = pieces_of("20260131_1-a", "20260131_2-a", "20260131_3-a")
    (first[0] / "run.wandb.synced").touch()
    pieces_of("20260130_1-b")
    said = ai_research("sync")
    assert said.status == 0, said.err
    assert server.read_text().splitlines() == [
        "offline-run-20260130_1-b", "offline-run-20260131_2-a offline-run-20260131_3-a",
    ]  # fmt: skip
    assert "2 piece(s) uploaded" in said.out
    assert ai_research("sync").out == "Nothing to upload.\n"


def test_one_that_is_refused_does_not_stop_the_others(ai_research: Any, pieces_of: Any, server: Path) -> None:
    (refused,) = pieces_of("1-a")
    (refused / "refused").touch()
    (good,) = pieces_of("1-b")
    said = ai_research("sync", "--json")
    assert said.status == 1
    assert "1 of 2 runs could not be uploaded; the next call tries them again." in said.err
    by_run = {Path(row["pieces"][0]): row for row in said.json}
    assert by_run[refused]["error"] == "wandb: ERROR the server refuses this"
    assert by_run[good]["uploaded"]
    (refused / "refused").unlink()
    assert ai_research("sync").status == 0


def test_what_is_running_waits(ai_research: Any, pieces_of: Any, held: Any) -> None:
    (piece,) = pieces_of("1-a", status="running")
    held(piece.parents[1])
    assert ai_research("sync", "--dry-run", "--json").json == []


def test_a_dry_run_uploads_nothing(ai_research: Any, pieces_of: Any, server: Path) -> None:
    pieces_of("1-a")
    assert "1 piece(s) would be uploaded" in ai_research("sync", "--dry-run").out
    assert not server.exists()


def test_without_a_key_or_a_server_nothing_begins(ai_research: Any, pieces_of: Any, monkeypatch: Any) -> None:
    pieces_of("1-a")
    said = ai_research("sync")
    assert said.status == 2
    assert "There is no W&B key" in said.err
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    said = ai_research("sync")
    assert said.status == 2
    assert "http://127.0.0.1:9 does not answer" in said.err
