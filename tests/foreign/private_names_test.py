"""Private names of other packages are used in `common/foreign` alone, a file for each package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOREIGN = REPOSITORY / "common" / "foreign"
OWN = {"common", "projects", "hydra_plugins"}

PUBLIC = {
    "_exit": "os._exit is documented",
    "_getvalue": "Numba documents it for extensions",
    "_target_": "Hydra's key",
}
"""Names that begin with an underscore, and why they are public all the same."""


def own_names(trees: list[ast.Module]) -> set[str]:
    """Returns the names of functions, classes, variables and attributes that this repository's own code defines."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def private_names(tree: ast.Module, own: set[str]) -> Iterator[tuple[int, str]]:
    """Yields the line and the name of each private name of another package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = (getattr(node, "module", None) or "").split(".")
            parts = [*module, *(part for alias in node.names for part in alias.name.split("."))]
            if parts[0] not in OWN and module[0] not in OWN:
                yield from ((node.lineno, part) for part in parts if _is_private(part))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_self(node.value):
            yield from [(node.lineno, node.attr)] if node.attr not in own | PUBLIC.keys() else []


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_private_names_of_other_packages_are_used_in_their_place_alone() -> None:
    paths = [path for folder in sorted(OWN) for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    trees = {path: ast.parse(path.read_text()) for path in paths if not path.name.endswith("_test.py")}
    own = own_names(list(trees.values()))
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {name}"
        for path, tree in trees.items()
        if not path.is_relative_to(FOREIGN)
        for line, name in private_names(tree, own)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "from hydra._internal import hydra",
        "import torch._dynamo",
        "from lightning_fabric.utilities.distributed import _distributed_is_initialized",
        "trainer._signal_connector.teardown()",
        "print(result._return_value)",
    ],
)
def test_a_private_name_would_be_found(code: str) -> None:
    assert len(list(private_names(ast.parse(code), set()))) == 1


def test_each_file_says_for_which_versions_it_was_read() -> None:
    for path in sorted(FOREIGN.glob("[!_]*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert path.stem == "import_hooks" or any(character.isdigit() for character in text), path.name
