"""Proves by the syntax trees of all files that imports go one way and that tensor functions check shapes.

Each checker is itself tried on sources that break its rule.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = [
    path for part in ("common", "projects", "hydra_plugins") for path in sorted((REPOSITORY / part).rglob("*.py"))
]
MODULES = [path.relative_to(REPOSITORY).as_posix() for path in SOURCES]


@cache
def parsed(source: str) -> tuple[ast.AST, ...]:
    """Returns every node of a source's syntax tree."""
    return tuple(ast.walk(ast.parse(source)))


def imported_modules(source: str, file: str) -> Iterator[str]:
    """Yields every module that a source imports, at any depth, as an absolute dotted name."""
    package = file.removesuffix(".py").removesuffix("/__init__").split("/")
    for node in parsed(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            is_package = file.endswith("__init__.py")
            base = package[: len(package) - node.level + is_package] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__"):
                yield str(node.args[0].value)


def is_below(name: str, module: str) -> bool:
    """Whether a dotted name is a module, or lies below it."""
    return name == module or name.startswith(f"{module}.")


def forbidden_for(file: str) -> tuple[str, ...]:
    """Returns what a file must not import: `projects` → `common.dl` or `common.ne` → `common`."""
    if file.startswith("common/dl/"):
        return ("common.ne", "projects")
    if file.startswith("common/ne/"):
        return ("common.dl", "projects")
    if file.startswith(("common/", "hydra_plugins/")):
        return ("common.dl", "common.ne", "projects")
    return ()


def import_violations(source: str, file: str) -> list[str]:
    """Returns the imports of a file that go the wrong way."""
    own_project = ".".join(Path(file).parts[:2]).removesuffix(".py")
    wrong = []
    for name in imported_modules(source, file):
        is_other_project = (
            file.startswith("projects/") and is_below(name, "projects") and not is_below(name, own_project)
        )
        is_forbidden = any(is_below(name, module) for module in forbidden_for(file))
        if is_other_project or is_forbidden or is_below(name, "lightning"):
            wrong.append(name)
    return wrong


def relative_imports(source: str) -> list[int]:
    """Returns the lines of relative imports, which die where a file is run as a script."""
    return [node.lineno for node in parsed(source) if isinstance(node, ast.ImportFrom) and node.level]


def unchecked_functions(source: str) -> list[str]:
    """Returns the functions whose annotations have jaxtyping shapes but which lack `@shape_checked`."""
    nodes = parsed(source)
    shape_types = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
        for alias in node.names
    }
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [
        function.name
        for function in functions
        if shape_types & _names_in_annotations(function) and not any(map(_is_shape_checked, function.decorator_list))
    ]


def _names_in_annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [argument.annotation for argument in every if argument is not None] + [function.returns]
    return {
        node.id
        for annotation in annotations
        if annotation is not None
        for node in ast.walk(annotation)
        if isinstance(node, ast.Name)
    }


def _is_shape_checked(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "shape_checked"


def test_there_are_files_to_judge() -> None:
    expected = {"common/runner.py", "common/dl/train.py", "common/ne/evolve.py", "projects/classify_mnist/train.py"}
    assert expected | {"projects/ne_control_score/train.py"} <= set(MODULES)


@pytest.mark.parametrize("file", MODULES)
def test_imports_go_one_way(file: str) -> None:
    assert import_violations((REPOSITORY / file).read_text(), file) == []


@pytest.mark.parametrize("file", [file for file in MODULES if file.startswith("projects/")])
def test_projects_import_absolutely(file: str) -> None:
    assert relative_imports((REPOSITORY / file).read_text()) == []


@pytest.mark.parametrize("file", MODULES)
def test_functions_with_shapes_check_them(file: str) -> None:
    assert unchecked_functions((REPOSITORY / file).read_text()) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("common/x.py", "import projects.p.train"),
        ("common/dl/x.py", "from projects import p"),
        ("common/dl/x.py", "from common.ne.evolve import evolve"),
        ("common/dl/x.py", "from common import ne"),
        ("common/dl/x.py", "from ..ne import evolve"),
        ("common/ne/x.py", "import common.dl"),
        ("common/ne/evaluator/x.py", "from common.dl.random_states import seed_everything"),
        ("common/ne/x.py", "from projects.ne_control_score import train"),
        ("common/run/x.py", "from common.ne.evolve import evolve"),
        ("common/run/x.py", "from common.dl.train import train"),
        ("common/x.py", "from common import dl"),
        ("common/x.py", "from . import ne"),
        ("common/__init__.py", "from .dl import train"),
        ("common/x.py", "def f():\n    from common.dl import train"),
        ("common/x.py", "if TYPE_CHECKING:\n    import common.ne.config"),
        ("common/x.py", "import importlib\nimportlib.import_module('common.dl')"),
        ("hydra_plugins/ai_research/x.py", "import common.dl"),
        ("projects/p/train.py", "from projects.q.litmodule import Q"),
        ("projects/p/train.py", "from projects import q"),
        ("projects/p/train.py", "class C:\n    def f(self):\n        import projects.q"),
        ("projects/p/train.py", "import lightning"),
        ("common/dl/x.py", "from lightning.pytorch import Trainer"),
    ],
)
def test_the_import_checker_finds(file: str, source: str) -> None:
    assert import_violations(source, file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("projects/p/train.py", "from common.dl.runner import DeepLearningTaskRunner"),
        ("projects/p/train.py", "from projects.p.litmodule import P"),
        ("common/dl/x.py", "from common.utils.beartype import ge"),
        ("common/dl/x.py", "import pytorch_lightning, lightning_fabric"),
        ("common/dl/x.py", "from common.dlx import f"),
    ],
)
def test_the_import_checker_lets_through(file: str, source: str) -> None:
    assert import_violations(source, file) == []


def test_the_checker_of_relative_imports_finds() -> None:
    assert relative_imports("def f():\n    from .litmodule import P") == [2]


HEADER = "from jaxtyping import Float\nfrom torch import Tensor\n"


@pytest.mark.parametrize(
    "source",
    [
        "def f(x: Float[Tensor, 'B']) -> None: ...",
        "def f(x) -> Float[Tensor, 'B']: ...",
        "def f(x: tuple[int, Float[Tensor, 'B'] | None]) -> None: ...",
        "def f(*x: Float[Tensor, 'B']) -> None: ...",
        "class C:\n    def f(self, *, x: Float[Tensor, 'B']) -> None: ...",
        "@cache\ndef f(x: Float[Tensor, 'B']) -> None: ...",
    ],
)
def test_the_shape_checker_finds(source: str) -> None:
    assert unchecked_functions(HEADER + source) == ["f"]


@pytest.mark.parametrize(
    "source",
    ["@shape_checked\ndef f(x: Float[Tensor, 'B']) -> None: ...", "def f(x: Tensor) -> None: ...", "def f(x): ..."],
)
def test_the_shape_checker_lets_through(source: str) -> None:
    assert unchecked_functions(HEADER + source) == []
