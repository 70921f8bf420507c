"""`ai-research report`: a run or a sweep as one HTML file that needs nothing else."""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import click

from common.cli.find import find_run
from common.cli.ls import best_point
from common.cli.options import run_argument
from common.cli.output import json_option, print_json, time_text, valid_json
from common.cli.runs import UNREADABLE, Run, settings_of_points
from common.cli.show import facts_of
from common.run.atomic import write_text_atomically
from common.run.files import open_to_read
from common.run.metrics import FIXED_COLUMNS, read_metrics
from common.utils.text import duration_text, short_names

PAGE = Path(__file__).with_name("report_page")

PICTURES = {".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg"}

MOST_PICTURE_BYTES = 8_000_000
"""A larger picture is left out: the page should open on a phone."""

MOST_TEXT_CHARACTERS = 300_000


@click.command()
@run_argument
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; default: <task>_<timestamp>.html here."
)
@json_option
def command(run: str, output: Path | None, as_json: bool) -> None:
    """Write RUN, a run or a sweep, as one HTML file that is readable offline and on a phone.

    It has curves, pictures, configuration and provenance; for a sweep its points, parallel coordinates and the result
    over each parameter.
    """
    found = find_run(run)
    path = output or Path(f"{found.task}_{found.title.replace('/', '_')}.html")
    text = page_of(found)
    if output is None:
        write_text_atomically(path, text)  # Nobody has named it: a link that stands there is replaced.
    else:
        path.write_bytes(text.encode(errors="replace"))
    if as_json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(f"Written: {path}")


def page_of(run: Run) -> str:
    """Returns the page."""
    from plotly.offline import get_plotlyjs  # Only here: no other command draws with it.

    # "<" would let a run's text end the script that holds it.
    content = json.dumps(valid_json(content_of(run)), default=str, allow_nan=False).replace("<", "\\u003c")
    parts = {name: (PAGE / f"page.{name.lower()}").read_text(encoding="utf-8") for name in ("HTML", "CSS", "JS")}
    parts |= {"DATA": content, "PLOTLY": get_plotlyjs()}
    # In one go: what a run holds may look like a place for something.
    return re.sub(r"/\*([A-Z]+)\*/", lambda place: parts[place[1]], parts["HTML"])


def content_of(run: Run) -> dict[str, Any]:
    """Returns what the page shows, in the form that `page.js` expects."""
    took = duration_text(run.seconds)
    swept = [key for key, value in run.overrides.items() if isinstance(value, list)] if run.kind == "sweep" else []
    best = best_point(run)
    objective = run.record.engine.objective
    names = [name for point in run.points for name in point.results]
    return {
        "title": f"{run.project}/{run.task} · {run.title}",
        "subtitle": " · ".join(filter(None, [f"started {time_text(run.created_s)}", took and f"took {took}"])),
        "status": run.state,
        "status_text": status_text(run),
        "error": run.record.error if run.state == "failed" else run.problem,
        "results": tiles_of(best or run),
        "results_of": f"point {best.title.rpartition('/')[2]}, the best" if best else None,
        "curves": curves_of(run),
        "pictures": pictures_of(run),
        "facts": {name: str(value) for name, value in facts_of(run).items()},
        "changes": [] if run.kind == "sweep" else changes_of(run),
        "texts": texts_of(run),
        "points": points_of(run) if run.kind == "sweep" else None,
        "swept": swept,
        "short": short_names(swept),
        "metric_names": sorted(dict.fromkeys(names), key=lambda name: (name != objective, *name.split("/")[::-1])),
    }


def tiles_of(run: Run) -> dict[str, float]:
    """Returns the metrics that stand at the top of the page: a result's, or all where there is none yet."""
    results = {name: run.results[name] for name in run.results if name.startswith(tuple(run.record.engine.results))}
    return results or run.results


def status_text(run: Run) -> str:
    """Returns how a run stands, with the counts of a sweep's points."""
    counts = ", ".join(f"{number} {state}" for state, number in run.num_points.items())
    return f"{run.state} ({counts})" if counts else run.state


def curves_of(run: Run) -> dict[str, dict[str, list[Any]]]:
    """Returns each metric as the steps at which it was logged and its values."""
    try:
        rows = read_metrics(run.source)
    except UNREADABLE:
        return {}
    names = dict.fromkeys(name for row in rows for name in row if name not in FIXED_COLUMNS)
    logged = {name: [row for row in rows if name in row and "step" in row] for name in names}
    return {name: {"x": [row["step"] for row in own], "y": [row[name] for row in own]} for name, own in logged.items()}


def points_of(sweep: Run) -> list[dict[str, Any]]:
    """Returns what the page shows of a sweep's points."""
    return [
        {
            "title": point.title.rpartition("/")[2],
            "status": point.state,
            "overrides": settings,
            "metrics": point.results,
            "curves": curves_of(point),
        }
        for point, settings in zip(sweep.points, settings_of_points(sweep.points), strict=True)
    ]


def pictures_of(run: Run) -> list[dict[str, str]]:
    """Returns the pictures of a run as text for a page, the moving ones first; curves are drawn there anew."""
    curves = {f"{part}.png" for name in run.results for part in (*name.split("/"), name.replace("/", "_"))}
    found = [path for path in sorted(run.folder.glob("*.*")) if path.suffix in PICTURES and path.name not in curves]
    ordered = sorted(found, key=lambda path: (path.suffix != ".gif", path.name))
    contents = {path: _content_of(run.folder, path.name, MOST_PICTURE_BYTES) for path in ordered}
    return [{"name": path.name, "source": _as_text(path, content)} for path, content in contents.items() if content]


def changes_of(run: Run) -> list[list[Any]]:
    """Returns the keys that differ from the task's defaults, with both values."""
    return [[key, sides.get("default"), sides.get("value")] for key, sides in run.changes.items()]


def texts_of(run: Run) -> dict[str, str]:
    """Returns the longer texts that a run left: its configuration, its uncommitted changes, the end of its log."""
    git = run.record.git
    texts = {"Configuration": _text_of(run.source, ".hydra/config.yaml")}
    texts["Uncommitted changes"] = git.uncommitted_diff if git else ""
    texts["Log"] = _text_of(run.folder, f"{run.task}.log")
    return {name: content[-MOST_TEXT_CHARACTERS:] for name, content in texts.items() if content}


def _text_of(folder: Path, name: str) -> str:
    return _content_of(folder, name).decode(errors="replace")


def _content_of(folder: Path, name: str, most_bytes: int | None = None) -> bytes:
    """Returns what a run's own file holds; nothing where it is too large, a link, or cannot be read."""
    try:
        with open_to_read(folder, name) as file:
            is_small = most_bytes is None or os.fstat(file.fileno()).st_size <= most_bytes
            return file.read() if is_small else b""
    except OSError:
        return b""


def _as_text(path: Path, content: bytes) -> str:
    return f"data:{PICTURES[path.suffix]};base64,{base64.b64encode(content).decode()}"
