"""Finds functions whose annotations name shapes that nothing checks."""

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
KINDS = ("Float", "Float32", "Float64", "Int", "Int64", "UInt8", "UInt64", "Bool", "Shaped", "Num", "Integer")


def unchecked(folder: str) -> list[str]:
    """Returns the functions of a folder with a shape in their signature and no `@shape_checked`."""
    found = []
    for file in sorted((REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and _has_shape(node) and not _is_checked(node):
                found.append(f"{file.relative_to(REPOSITORY)}: {node.name}")
    return found


def _has_shape(function: ast.FunctionDef) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    hints = [hint for hint in (function.returns, *(one.annotation for one in arguments)) if hint is not None]
    names = [node for hint in hints for node in ast.walk(hint) if isinstance(node, ast.Subscript)]
    return any(isinstance(node.value, ast.Name) and node.value.id in KINDS for node in names)


def _is_checked(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "shape_checked" for decorator in function.decorator_list)
