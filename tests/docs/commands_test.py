"""Every command of README.md and GUIDE.md works, and prints what they show."""

import importlib
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from common.cli.program import COMMANDS, program
from common.errors import ConfigError, RunError, RunStoppedError
from common.ne.runner import NeuroevolutionTaskRunner
from common.run.stop import SECOND_INTERRUPT_STATUS
from tests.docs.conftest import FinishedRun, Shell
from tests.docs.markdown import DOCUMENTS, REPOSITORY, all_blocks, commands, read, table
from tests.processes import Process, start

CHEAP = ("datamodule.config.source=digits", "trainer.max_epochs=1", "trainer.limit_train_batches=10")
"""Appended to a command that trains, each unless the command sets that key itself."""

CHEAP_EVOLUTION = (
    "config.num_generations=1",
    "config.num_test_episodes=30",
    "config.num_validation_episodes=30",
    "population.config.size=8",
)
"""The same, for a command that evolves."""

NEEDS_MORE = ("config.device=gpu", "config.compile=true")
"""A command with one of these needs hardware, or minutes: it is only checked, by `config.preflight_only=true`."""

NEEDS_PROCESS = ("hydra.launcher.tasks_per_node=2",)
"""A command with one of these is run in a process of its own: ranks would stay connected in this one."""

SHOWS = ("--help", "--cfg")
"""A command with one of these trains nothing: it is run as it stands."""

OTHER_TOOLS = {"ai-research": set(COMMANDS), "make": None, "wandb": {"sync", "login"}}
"""Commands that are not run here, and the subcommands that they have; make's targets are looked up in the Makefile."""


def python_commands() -> list[list[str]]:
    """Returns the commands outside the tutorial that run a project, but for the README's first, which `run` runs."""
    return [words for words in commands() if words[0] == "python"][1:]


def test_every_command_is_one_that_this_test_knows() -> None:
    for words in commands():
        if words[0] == "python":
            assert words[1].startswith("projects/") or words[1] == "-m", words
        else:
            assert words[0] in OTHER_TOOLS, words
            subcommands = OTHER_TOOLS[words[0]]
            assert subcommands is None or words[1] in subcommands, words


def test_ai_research_has_the_commands_and_options_that_are_shown() -> None:
    shown = [words for words in commands() if words[0] == "ai-research"]
    assert {words[1] for words in shown} == set(COMMANDS)
    for words in shown:
        command = program.get_command(click.Context(program), words[1])
        assert command is not None
        command.make_context(words[1], list(words[2:]))  # Parses the words, and does nothing.


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    for document in DOCUMENTS:
        named = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", read(document), flags=re.MULTILINE)
        assert named
        assert set(named) <= targets, document


def cheapened(words: list[str], run_folder: Path, *, is_evolution: bool = False) -> list[str]:
    """Returns a command's arguments, with what makes it a matter of seconds; see the constants above."""
    arguments = [word.replace("<run>", str(run_folder)) for word in words]
    if any(word in SHOWS for word in arguments):
        return arguments
    if any(word in NEEDS_MORE for word in arguments):
        return [*arguments, "config.preflight_only=true"]
    given = {word.partition("=")[0] for word in arguments}
    cheap = CHEAP_EVOLUTION if is_evolution else CHEAP
    return [*arguments, *(extra for extra in cheap if extra.partition("=")[0] not in given)]


@pytest.mark.slow
@pytest.mark.parametrize("words", python_commands(), ids=shlex.join)
def test_command_works(words: list[str], run: FinishedRun, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is run in this process, by the runner that the script or module defines, unless it cannot be."""
    monkeypatch.chdir(REPOSITORY)
    if any(word in NEEDS_PROCESS for word in words):
        process = start([sys.executable, *cheapened(words, run.folder)[1:]], dict(os.environ))
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return
    is_module = words[1] == "-m"
    script = words[2].replace(".", "/") + ".py" if is_module else words[1]
    runner = importlib.import_module(script.removesuffix(".py").replace("/", ".")).TaskRunner
    is_evolution = issubclass(runner, NeuroevolutionTaskRunner)
    arguments = cheapened(words[3:] if is_module else words[2:], run.folder, is_evolution=is_evolution)
    outcome = cli(*arguments, project=(REPOSITORY / script).parent, runner=runner)
    if "config.device=gpu" in arguments and not torch.cuda.is_available():
        assert "PyTorch sees no GPU on this machine" in outcome.err
        return
    assert outcome.status == 0, outcome.err
    if not any(word in SHOWS or word == "config.preflight_only=true" for word in arguments):
        assert "  folder  " in outcome.out


@pytest.mark.slow
def test_module_form_works_in_a_process_of_its_own(shell: Shell, tmp_path: Path) -> None:
    words = next(words for words in python_commands() if words[1] == "-m")
    result = shell([*words, "config.preflight_only=true"], REPOSITORY, AI_RESEARCH_PATH=str(tmp_path))
    assert result.returncode == 0, result.stderr


UNSHOWN_AT_THE_START = (
    re.compile(r"hydra\.launcher\.cpus_per_task=4 is more than this machine grants: \d used\."),
    re.compile(r"Folder <run>: a new run: there is no earlier one of this identity\. Identity [0-9a-f]{12}\."),
    re.compile(r"W&B logs offline: there is no key\. Upload later with: wandb sync <run>/wandb/offline-run-\*"),
    re.compile(r"generated new fontManager"),  # Matplotlib, once for a user.
)
"""Lines before what the README shows, of which it says that the command *ends* with it."""

BAR = re.compile(r"(Sanity Checking|Training|Validation|Testing|Epoch \d+)\b.*\||Epoch \d+: \d+ s, .*|^\s*$")
"""What Lightning's progress bar has drawn in one place, one after the other, or what stands for it in a pipe."""


@pytest.mark.slow
def test_readme_shows_what_its_first_command_prints(run: FinishedRun) -> None:
    """Nothing else is printed, to either output. Metrics may differ in their digits from machine to machine."""
    (block,) = [block for block in all_blocks("text") if block.text.startswith("Network:")]
    drawn = re.split(r"[\r\n]", run.out.replace("\x1b[A", "").replace(str(run.folder), "<run>"))
    printed = [masked(line) for line in drawn if not BAR.match(line)]
    printed = [line for line in printed if not any(unshown.fullmatch(line) for unshown in UNSHOWN_AT_THE_START)]
    assert sorted(printed) == sorted(masked(line) for line in block.text.splitlines() if line)


FIRST_LAUNCH = {
    "SIGUSR2: saving at the next step, then leaving.",
    "Stopped by SIGUSR2 after step, saved. The same command continues.",
    "Folder: a new run: there is no earlier one of this identity. Identity.",
}
"""What the guide says in words, or shows, of the launch that is stopped."""

ALSO_PRINTED = re.compile(
    r"Network: .* parameters\.|Batch size: .*\.|Data-loading workers: .*\.|Weight decay: .*\."
    r"|  (val|test)/(loss|accuracy) +\d\.\d{4}"
    r"|  (folder|plots|W&B) +\S.*|W&B logs offline: there is no key\. .*|Epoch \d+: \d+ s, .*"
    r"|hydra\.launcher\.cpus_per_task=4 is more .*|generated new fontManager"
)
"""What the README shows of any run."""


@pytest.mark.slow
def test_guide_shows_what_stopping_and_continuing_print(tmp_path: Path) -> None:
    """The same command is stopped by SIGUSR2, continued to its end, and given once more; nothing else is printed."""
    program = REPOSITORY / "projects" / "classify_mnist" / "train.py"
    command = [sys.executable, str(program), "task=fnn", *CHEAP, "trainer.limit_train_batches=1.0"]
    outputs = []
    for expected in (75, 0, 0):
        process = start(command, os.environ | {"AI_RESEARCH_PATH": str(tmp_path)})
        if expected:
            wait_until_training(process, tmp_path)
            process.send_signal(signal.SIGUSR2)
        output, _ = process.communicate()
        assert process.returncode == expected, output
        outputs += output.splitlines()
    printed = {without_names(line) for line in outputs if line and not ALSO_PRINTED.fullmatch(line)}
    blocks = [block for block in all_blocks("text") if block.chapter == "Stopping and continuing"]
    assert len(blocks) == 2
    shown = {without_names(line) for block in blocks for line in block.text.splitlines() if line}
    assert printed == shown | FIRST_LAUNCH


def wait_until_training(process: Process, root: Path) -> None:
    while not any("workers" in path.read_text() for path in root.glob("data/*/*/*/fnn.log")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def without_names(line: str) -> str:
    line = re.sub(r"Folder \S+:", "Folder:", re.sub(r"\d{4}-\d\d-\d\d_[\d-]+(_\d+)?", "<timestamp>", line))
    return re.sub(r"after step \d+", "after step", re.sub(r"Identity \w+", "Identity", line))


def test_exit_statuses_are_those_of_the_errors() -> None:
    stated = {int(row[0]) for row in table("GUIDE.md", "status")}
    errors = (ConfigError, RunError, RunStoppedError)
    assert stated == {0, SECOND_INTERRUPT_STATUS, *(error.exit_status for error in errors)}


def masked(line: str) -> str:
    return re.sub(r"\d\.\d{4}$", "#", line.rstrip())


def test_exactly_two_commands_need_no_set_up() -> None:
    (block,) = [block for block in all_blocks("bash") if block.document == "README.md" and "make" in block.text]
    assert block.text.splitlines() == ["make demo", "make test"]
