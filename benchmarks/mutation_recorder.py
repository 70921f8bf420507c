"""Writes down which functions each test enters, in its own process and in all that it starts.

`mutations.py` lets every function that may be mutated call `note` first, in a copy. A function is written once for each
test and process, at once, so that a killed process has told all it did.
"""

import ast
import os

RECORD, TEST = "MUTATIONS_RECORD", "MUTATIONS_TEST"
"""Environment variables: the file to append to, and the test that runs."""

_noted: set[tuple[str, str]] = set()


def note(function: str) -> None:
    """Writes down that the test that runs has entered a function."""
    test, path = os.environ.get(TEST), os.environ.get(RECORD)
    if test is None or path is None or (test, function) in _noted:
        return
    _noted.add((test, function))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{test}\t{function}\n".encode())
    os.close(descriptor)


def noting(source: str, path: str) -> str:
    """Returns a module whose functions call `note`."""
    rows = source.splitlines(keepends=True)
    calls = sorted(_calls(ast.parse(source), path, ""), reverse=True)
    for row, column, call in calls:
        rows.insert(row, f"{' ' * column}{call}\n")
    return "".join(rows)


def _calls(node: ast.AST, path: str, within: str) -> list[tuple[int, int, str]]:
    """Returns the row, from 0, the column and the text of each call to insert."""
    found = []
    for child in ast.iter_child_nodes(node):
        inner = within
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{within}{child.name}."
        if isinstance(child, ast.FunctionDef):
            first = child.body[1] if len(child.body) > 1 and _is_text(child.body[0]) else child.body[0]
            decorators = getattr(first, "decorator_list", [])
            row = min(statement.lineno for statement in (first, *decorators)) - 1
            name = f"{within}{child.name}"
            call = f"__import__('{__name__}', fromlist=['note']).note({f'{path}:{name}'!r})"
            if row >= child.lineno and not _is_text(first):
                found.append((row, first.col_offset, call))
            inner = f"{name}.<locals>."
        found += _calls(child, path, inner)
    return found


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
