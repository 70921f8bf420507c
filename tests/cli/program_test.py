"""The program: its help, its errors, what it imports, its completion."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.cli.program import COMMANDS

HEAVY = (
    "torch",
    "pytorch_lightning",
    "wandb",
    "matplotlib",
    "numpy",
    "scipy",
    "plotly",
    "hydra",
    "omegaconf",
    "jaxtyping",
)


def imported_by(*arguments: str) -> set[str]:
    """Returns the names of what a call of the program imports, in a process of its own."""
    script = (
        "import json, sys\n"
        "from common.cli.program import main\n"
        f"sys.argv = {['ai-research', *arguments]!r}\n"
        "try:\n    main()\nfinally:\n    print('\\n' + json.dumps(sorted(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_help_imports_next_to_nothing(root: Path) -> None:
    loaded = imported_by("--help")
    assert loaded.isdisjoint([*HEAVY, "rich", "beartype", "yaml"])
    assert {name for name in loaded if name.startswith("common.cli.")} == {"common.cli.program"}


@pytest.mark.parametrize("arguments", [["ls"], ["show", "last"], ["watch", "--once"], ["clean"], ["sync"]])
def test_looking_at_runs_imports_nothing_heavy(make_run: Any, arguments: list[str]) -> None:
    make_run(metrics=[{"step": 1, "val/loss": 0.5}])
    loaded = imported_by(*arguments)
    assert loaded.isdisjoint(HEAVY)
    assert "common.cli.runs" in loaded


def test_types_are_checked_in_the_commands_too() -> None:
    from beartype.roar import BeartypeCallHintViolation

    from common.cli.runs import read_run

    wrong: Any = "text, not a Path"
    with pytest.raises(BeartypeCallHintViolation):
        read_run(wrong)


def test_help_lists_every_command(ai_research: Any) -> None:
    said = ai_research("--help")
    assert said.status == 0
    assert all(f"\n  {name} " in said.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(ai_research: Any, name: str) -> None:
    said = ai_research(name, "--help")
    assert said.status == 0
    assert "--json" in said.out


def test_the_module_is_the_program() -> None:
    result = subprocess.run([sys.executable, "-m", "common.cli", "--help"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("Usage: ai-research ")


def test_a_misspelt_command_names_the_nearest(ai_research: Any) -> None:
    said = ai_research("compre")
    assert said.status == 2
    assert "Did you mean 'compare'?" in said.err


def test_a_mistake_is_one_line_and_status_2(ai_research: Any, root: Path) -> None:
    said = ai_research("show", "nothing")
    assert said.status == 2
    assert said.err.startswith("Error: No run 'nothing'")
    assert "Traceback" not in said.err


@pytest.mark.parametrize(("shell", "sign"), [("bash", "complete "), ("zsh", "#compdef"), ("fish", "complete --")])
def test_completion_can_be_switched_on(shell: str, sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "common.cli"],
        env={"PATH": "/usr/bin:/bin", "_AI_RESEARCH_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert sign in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ai-research", "co"], {"compare"}),
        (["ai-research", "show", "2026"], {"2026-01-31_12-00-00"}),
        (["ai-research", "show", "l"], {"last"}),
        (["ai-research", "ls", ""], {"p"}),
        (["ai-research", "ls", "p", ""], {"t"}),
    ],
)
def test_completion_knows_commands_runs_projects_and_tasks(
    make_run: Any, root: Path, words: list[str], expected: set[str]
) -> None:
    make_run("p/t/2026-01-31_12-00-00")
    environment = {
        "PATH": "/usr/bin:/bin",
        "AI_RESEARCH_PATH": str(root),
        "_AI_RESEARCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-m", "common.cli"], env=environment, capture_output=True, text=True, check=False
    )
    assert {line.partition(",")[2] for line in result.stdout.splitlines()} == expected
