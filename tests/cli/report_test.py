"""`show` and `report` tell all of a run; the page needs no network, and fits a phone."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from common.run.code import code_fingerprints
from common.utils.misc import repository_path
from tests.cli.browser import CHROMIUM, visit

PHONE, DESKTOP = 390, 1280


@pytest.fixture(scope="module")
def pages(real_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a sweep, of one of its points and of a failed run."""
    from common.cli.report import page_of
    from common.cli.runs import read_run

    folder = tmp_path_factory.mktemp("pages")
    point = next(real_root.glob("data/*/*/*/0_*"))
    failed = next(path for path in real_root.glob("data/*/*/*") if path != point.parent)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AI_RESEARCH_PATH", str(real_root))
        for name, run in {"sweep": point.parent, "point": point, "failed": failed}.items():
            found[name] = folder / f"{name}.html"
            found[name].write_text(page_of(read_run(run)))
    return found


def data_in(page: Path) -> Any:
    (content,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sweep", "point", "failed"])
def test_a_page_holds_all_that_it_shows(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text()
    own = re.sub(r"<script>/\*.*?plotly.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', own) == []
    assert "default-src 'none'" in own


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; Debian's package of that name has it")
@pytest.mark.parametrize(
    ("name", "width", "is_dark"),
    [("sweep", DESKTOP, False), ("sweep", PHONE, True), ("point", PHONE, False), ("failed", DESKTOP, True)],
)
def test_a_page_opens_without_errors_or_network_and_fits(
    pages: dict[str, Path], name: str, width: int, is_dark: bool, tmp_path: Path
) -> None:
    opened = visit(pages[name], width, tmp_path, is_dark=is_dark)
    assert opened.messages == []
    assert opened.addresses == []
    assert opened.width <= width
    assert (opened.num_charts > 0) == (name != "failed")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; Debian's package of that name has it")
def test_the_visit_sees_errors_and_requests(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('oh'); undefined.x</script>" + "x" * 2000
    )
    opened = visit(page, PHONE, tmp_path, is_dark=False)
    assert "oh" in opened.messages
    assert any("undefined" in message for message in opened.messages)
    assert "http://127.0.0.1:9/x.png" in opened.addresses
    assert opened.width > PHONE


@pytest.mark.slow
def test_a_sweeps_page_has_its_points(pages: dict[str, Path]) -> None:
    data = data_in(pages["sweep"])
    assert data["swept"] == ["litmodule.optimizer.lr", "config.seed"]
    assert [point["overrides"]["config.seed"] for point in data["points"]] == [0, 1, 2, 0, 1, 2]
    assert all("val/loss" in point["curves"] for point in data["points"])


@pytest.mark.slow
def test_a_runs_page_has_curves_pictures_and_provenance(pages: dict[str, Path]) -> None:
    data = data_in(pages["point"])
    assert {"train/loss", "val/loss", "test/accuracy"} <= data["curves"].keys()
    assert [picture["name"] for picture in data["pictures"]] == ["samples.png"]
    assert data["facts"]["seed"] == "0"
    assert "trainer:" in data["texts"]["Configuration"]
    assert ["litmodule.optimizer.lr", 0.002, 0.001] in data["changes"]
    assert data_in(pages["failed"])["error"]


def test_nothing_in_a_run_can_end_the_script_or_become_html(make_run: Any, tmp_path: Path, ai_research: Any) -> None:
    evil = "</script><script>alert(1)</script>"
    folder = make_run(status="failed", error=evil, metrics=[{"step": 1, "val/loss": float("nan")}], command=evil)
    said = ai_research("report", folder, "--output", tmp_path / "x.html", "--json")
    assert said.json["report"] == str(tmp_path / "x.html")
    assert evil not in (tmp_path / "x.html").read_text()
    assert data_in(tmp_path / "x.html")["error"] == evil


def test_a_damaged_run_has_a_page_too(make_run: Any, tmp_path: Path, ai_research: Any, monkeypatch: Any) -> None:
    folder = make_run()
    (folder / "provenance.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    assert ai_research("report", folder).status == 0
    (page,) = tmp_path.glob("*.html")
    assert "cannot be read" in data_in(page)["error"]


@pytest.mark.slow
def test_show_tells_all_of_a_real_run(ai_research: Any, real: Path) -> None:
    said = ai_research("show", f"{real.name}/4")
    for part in (
        "finished", "task=fnn", "litmodule.optimizer.lr", "0.002", "0.01", "val/loss", "lightning/best.ckpt",
        "With a larger trainer.max_epochs the same command continues it",
    ):  # fmt: skip
        assert part in said.out, part
    found = ai_research("show", f"{real.name}/4", "--json").json
    assert found["changes"]["litmodule.optimizer.lr"] == {"default": 0.002, "value": 0.01}
    assert found["overrides"]["config.seed"] == 1
    assert found["summary"]["val/loss"]["lowest"] <= found["summary"]["val/loss"]["last"]


@pytest.mark.slow
def test_show_lists_a_sweeps_points(ai_research: Any, real: Path) -> None:
    said = ai_research("show", real)
    assert said.out.count(f"{real.name}/") >= 6
    assert len(ai_research("show", real, "--json").json["points"]) == 6


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"status": "stopped"}, "The same command continues it.\n  cd /somewhere && python train.py task=x\n"),
        ({"status": "failed"}, "It may meet the same error again."),
        ({"status": "finished"}, "With a larger trainer.max_epochs the same command continues it"),
        ({"status": "queued", "slurm": {"job_id": 3, "task": None}}, "SLURM has it as job 3; `ai-research watch`"),
    ],
)
def test_how_to_continue(ai_research: Any, make_run: Any, facts: dict[str, Any], text: str) -> None:
    command = "python train.py task=x config.ckpt_path=null"
    code = code_fingerprints([repository_path() / "common"], repository_path())
    folder = make_run(command=command, working_directory="/somewhere", code=code, **facts)
    assert text in ai_research("show", folder).out


def test_how_to_continue_while_it_runs_and_on_other_code(ai_research: Any, make_run: Any, held: Any) -> None:
    folder = make_run(status="running", launches=[{"started": "x", "pid": 5}], machine={"host": "h"})
    held(folder)
    assert "`kill -USR2 5` there saves and stops it" in ai_research("show", folder).out
    other = make_run(status="stopped", code={"a_first.py": "x"}, command="python t.py", working_directory="/w")
    assert "Since this run a_first.py, common/" in ai_research("show", other).out
    (other / "lightning").mkdir()
    (other / "lightning/last.ckpt").touch()
    assert f"config.ckpt_path={other}/lightning/last.ckpt" in ai_research("show", other).out


@pytest.mark.parametrize("text", ["/*PLOTLY*/", "/*DATA*/ /*CSS*/", "/*JS*/</script><script>x", "\\1 \\g<0>"])
def test_what_a_run_holds_is_taken_for_no_place_of_the_page(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from common.cli.report import page_of
    from common.cli.runs import Run

    monkeypatch.setattr("common.cli.report.content_of", lambda _: {"texts": {"Uncommitted changes": text}})
    page = page_of(object.__new__(Run))  # Its content stands above.
    data = page.partition('<script id="data" type="application/json">')[2].partition("</script>")[0]
    assert json.loads(data) == {"texts": {"Uncommitted changes": text}}
