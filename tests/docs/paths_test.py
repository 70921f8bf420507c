"""README.md and GUIDE.md name what is there: files, headings, what a run leaves."""

import re
from pathlib import Path

import pytest

from tests.docs.conftest import FinishedRun
from tests.docs.markdown import DOCUMENTS, FILE, KEY, REPOSITORY, all_blocks, read, words_in_backticks

ROOT_NAMES = {path.name for path in REPOSITORY.iterdir()}


def test_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 135


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nothing_names_a_registry_or_somebodys_machine(document: str) -> None:
    assert re.findall(r"pypi|download\.pytorch|/tmp/|/work/|/home/", read(document)) == []


def is_path(word: str) -> bool:
    """A word is a path of the repository if it starts with something there, or is a file's name or path."""
    if any(mark in word for mark in " <>*$=()"):
        return False
    return word.partition("/")[0] in ROOT_NAMES or (FILE.fullmatch(word) is not None and not KEY.fullmatch(word))


@pytest.mark.parametrize(
    ("document", "word"), [pair for pair in words_in_backticks() if is_path(pair[1])], ids=lambda value: str(value)
)
def test_path_exists(document: str, word: str) -> None:
    tutorial = {block.path for block in [*all_blocks("python"), *all_blocks("yaml")] if block.path}
    made_later = {
        "WANDB_KEY.txt",
        "rank_1.log",
        "sweep.csv",
        "sweep.png",
        "console.log",
        "optuna.log",
        "decision.png",
        "timings.csv",
        "data/two_moons/mlp/",
        "projects/two_moons/",
        *tutorial,
    }
    if "/" in word or word in made_later:
        assert (REPOSITORY / word).exists() or word in made_later
        return
    names = {path.name for root in ("common", "projects", "tests") for path in (REPOSITORY / root).rglob("*")}
    assert word in names | ROOT_NAMES | {Path(path).name for path in shown_run_tree()}


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        headings = re.findall(r"^#+ (.*)$", read(document), flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
        for target in re.findall(r"\]\(([^)]+)\)", read(document)):
            if target.startswith("#"):
                assert target[1:] in anchors, f"{document}: {target}"
            else:
                assert (REPOSITORY / target).exists(), f"{document}: {target}"


def test_every_chapter_of_the_guide_is_in_its_contents() -> None:
    chapters = re.findall(r"^## (.*)$", read("GUIDE.md"), flags=re.MULTILINE)
    contents = read("GUIDE.md").partition("## ")[0]
    assert [chapter for chapter in chapters if f"[{chapter}]" not in contents] == []


def shown_run_tree() -> set[str]:
    """Returns the paths in the README's tree of a run's folder."""
    (block,) = [block for block in all_blocks("text") if block.text.startswith("<run>/\n")]
    shown, parents = set(), [""]
    for line in block.text.splitlines()[1:]:
        found = re.match(r"([│ ]*)[├└]── (\S+)", line)
        assert found is not None, line
        depth = len(found.group(1)) // 4
        parents[depth + 1 :] = [found.group(2).strip("/")]
        shown.add("/".join(parents[1:]))
    return shown


@pytest.mark.slow
def test_run_tree_is_what_a_run_leaves(run: FinishedRun) -> None:
    left = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*")}
    assert {path for path in left if not path.startswith("wandb/")} == shown_run_tree()
