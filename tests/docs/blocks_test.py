"""The Python and YAML that README.md and GUIDE.md show runs."""

from typing import Any

import pytest
import yaml

from common.utils.hydra import leaves
from tests.docs.conftest import FinishedRun
from tests.docs.markdown import DOCUMENTS, REPOSITORY, TUTORIAL, Block, all_blocks, blocks


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
