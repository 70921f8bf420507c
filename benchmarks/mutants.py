"""Small mutations of Python code, as replaced pieces of its text.

Each is one slip that a person could make: `<` for `<=`, a constant one too large, a forgotten keyword. What nobody's
tests could see is left alone: documentation, annotations, texts, assertions, imports for the type checker.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
FUNCTIONS = {"max": "min", "min": "max", "any": "all", "all": "any", "sorted": "list", "maximum": "minimum"}
FUNCTIONS |= {"minimum": "maximum", "argmax": "argmin", "startswith": "endswith", "endswith": "startswith"}
LEFT_ALONE = (ast.Import, ast.ImportFrom, ast.Assert, ast.JoinedStr)
NEVER_SWAPPED = ("isinstance", "issubclass", "getattr", "hasattr", "setattr")
"""Nobody confuses what these are given: every call would fail."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutant:
    """A file with one slip.

    Attributes:
        path: The file, relative to the repository.
        line: Where the slip is, from 1.
        kind: What was changed, for example `compare`.
        scope: The qualified name of the function around it; empty in a module's or a class's own body.
        is_in_body: Whether it is in that function's body, and not in its decorators or default values.
        start: The first byte that is replaced.
        end: The one after the last.
        text: What stands there instead.
    """

    path: str
    line: int
    kind: str
    scope: str
    is_in_body: bool
    start: int
    end: int
    text: str

    def applied_to(self, source: bytes) -> bytes:
        """Returns the file's content with the slip."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """Returns every mutant of a file that is Python."""
    source = path.read_bytes()
    starts = [0]
    for row in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(row))
    found = []
    tree = ast.parse(source)
    outside = _outside_bodies(tree)
    for node, kind, text, scope in _slips(tree, ""):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        is_in_body = bool(scope) and node not in outside
        mutant = Mutant(str(path.relative_to(root)), node.lineno, kind, scope, is_in_body, start, end, text)
        if _parses(mutant.applied_to(source)):
            found.append(mutant)
    return found


def _outside_bodies(tree: ast.Module) -> set[ast.AST]:
    """Returns what lies in decorators and default values, which are evaluated where a function is defined."""
    functions = [node for node in ast.walk(tree) if isinstance(node, Function | ast.ClassDef)]
    heads = [head for function in functions for head in function.decorator_list]
    for function in functions:
        if isinstance(function, Function):
            heads += [default for default in (*function.args.defaults, *function.args.kw_defaults) if default]
    return {node for head in heads for node in ast.walk(head)}


def _parses(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _slips(node: ast.AST, scope: str, within: str = "") -> Iterator[tuple[ast.expr | ast.stmt, str, str, str]]:
    """Yields the node that is replaced, the kind of slip, the text that replaces it, and the scope.

    Args:
        node: Walked with all below it.
        scope: The qualified name of the innermost function around it.
        within: The prefix of qualified names here.
    """
    if isinstance(node, Function | ast.ClassDef):
        name = f"{within}{node.name}"
        inner = name if isinstance(node, Function) else scope
        for decorator in node.decorator_list:
            yield decorator, "decorator", "(lambda decorated: decorated)", inner
        defaults = [*node.args.defaults, *node.args.kw_defaults] if isinstance(node, Function) else []
        for child in [default for default in defaults if default is not None]:
            yield from _slips(child, inner, within)
        prefix = f"{name}.<locals>." if isinstance(node, Function) else f"{name}."
        for child in node.body:
            yield from _slips(child, inner, prefix)
        return
    if _is_left_alone(node):
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield from ((node, kind, text, scope) for kind, text in _replacements(node))
    for child in [] if isinstance(node, ast.Raise) else ast.iter_child_nodes(node):
        if not (isinstance(node, ast.AnnAssign) and child is node.annotation):
            yield from _slips(child, scope, within)


def _is_left_alone(node: ast.AST) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    is_type = isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Literal", "Callable", "Annotated")
    return isinstance(node, LEFT_ALONE) or is_text or is_for_types or is_type


def _replacements(node: ast.expr | ast.stmt) -> Iterator[tuple[str, str]]:
    """Yields kinds of slips and the text that stands there then; parentheses keep what is around as it was."""
    match node:
        case ast.Compare(left, [operator], [right]) if type(operator) in COMPARISONS:
            yield "compare", f"({ast.unparse(ast.Compare(left, [COMPARISONS[type(operator)]()], [right]))})"
        case ast.BinOp(left, operator, right) if type(operator) in OPERATIONS and not _has_text(left, right):
            yield "arithmetic", f"({ast.unparse(ast.BinOp(left, OPERATIONS[type(operator)](), right))})"
        case ast.BoolOp(operator, values):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield "and, or", f"({ast.unparse(ast.BoolOp(other, values))})"
            if len(values) > 2:
                yield "condition left out", f"({ast.unparse(ast.BoolOp(operator, values[:-1]))})"
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield "not, minus", f"({ast.unparse(operand)})"
        case ast.IfExp(test, body, orelse):
            yield "branches swapped", f"({ast.unparse(ast.IfExp(test, orelse, body))})"
        case ast.Constant(bool() as value):
            yield "constant", repr(not value)
        case ast.Constant(int() as value):
            yield "constant", f"{value + 1}"
            if value not in (0, 1):
                yield "constant", f"{value - 1}"
        case ast.Constant(float() as value):
            yield "constant", f"{value * 2 if value else 1.0}"
        case ast.Call():
            yield from _changed_calls(node)
        case ast.Slice(lower, upper, step):
            if lower is not None:
                yield "slice", ast.unparse(ast.Slice(None, upper, step))
            if upper is not None:
                yield "slice", ast.unparse(ast.Slice(lower, None, step))
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp() if node.generators[0].ifs:
            yield "filter left out", _without_filter(node)
        case ast.Break():
            yield "break, continue", "continue"
        case ast.Continue():
            yield "break, continue", "break"
        case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", "return None"
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Delete() | ast.Raise():
            yield "statement left out", "pass"
        case ast.Assign([ast.Attribute() | ast.Subscript(), *_]):
            yield "statement left out", "pass"
        case ast.If(ast.expr() as test) if not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp):
            text = ast.unparse(ast.If(ast.UnaryOp(ast.Not(), test), node.body, node.orelse))
            yield "condition turned", text.replace("\n", "\n" + " " * node.col_offset)


def _has_text(*operands: ast.expr) -> bool:
    """Whether an operand is a text or a list, which no operator but its own goes with."""
    kinds = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp, ast.Dict)
    return any(isinstance(side, kinds) or isinstance(getattr(side, "value", None), str) for side in operands)


def _changed_calls(call: ast.Call) -> Iterator[tuple[str, str]]:
    for keyword in call.keywords:
        others = [other for other in call.keywords if other is not keyword]
        yield "keyword left out", ast.unparse(ast.Call(call.func, call.args, others))
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    if len(call.args) > 1 and not starred and ast.unparse(call.func) not in NEVER_SWAPPED:
        swapped = [call.args[1], call.args[0], *call.args[2:]]
        if ast.dump(swapped[0]) != ast.dump(swapped[1]):
            yield "arguments swapped", ast.unparse(ast.Call(call.func, swapped, call.keywords))
    match call.func:
        case ast.Name(name) if name in FUNCTIONS:
            yield "function", ast.unparse(ast.Call(ast.Name(FUNCTIONS[name]), call.args, call.keywords))
        case ast.Attribute(value, name) if name in FUNCTIONS and name != "sorted":
            yield "function", ast.unparse(ast.Call(ast.Attribute(value, FUNCTIONS[name]), call.args, call.keywords))


def _without_filter(node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> str:
    first, *others = node.generators
    bare = ast.comprehension(first.target, first.iter, first.ifs[:-1], first.is_async)
    kept = [bare, *others]
    if isinstance(node, ast.DictComp):
        return ast.unparse(ast.DictComp(node.key, node.value, kept))
    return ast.unparse(type(node)(node.elt, kept))
