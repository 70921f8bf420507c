"""Measures the plan of the house: who imports whom, over how many floors, and what lies in folders that say nothing.

    python benchmarks/structure.py

Imports inside functions count like others; those for type checkers alone do not. Tests are left out.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("common", "projects", "hydra_plugins")
ENGINE_KEYS = ("trainer", "litmodule", "datamodule", "evaluator", "population", "algorithm")
"""Top-level keys that only the engines know."""


def modules() -> dict[str, Path]:
    """Returns the path of each module by its dotted name."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if not path.name.endswith("_test.py"):
                parts = path.relative_to(REPOSITORY).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path, known: set[str]) -> set[str]:
    """Returns the modules of this repository that a file imports."""
    found = set()
    for node in _walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return found & known


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Returns the groups of modules that import each other, directly or through others."""
    reach = {name: _reached_from(name, graph) for name in graph}
    groups = [frozenset(other for other in reach[name] if name in reach[other]) for name in graph]
    return [set(group) for group in dict.fromkeys(groups) if group]


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """Returns the longest chain of imports that begins with a project."""

    @cache
    def chain(name: str) -> tuple[str, ...]:
        return (name, *max((chain(other) for other in graph[name]), key=len, default=()))

    return list(max((chain(name) for name in graph if name.startswith("projects.")), key=len))


def figures() -> dict[str, str]:
    """Returns each figure by what it measures."""
    paths = modules()
    graph = {name: imports_of(path, set(paths)) - {name} for name, path in paths.items()}
    found = circles(graph)
    open_graph = {name: others - next((c for c in found if name in c), set()) for name, others in graph.items()}
    packages = {name for name, path in paths.items() if path.name == "__init__.py"}
    importers = {name: [other for other in graph if name in graph[other]] for name in paths if name not in packages}
    single = [name for name, others in importers.items() if len(others) == 1]
    chain = longest_chain(open_graph)
    lines = {name: len(path.read_text().splitlines()) for name, path in paths.items()}
    utils = [name for name in paths if ".utils" in name]
    shared = [name for name, path in paths.items() if is_shared(name) and spells_engine_key(path)]
    launch = [name for name in paths if name.startswith("common.launch") and name not in packages]
    here = [name for name in launch if name.count(".") == 2]
    return {
        "files, lines of common/": f"{len([n for n in paths if n.startswith('common')])}, "
        f"{sum(count for name, count in lines.items() if name.startswith('common'))}",
        "files of common/launch, most in one folder": f"{len(launch)}, {len(here)}",
        "import circles": f"{len(found)} {[sorted(circle) for circle in found] if found else ''}".strip(),
        "longest import chain": f"{len(chain)} ({' > '.join(chain)})",
        "files with one importer": f"{len(single)} of {len(importers)} ({len(single) / len(importers):.0%})",
        "lines in folders called utils": str(sum(lines[name] for name in utils)),
        "shared files that spell an engine's key": f"{len(shared)} {shared or ''}".strip(),
    }


def is_shared(name: str) -> bool:
    """Returns whether a module serves both engines, and therefore knows the keys of none."""
    parts = name.split(".")
    return parts[0] == "common" and (len(parts) < 2 or parts[1] not in ("dl", "ne"))


def spells_engine_key(path: Path) -> bool:
    """Returns whether a string in a file, documentation apart, names a key of an engine."""
    tree = ast.parse(path.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]
    return any(text == key or text.startswith(f"{key}.") for text in texts for key in ENGINE_KEYS)


def _reached_from(name: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        for other in graph[waiting.pop()]:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Walks a tree without what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _walk(child)


def main() -> int:
    """Prints the figures."""
    for name, figure in figures().items():
        print(f"{name:45} {figure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
