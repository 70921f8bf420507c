"""A new project works from the first minute."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from common.cli.new import Kind, new_folder, tidy, write_project
from common.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = get_args(Kind)


@pytest.mark.slow(seconds=60)
def test_they_run_pass_their_tests_and_are_clean(in_copy: Any) -> None:
    """One of each kind, which the tools look at together: reading torch's types takes mypy a minute."""
    places = [f"projects/brand_new_{kind}" for kind in KINDS]
    for kind in KINDS:
        made = in_copy("-m", "common.cli", "new", f"brand_new_{kind}", "--kind", kind)
        assert made.status == 0, made.err
    for words in (
        ["-m", "pytest", *places, "-q", "-n", "0", "-p", "no:cacheprovider"],
        ["-m", "ruff", "check", *places],
        ["-m", "ruff", "format", "--check", *places],
        ["-m", "mypy", "--cache-dir", REPOSITORY / ".mypy_cache", *places],
    ):
        said = in_copy(*words)
        assert said.status == 0, said.out + said.err
    for kind in KINDS:
        again = in_copy("-m", "common.cli", "new", f"brand_new_{kind}", "--kind", kind)
        assert again.status == 2
        assert "nothing is overwritten" in again.err


@pytest.mark.parametrize("name", ["My-First", "1st", "class", "a/b", "..", "", "x" * 31])
def test_a_name_that_no_package_can_have_is_refused(ai_research: Any, name: str) -> None:
    said = ai_research("new", name, "--kind", "dl")
    assert said.status == 2
    assert "cannot be a project's name" in said.err


@pytest.mark.parametrize("name", ["on", "off", "y", "n", "yes", "no", "true", "false", "null", "nan", "inf"])
def test_a_name_that_a_configuration_reads_as_something_else_is_refused(ai_research: Any, name: str) -> None:
    said = ai_research("new", name, "--kind", "dl")
    assert said.status == 2
    assert "a configuration would read it as a value of another kind" in said.err


@pytest.mark.parametrize("name", ["base", "base_", "base__"])
def test_a_name_that_makes_a_class_its_own_parent_is_refused(ai_research: Any, name: str) -> None:
    said = ai_research("new", name, "--kind", "dl")
    assert said.status == 2
    assert f"{name!r} cannot be a project's name: there is a BaseDataModule already" in said.err


@pytest.mark.parametrize("name", ["test", "tests", "test_this"])
def test_a_name_whose_classes_pytest_takes_for_tests_is_refused(ai_research: Any, name: str) -> None:
    said = ai_research("new", name, "--kind", "ne")
    assert said.status == 2
    assert "pytest would read its classes as tests" in said.err


@pytest.mark.parametrize("name", ["none", "ones", "basement", "latest", "two_moons", "match"])
def test_names_that_only_look_like_those_are_taken(name: str) -> None:
    assert new_folder(name).name == name


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_is_left(tmp_path: Path, kind: Any) -> None:
    written = write_project(tmp_path / "two_moons", kind)
    assert all("__project__" not in path.read_text().lower() for path in written)
    assert {path.relative_to(tmp_path / "two_moons").as_posix() for path in written} >= {"__init__.py", "train.py"}
    assert "TwoMoons" in "".join(path.read_text() for path in written)
    with pytest.raises(FileExistsError):
        write_project(tmp_path / "two_moons", kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x", "a_" * 14 + "b", "y" * 30])
def test_style_is_clean_whatever_the_names_length(tmp_path: Path, kind: Any, name: str) -> None:
    """In a copy of the repository's settings, where ruff finds them."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path / "pyproject.toml")
    (tmp_path / "common").symlink_to(REPOSITORY / "common")  # Known as the repository's own by being there.
    (tmp_path / "projects").mkdir()
    shutil.copy(REPOSITORY / "projects" / "__init__.py", tmp_path / "projects" / "__init__.py")
    folder = tmp_path / "projects" / name
    write_project(folder, kind)
    tidy(folder)
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", str(folder)]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


def test_a_folder_that_exists_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="exists already"):
        new_folder("classify_mnist")
