"""README.md and GUIDE.md state the groups, choices, keys and defaults that are registered."""

import re
from typing import Any

import pytest
import yaml
from hydra_zen import ZenStore
from omegaconf import DictConfig, OmegaConf

from common.dl.config import DeepLearningTaskConfig
from common.ne.config import NeuroevolutionTaskConfig
from common.ne.runner import NeuroevolutionTaskRunner
from common.utils.hydra_zen import destructure
from projects.classify_mnist.train import TaskRunner
from tests.docs.markdown import FILE, KEY, REPOSITORY, in_backticks, table, words_in_backticks

INTERNAL_GROUPS = ("hydra", "hydra/job_logging", "hydra/hydra_logging")
"""Groups with nothing to choose."""


CHOICE = re.compile(r"([a-z_]+(?:/[a-z_]+)*)=([a-z_0-9]+)")


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
            assert group not in defaults


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
