"""`ai-research new`: the files of a new project."""

import importlib.util
import keyword
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

import click

from common.cli.output import json_option, print_json
from common.errors import ConfigError
from common.utils.misc import repository_path

Kind = Literal["dl", "ne"]
"""`dl`: deep learning; `ne`: neuroevolution."""

TEMPLATES = Path(__file__).with_name("project_templates")
LONGEST_NAME = 30
"""In characters: lines that hold a longer one would have to be broken."""

OTHER_VALUES = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
"""What YAML or Hydra take for a truth, nothing or a number."""

SUFFIX = ".tmpl"
"""Keeps linters and tests from taking a template for the file that is made of it."""


@click.command()
@click.argument("project")
@click.option("--kind", type=click.Choice(get_args(Kind)), required=True, help="What the project does.")
@json_option
def command(project: str, kind: Kind, as_json: bool) -> None:
    """Make a new project that works from the first minute: its task runs, its tests pass, lint and types are clean.

    PROJECT is the name of the folder that is made below projects/, in small letters: two_moons.
    """
    folder = new_folder(project)
    written = write_project(folder, kind)
    tidy(folder)
    if as_json:
        print_json({"project": project, "folder": str(folder), "files": [str(path) for path in written]})
    else:
        click.echo("\n".join(f"Written: {path}" for path in written))
        click.echo(next_steps(folder))


def new_folder(project: str) -> Path:
    """Returns the folder of a project that is to be made.

    Raises:
        ConfigError: the name cannot be a package's, or there is such a folder.
    """
    if re.fullmatch(r"[a-z][a-z0-9_]*", project) is None or keyword.iskeyword(project) or len(project) > LONGEST_NAME:
        raise ConfigError(
            f"{project!r} cannot be a project's name: up to {LONGEST_NAME} small letters, digits and underscores, "
            "as in two_moons."
        )
    misread = misread_by(project)
    if misread is not None:
        raise ConfigError(f"{project!r} cannot be a project's name: {misread}. Choose another one, as two_moons.")
    folder = repository_path() / "projects" / project
    if folder.exists():
        raise ConfigError(f"{folder} exists already, and nothing is overwritten. Choose another name.")
    return folder


def misread_by(project: str) -> str | None:
    """Returns who would read a project's name as something else, ready to be told; None where nobody would."""
    if project in OTHER_VALUES:
        return "a configuration would read it as a value of another kind"
    if project.startswith("test"):
        return "pytest would read its classes as tests"
    text = "\n".join(path.read_text() for path in TEMPLATES.rglob(f"*{SUFFIX}"))
    words = set(re.findall(r"\w+", text))
    taken = sorted(
        _filled(word, project)
        for word in words
        if word.startswith("__Project__") and word != "__Project__" and _filled(word, project) in words
    )
    return f"there is a {taken[0]} already" if taken else None


def write_project(folder: Path, kind: Kind) -> list[Path]:
    """Writes a project's files.

    Args:
        folder: The project's folder, which is made.
        kind: Which templates are used.

    Returns:
        The files written.
    """
    written = []
    templates = TEMPLATES / kind
    for template in sorted(templates.rglob(f"*{SUFFIX}")):
        name = _filled(str(template.relative_to(templates)).removesuffix(SUFFIX), folder.name)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_filled(template.read_text(encoding="utf-8"), folder.name))
        written.append(path)
    return written


def tidy(folder: Path) -> None:
    """Lets ruff, where it is installed, break lines as the length of the project's name asks for."""
    if importlib.util.find_spec("ruff") is not None:
        words = [sys.executable, "-m", "ruff", "format", "--quiet", str(folder)]
        subprocess.run(words, cwd=repository_path(), check=False, capture_output=True)


def next_steps(folder: Path) -> str:
    """Returns what a person types next."""
    task = sorted((folder / "task").glob("*.yaml"))[0].stem
    place = f"projects/{folder.name}"
    return f"""
  run    python {place}/train.py task={task}
  test   python -m pytest {place}
  lint   ruff check {place} && mypy {place}"""


def _filled(text: str, project: str) -> str:
    title = "".join(word.capitalize() for word in project.split("_"))
    return text.replace("__project__", project).replace("__Project__", title)
