"""The files of the images are clean, and the commands that the documents show are those that the Makefile runs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.conftest import REPOSITORY
from tests.docs.markdown import all_blocks

SCRIPTS = sorted((REPOSITORY / "containers").glob("*.sh"))
MODES = ("cpu", "cuda", "7800xt")
ENGINES = ("docker", "podman")
VARIABLES = {
    "${AI_RESEARCH_PATH}": str(REPOSITORY),
    "${PYTHONPATH}:": "",
    "$(id -u):$(id -g)": "1000:1000",
}
"""What a reader's shell makes of a command's words."""

COMMANDS = [
    line for block in all_blocks("sh") for line in dict.fromkeys(block.text.splitlines()) if not line.startswith("#")
]


def split(line: str) -> list[str]:
    """Returns a command's words, its variables replaced."""
    for written, meant in VARIABLES.items():
        line = line.replace(written, meant)
    return shlex.split(line)


def of_make(target: str, engine: str, mode: str, *settings: str) -> list[str]:
    """Returns the words of the command that a target of the Makefile would run."""
    shown = subprocess.run(
        ["make", "--no-print-directory", "-n", target, f"ENGINE={engine}", f"MODE={mode}", *settings],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(shown.stdout.replace("\\\n", " "))
    return [re.sub(r"^\d+:\d+$", "1000:1000", word) for word in words]


def without_index(words: list[str]) -> list[str]:
    """Leaves out what `make image` passes on: PyTorch's index, which is the Dockerfile's own default."""
    at = next(index for index, word in enumerate(words) if word.startswith("TORCH_INDEX="))
    return words[: at - 1] + words[at + 1 :]


def test_documents_show_commands() -> None:
    assert len(COMMANDS) >= 10
    assert {line.split()[0] for line in COMMANDS} == {*ENGINES, "apptainer"}


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.split()[1] == "build" and "-t" in line.split()])
def test_build_command_is_the_makefiles(line: str) -> None:
    words = split(line)
    mode = next(word.removeprefix("MODE=") for word in words if word.startswith("MODE="))
    assert mode in MODES
    assert words == without_index(of_make("image", words[0], mode))


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.split()[1] == "run"])
def test_run_command_is_the_makefiles(line: str) -> None:
    words = split(line)
    image = next(word for word in words if word.startswith("ai-research:"))
    mode = image.removeprefix("ai-research:").removesuffix("_latest")
    settings = words[words.index("python") + 2 :]
    assert words == of_make("container", words[0], mode, f"ARGS={' '.join(settings)}")
    assert (REPOSITORY / words[words.index("python") + 1]).is_file()


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.split()[0] == "apptainer"])
def test_apptainer_is_given_what_a_container_is(line: str) -> None:
    words = split(line)
    assert words[1] in {"build", "exec"}
    assert any(word.endswith(".sif") for word in words)
    if words[1] == "exec":
        given = dict(pair.split("=") for pair in words[words.index("--env") + 1].split(","))
        assert given == {"AI_RESEARCH_PATH": str(REPOSITORY), "PYTHONPATH": str(REPOSITORY)}
        assert words[words.index("--bind") + 1] == words[words.index("--pwd") + 1] == str(REPOSITORY)
        assert (REPOSITORY / words[words.index("python") + 1]).is_file()


def test_torch_index_stands_in_two_places_alone() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    paths = [REPOSITORY / name for name in listed.stdout.splitlines()]
    texts = {path: path.read_bytes() for path in paths if path.is_file() and path != Path(__file__)}
    index = b"https://download." + b"pytorch.org/whl"
    assert {path.name: text.count(index) for path, text in texts.items() if index in text} == {
        "Dockerfile": 1,
        "Makefile": 1,
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_script_is_clean(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed; Debian's package of that name has it")
    judged = subprocess.run(
        ["shellcheck", "-x", str(script)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert judged.stdout == ""
    assert judged.returncode == 0


def test_dockerfile_is_clean() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    judged = subprocess.run([linter, "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert judged.stdout == ""
    assert judged.returncode == 0


def test_build_sees_nothing_but_what_it_copies() -> None:
    copied = re.findall(r"containers/\w+\.sh", (REPOSITORY / "Dockerfile").read_text())
    assert {Path(name).name for name in copied} == {script.name for script in SCRIPTS}
    assert (REPOSITORY / ".dockerignore").read_text().split() == ["*", "!containers/*.sh", "!requirements.txt"]


def test_development_container_is_the_image() -> None:
    described = json.loads((REPOSITORY / ".devcontainer.json").read_text())
    assert (REPOSITORY / described["build"]["dockerfile"]).is_file()
    assert described["build"]["args"]["MODE"] in MODES
    assert set(described["containerEnv"]) == {"AI_RESEARCH_PATH", "PYTHONPATH"}
