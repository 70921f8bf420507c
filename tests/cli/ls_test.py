"""`ls` lists every run, and `watch` those under way."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from common.cli.ls import NEWEST, moment_of
from common.cli.output import size_text
from common.ne.engine import NEUROEVOLUTION
from common.utils.text import duration_text, short_names


def names(listed: Any) -> list[str]:
    return [Path(run["folder"]).name for run in listed.json]


def test_newest_first_with_what_is_wanted_to_know(ai_research: Any, make_run: Any) -> None:
    make_run("p/t/2026-01-31_12-00-00", metrics=[{"step": 1, "test/loss": 0.25}], settings={"a.lr": 0.5})
    make_run("p/t/2026-01-31_13-00-00", status="failed", error="ValueError: too big\nmore")
    said = ai_research("ls")
    assert said.status == 0
    lines = [line for line in said.out.splitlines() if "2026" in line]
    assert "p/t/2026-01-31_13-00-00" in lines[0]
    assert "failed: ValueError: too big" in lines[0]
    assert "more" not in lines[0]
    assert all(part in lines[1] for part in ("finished", "1 min 30 s", "lr=0.5", "test/loss 0.25"))


def test_json_has_all_fields_and_no_nan(ai_research: Any, make_run: Any) -> None:
    make_run(metrics=[{"step": 1, "val/loss": float("nan"), "val/big": float("inf")}])
    (run,) = ai_research("ls", "--json").json
    assert run["metrics"] == {"step": 1, "val/loss": None, "val/big": None}
    assert {"folder", "identity", "status", "seconds", "overrides", "error", "kind", "seed"} <= run.keys()


def test_the_newest_fifty_or_all(ai_research: Any, make_run: Any) -> None:
    for number in range(NEWEST + 2):
        make_run(f"p/t/2026-01-31_12-{number // 60:02d}-{number % 60:02d}")
    assert len(ai_research("ls", "--json").json) == NEWEST
    assert "--all lists the others" in ai_research("ls").out
    assert len(ai_research("ls", "--all", "--json").json) == NEWEST + 2
    assert "--all" not in ai_research("ls", "--all").out


def test_damaged_half_written_and_foreign_folders_are_listed_with_what_is_wrong(
    ai_research: Any, make_run: Any, root: Path
) -> None:
    make_run("p/t/2026-01-31_12-00-00")
    broken = make_run("p/t/2026-01-31_13-00-00")
    (broken / "provenance.json").write_text("{")
    (root / "data/p/t/2026-01-31_14-00-00").mkdir()
    (root / "data/p/t/foreign").mkdir()
    loop = root / "data/p/t/2026-01-31_15-00-00"
    loop.symlink_to(loop)
    garbage = make_run("p/t/2026-01-31_11-00-00")
    (garbage / "metrics.csv").write_bytes(b"step,\xff\n1,2\n")
    said = ai_research("ls")
    assert said.status == 0
    assert said.out.count("damaged: no provenance.json") == 2
    assert "provenance.json cannot be read" in said.out
    assert "metrics.csv cannot be read" in said.out or "finished" in said.out
    assert len(ai_research("ls", "--json").json) == 5


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (["--status", "failed"], ["b"]),
        (["--status", "failed", "--status", "stopped"], ["c", "b"]),
        (["--metric", "val/loss<0.4"], ["b"]),
        (["--metric", "val/loss>=0.5"], ["a"]),
        (["--metric", "nothing>0"], []),
        (["--override", "lr"], ["b", "a"]),
        (["--override", "lr=1e-3"], ["a"]),
        (["--override", "optimizer.lr=0.01"], ["b"]),
        (["--override", "r"], []),
        (["--override", "name=text"], ["c"]),
        (["--override", "flag=true"], ["c"]),
        (["--since", "2026-01-31T12:30"], ["c", "b"]),
        (["--until", "2026-01-31T12:30"], ["a"]),
    ],
)
def test_filters(ai_research: Any, make_run: Any, filters: list[str], kept: list[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    hour, at = 3600 * 10**9, 1_769_860_800 * 10**9  # 2026-01-31, 12:00 UTC.
    made = {
        make_run("p/t/2026-01-31_12-00-00", metrics=[{"step": 1, "val/loss": 0.5}], settings={"m.optimizer.lr": 0.001},
                 created_ns=at): "a",
        make_run("p/t/2026-01-31_13-00-00", metrics=[{"step": 1, "val/loss": 0.3}], settings={"m.optimizer.lr": 0.01},
                 status="failed", created_ns=at + hour): "b",
        make_run("p/t/2026-01-31_14-00-00", settings={"x.name": "text", "x.flag": True}, status="stopped",
                 created_ns=at + 2 * hour): "c",
    }  # fmt: skip
    assert [made[Path(run["folder"])] for run in ai_research("ls", "--json", *filters).json] == kept


@pytest.mark.parametrize("filters", [["--metric", "loss"], ["--metric", "loss<x"], ["--since", "soon"]])
def test_a_filter_that_makes_no_sense_is_refused(ai_research: Any, make_run: Any, filters: list[str]) -> None:
    make_run()
    said = ai_research("ls", *filters)
    assert said.status == 2
    assert filters[1] in said.err


def test_sweeps_are_one_line_or_their_points(ai_research: Any, make_run: Any) -> None:
    make_run("p/t/2026-01-31_12-00-00", kind="sweep")
    for number, loss in enumerate([0.5, 0.2, float("nan")]):
        make_run(f"p/t/2026-01-31_12-00-00/{number}_x", kind="point", settings={"m.lr": number},
                 metrics=[{"step": 1, "val/loss": loss}])  # fmt: skip
    (sweep,) = ai_research("ls", "--json").json
    assert sweep["points"] == {"finished": 3}
    text = ai_research("ls").out
    assert "lr=0,1,2" in text
    assert "best: val/loss 0.2" in text
    assert names(ai_research("ls", "--points", "--json")) == ["0_x", "1_x", "2_x"]
    assert len(ai_research("ls", "--metric", "val/loss<0.3", "--json").json) == 1


def test_nothing_there(ai_research: Any, root: Path) -> None:
    assert ai_research("ls").out == f"No such runs below {root / 'data'}.\n"
    assert ai_research("ls", "--json").json == []


def test_watch_shows_what_runs_and_only_that(ai_research: Any, make_run: Any, held: Any) -> None:
    make_run()
    make_run(status="running")
    now = time.time()
    where = {"machine": {"host": "here"}, "launches": [{"started": "x", "pid": 42}]}
    rows = [{"step": 5, "time": now}]
    running = make_run(status="running", budget={"trainer.max_steps": 10}, metrics=rows, **where)
    held(running)
    said = ai_research("watch", "--once")
    assert "running 50%" in said.out
    assert "here, process 42" in said.out
    assert said.out.count("project/task") == 1
    (listed,) = ai_research("watch", "--json").json
    assert (listed["status"], listed["progress"]) == ("running", 0.5)


def test_names_are_as_short_as_they_can_be() -> None:
    keys = ["a.optimizer.lr", "b.optimizer.lr", "c.seed", "seed", "x/y"]
    assert list(short_names(keys).values()) == ["a.optimizer.lr", "b.optimizer.lr", "c.seed", "seed", "x/y"]


def test_durations_and_sizes_read_well() -> None:
    assert [duration_text(seconds) for seconds in (None, 4.4, 61, 3 * 3600 + 60, 73 * 3600)] == [
        "", "4 s", "1 min 01 s", "3 h 01 min", "3 d 1 h",
    ]  # fmt: skip
    assert [size_text(size) for size in (0, 999, 1500, 2.5e9)] == ["0 B", "999 B", "1.5 kB", "2.5 GB"]


def test_how_long_ago() -> None:
    assert moment_of("2h") == pytest.approx(time.time() - 7200, abs=5)


def test_a_neuroevolution_sweep_shows_its_best_champion(ai_research: Any, make_run: Any, held: Any) -> None:
    engine = asdict(NEUROEVOLUTION)
    make_run("p/t/2026-01-31_12-00-00", kind="sweep", engine=engine)
    for number, reward in enumerate([10.0, 30.0, 20.0]):
        name = f"p/t/2026-01-31_12-00-00/{number}_x"
        make_run(name, kind="point", metrics=[{"step": 3, "champion/validation": reward}], engine=engine)
    assert "best: champion/validation 30" in ai_research("ls").out
    budget, rows = {"config.num_generations": 8}, [{"step": 1, "time": 1.0}]
    running = make_run(status="running", budget=budget, metrics=rows, engine=engine)
    held(running)
    assert "running 25%" in ai_research("ls").out
