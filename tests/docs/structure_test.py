"""The plan of the house: GUIDE.md lists every folder, and no import goes in a circle or on for long."""

import re

import pytest

import common.launch.point
import common.launch.sweep.search
import common.run
import common.run.continuation
import common.run.record
from benchmarks import structure
from tests.docs.markdown import REPOSITORY, read


def folders() -> set[str]:
    """Returns the folders of `common/` that hold modules."""
    files = (REPOSITORY / "common").rglob("*.py")
    return {f"{path.parent.relative_to(REPOSITORY)}/" for path in files if "__pycache__" not in path.parts}


def test_the_guide_says_of_each_folder_what_it_holds() -> None:
    section = read("GUIDE.md").partition("### Folders")[2].partition("### ")[0]
    rows = re.findall(r"^\| `(common/[\w/]*)` \| (.+) \|$", section, flags=re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(folders())
    assert len({content for _, content in rows}) == len(rows)


def test_no_import_goes_in_a_circle_or_on_for_long() -> None:
    paths = structure.modules()
    graph = {name: structure.imports_of(path, set(paths)) - {name} for name, path in paths.items()}
    assert structure.circles(graph) == []
    assert len(structure.longest_chain(graph)) <= 12


def test_shared_code_spells_no_engine_s_key() -> None:
    shared = {name: path for name, path in structure.modules().items() if structure.is_shared(name)}
    assert [name for name, path in shared.items() if structure.spells_engine_key(path)] == []
    assert len(shared) > 80


def test_files_are_short_and_rooms_are_few() -> None:
    paths = structure.modules()
    lines = {name: len(path.read_text().splitlines()) for name, path in paths.items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}
    assert sum(count for name, count in lines.items() if name.startswith("common.utils.")) <= 600
    launch = [name for name, path in paths.items() if name.startswith("common.launch.") and path.stem != "__init__"]
    assert len(launch) <= 19


@pytest.mark.parametrize(
    ("noun", "module"),
    [
        ("Command", common.launch.point),
        ("Search", common.launch.sweep.search),
        ("Point", common.launch.point),
        ("Record", common.run.record),
        ("Run", common.run.continuation),
        ("Launch", common.run.record),
        ("Outcome", common.launch.sweep.search),
    ],
)
def test_the_nouns_for_a_run_are_seven_and_each_is_a_class(noun: str, module: object) -> None:
    text = common.run.__doc__ or ""
    assert re.findall(r"`([A-Z][a-z]+)`", text) == ["Command", "Search", "Point", "Record", "Run", "Launch", "Outcome"]
    assert isinstance(getattr(module, noun), type)
