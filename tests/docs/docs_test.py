"""README.md and GUIDE.md say what is true: their paths, keys, commands, outputs and tutorial are tried."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from hydra_zen import ZenStore
from omegaconf import DictConfig, OmegaConf

from common.cli.program import COMMANDS, program
from common.dl.config import DeepLearningTaskConfig
from common.errors import ConfigError, RunError, RunStoppedError
from common.ne.config import NeuroevolutionTaskConfig
from common.ne.runner import NeuroevolutionTaskRunner
from common.run.metrics import read_metrics
from common.run.stop import SECOND_INTERRUPT_STATUS
from common.utils.hydra import leaves
from common.utils.hydra_zen import destructure
from projects.classify_mnist.train import TaskRunner
from tests.docs.conftest import FinishedRun, Shell
from tests.docs.markdown import (
    DOCUMENTS,
    REPOSITORY,
    TUTORIAL,
    Block,
    all_blocks,
    blocks,
    commands,
    in_backticks,
    read,
    table,
)

CHEAP = (
    "logger=none",
    "datamodule.config.source=digits",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=10",
    "trainer.enable_progress_bar=false",
)
"""Appended to a command that trains, each unless the command sets that key itself."""

CHEAP_EVOLUTION = (
    "logger=none",
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

INTERNAL_GROUPS = ("hydra", "hydra/job_logging", "hydra/hydra_logging")
"""Groups with nothing to choose."""

KEY = re.compile(
    r"(config|trainer|datamodule|litmodule|logger|callbacks|hydra|algorithm|evaluator|population)(\.\w+)+(=.*)?"
)
CHOICE = re.compile(r"([a-z_]+(?:/[a-z_]+)*)=([a-z_0-9]+)")
FILE = re.compile(r"[\w./-]+\.(py|md|yaml|toml|txt|csv|json|npz|png|ckpt|log)")

ROOT_NAMES = {path.name for path in REPOSITORY.iterdir()}


@pytest.fixture(scope="session")
def store() -> list[dict[str, Any]]:
    """Everything that classify_mnist registers, and then what neuroevolution does."""
    entries: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [str(REPOSITORY / "projects" / "classify_mnist" / "train.py"), "task=fnn"])
        for runner in (TaskRunner, NeuroevolutionTaskRunner):
            store = ZenStore(overwrite_ok=True)(to_config=destructure)
            runner.store_configs(store=store)
            entries += store
    return entries


@pytest.fixture(scope="session")
def groups(store: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The names in each group that leaves a choice."""
    found: dict[str, set[str]] = {}
    for entry in store:
        if entry["group"] is not None and entry["group"] not in INTERNAL_GROUPS:
            found.setdefault(entry["group"], set()).add(entry["name"])
    return found


def values_of(key: str, store: list[dict[str, Any]]) -> list[Any]:
    """Returns the defaults that the stores register for a key: one for each choice of its group that has the key."""
    found = []
    for entry in store:
        node: Any = entry["node"]
        tree = node if isinstance(node, DictConfig) else OmegaConf.create(node)
        prefix = f"{entry['group'].replace('/', '.')}." if entry["group"] else ""
        if key.startswith(prefix):
            plain: Any = OmegaConf.to_container(tree, throw_on_missing=False)
            for part in key.removeprefix(prefix).split("."):
                if not isinstance(plain, dict) or part not in plain:
                    break
                plain = plain[part]
            else:
                found.append(plain)
    return found


def words_in_backticks() -> list[tuple[str, str]]:
    return [(document, word) for document in DOCUMENTS for word in dict.fromkeys(in_backticks(read(document)))]


def test_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 135


# ---------------------------------------------------------------------------------------------------------- paths


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


# ------------------------------------------------------------------------------------------------- keys and groups


def test_groups_are_the_registered_ones(groups: dict[str, set[str]]) -> None:
    rows = {in_backticks(row[0])[0]: set(in_backticks(row[1])) for row in table("GUIDE.md", "group")}
    assert rows == groups


def test_default_choices_are_the_registered_ones() -> None:
    defaults: dict[str, str] = {}
    for entry in [*NeuroevolutionTaskConfig().defaults, *DeepLearningTaskConfig().defaults]:
        defaults |= entry if isinstance(entry, dict) else {}
    for row in table("GUIDE.md", "group"):
        group = in_backticks(row[0])[0]
        stated = re.search(r"`(\w+)` by default", row[2])
        if stated:
            assert defaults[group] == stated.group(1)
        if "no default" in row[2]:
            assert defaults[group] == "???"


@pytest.mark.parametrize("row", table("GUIDE.md", "key"), ids=lambda row: row[0].strip("`"))
def test_key_has_the_default_that_the_guide_states(row: list[str], store: list[dict[str, Any]]) -> None:
    key, stated = row[0].strip("`"), yaml.safe_load(row[1].strip("`"))
    values = values_of(key, store)
    assert values, f"No configuration declares {key}."
    assert stated in values
    assert type(stated) in [type(value) for value in values]


@pytest.mark.parametrize(
    ("document", "word"),
    [pair for pair in words_in_backticks() if KEY.fullmatch(pair[1])],
    ids=lambda value: str(value),
)
def test_key_exists(document: str, word: str, store: list[dict[str, Any]]) -> None:
    key = word.partition("=")[0]
    if not FILE.fullmatch(key):
        assert values_of(key, store), f"{document}: no configuration declares {key}."


@pytest.mark.parametrize(
    ("document", "word"),
    [pair for pair in words_in_backticks() if CHOICE.fullmatch(pair[1]) and not pair[1].startswith("task=")],
    ids=lambda value: str(value),
)
def test_choice_exists(document: str, word: str, groups: dict[str, set[str]]) -> None:
    group, _, name = word.partition("=")
    if word not in ("key=value", "group=name"):
        assert name in groups.get(group, set()), f"{document}: {word}"


def test_environment_variables_are_read_somewhere() -> None:
    sources = "\n".join(path.read_text() for path in (REPOSITORY / "common").rglob("*.py"))
    for row in table("GUIDE.md", "variable"):
        for name in in_backticks(row[0]):
            assert f'"{name}"' in sources or f"oc.env:{name}" in sources or name == "PYTHONPATH", name


# -------------------------------------------------------------------------------------------------------- commands


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
def test_command_works(
    words: list[str], run: FinishedRun, cli: Any, shell: Shell, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is run in this process, by the runner that the script or module defines, unless it cannot be."""
    monkeypatch.chdir(REPOSITORY)
    if any(word in NEEDS_PROCESS for word in words):
        result = shell(cheapened(words, run.folder), REPOSITORY, AI_RESEARCH_PATH=str(root))
        assert result.returncode == 0, result.stderr
        return
    is_module = words[1] == "-m"
    script = words[2].replace(".", "/") + ".py" if is_module else words[1]
    runner = importlib.import_module(script.removesuffix(".py").replace("/", ".")).TaskRunner
    is_evolution = issubclass(runner, NeuroevolutionTaskRunner)
    arguments = cheapened(words[3:] if is_module else words[2:], run.folder, is_evolution=is_evolution)
    outcome = cli(*arguments, project=(REPOSITORY / script).parent, runner=runner)
    assert outcome.status == 0, outcome.err
    if not any(word in SHOWS or word == "config.preflight_only=true" for word in arguments):
        assert "  folder  " in outcome.out


@pytest.mark.slow
def test_module_form_works_in_a_process_of_its_own(shell: Shell, tmp_path: Path) -> None:
    words = next(words for words in python_commands() if words[1] == "-m")
    result = shell([*words, "config.preflight_only=true"], REPOSITORY, AI_RESEARCH_PATH=str(tmp_path))
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_readme_shows_what_its_first_command_prints(run: FinishedRun) -> None:
    """Metrics may differ in their digits from machine to machine; everything else is the same."""
    (block,) = [block for block in all_blocks("text") if block.text.startswith("Network:")]
    printed = [masked(line) for line in run.out.replace(str(run.folder), "<run>").splitlines()]
    for line in filter(None, block.text.splitlines()):
        assert masked(line) in printed


@pytest.mark.slow
def test_guide_shows_what_stopping_and_continuing_print(shell: Shell, tmp_path: Path) -> None:
    """The same command is stopped by SIGUSR2, continued to its end, and given once more."""
    command = ["python", "projects/classify_mnist/train.py", "task=fnn", *CHEAP, "trainer.limit_train_batches=1.0"]
    # A shell sends the signal, once the process has written that it trains.
    stopping = f"{shlex.join(command)} & until grep -qs workers {tmp_path}/data/*/*/*/fnn.log; do sleep 0.1; done; "
    outputs = []
    for words, status in ((["bash", "-c", stopping + "kill -USR2 $!; wait $!"], 75), (command, 0), (command, 0)):
        result = shell(words, REPOSITORY, AI_RESEARCH_PATH=str(tmp_path))
        assert result.returncode == status, result.stderr
        outputs += (result.stdout + result.stderr).splitlines()
    printed = {without_names(line) for line in outputs}
    shown = [block for block in all_blocks("text") if block.chapter == "Stopping and continuing"]
    assert len(shown) == 2
    for block in shown:
        assert {without_names(line) for line in block.text.splitlines()} <= printed


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


# ---------------------------------------------------------------------------------------------------------- blocks


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [block for block in all_blocks("python") if block.chapter != TUTORIAL], ids=lambda block: block.name
)
def test_python_block_runs(block: Block, run: FinishedRun) -> None:
    text = block.text.replace("<run>", str(run.folder))
    exec(compile(text, block.name, "exec"), {"__name__": "__main__"})  # noqa: S102  # Our own documents.


@pytest.mark.parametrize(
    "block", [block for block in all_blocks("yaml") if block.chapter != TUTORIAL], ids=lambda block: block.name
)
def test_yaml_block_is_a_task(block: Block, cli: Any, make_project: Any) -> None:
    outcome = cli("task=shown", "config.preflight_only=true", project=make_project(shown=block.text))
    assert outcome.status == 0, outcome.err


def test_readme_shows_the_essence_of_the_task_file() -> None:
    (block,) = [block for block in all_blocks("yaml") if block.document == "README.md"]
    shown = yaml.safe_load(block.text)
    real = yaml.safe_load((REPOSITORY / "projects" / "classify_mnist" / "task" / "fnn.yaml").read_text())
    assert [entry for entry in shown.pop("defaults") if entry not in real["defaults"]] == []
    assert set(leaves(shown)) <= set(leaves({**real, "defaults": None}))


def test_no_block_has_a_language_that_is_not_tried() -> None:
    found = {block.language for document in DOCUMENTS for block in blocks(document)}
    assert found == {"bash", "python", "sh", "text", "yaml"}  # `sh`: see tests/containers/commands_test.py.


# -------------------------------------------------------------------------------------------------------- tutorial


@pytest.mark.slow
@pytest.mark.parametrize("words", commands(TUTORIAL), ids=shlex.join)
def test_tutorial_command_works(words: list[str], scratch: Path, shell: Shell) -> None:
    result = shell(words, scratch)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_tutorial_task_learns_what_the_guide_promises(scratch: Path) -> None:
    """Looks at what the tutorial's first command left; it runs before this."""
    promised = re.search(r"test accuracy ends above (\d\.\d+)", read("GUIDE.md"))
    assert promised is not None
    (folder,) = (scratch / "data" / "two_moons" / "mlp").iterdir()
    assert read_metrics(folder)[-1]["test/accuracy"] > float(promised.group(1))
    assert (folder / "decision.png").stat().st_size > 10_000


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nothing_names_a_registry_or_somebodys_machine(document: str) -> None:
    assert re.findall(r"pypi|download\.pytorch|/tmp/|/work/|/home/", read(document)) == []
