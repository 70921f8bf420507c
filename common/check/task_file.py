"""Reads a task file before Hydra does: whether it can be a task at all, and on which line each key stands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common.check.hydra_node import ALLOWED, OPEN_PARTS, key_is_open
from common.check.tree import join
from common.errors import ConfigError
from common.utils.text import short, shown

MOST_BYTES = 1_000_000

MOST_VALUES = 100_000
"""Aliases that repeat each other make billions of values of a few lines."""

DEEPEST = 60

STRING = "tag:yaml.org,2002:str"
NULL = "tag:yaml.org,2002:null"


@dataclass
class TaskFile:
    """A task file, and the files that its defaults bring in.

    Attributes:
        path: The file.
        lines: The line on which each of its keys is set.
        choices: What its defaults choose of each group, and the line.
        others: The files that its defaults name, in their order.
    """

    path: Path
    lines: dict[str, int]
    choices: dict[str, tuple[str, int]] = field(default_factory=dict)
    others: list["TaskFile"] = field(default_factory=list)

    def place_of(self, key: str) -> str | None:
        """Returns the file and the line where a key is set; None where it is not."""
        if key in self.lines:
            return f"{self.path}, line {self.lines[key]}"
        found = (other.place_of(key) for other in reversed(self.others))
        return next((place for place in found if place is not None), None)

    def choice_of(self, group: str) -> tuple[str | None, str]:
        """Returns what the defaults choose of a group, None where they leave it, and where."""
        for file in (self, *reversed(self.others)):
            if group in file.choices:
                name, line = file.choices[group]
                return name, f"{file.path}, line {line}"
        return None, ""


def read_task_file(path: Path, seen: tuple[Path, ...] = ()) -> TaskFile:
    """Reads a file, and those of the project that its defaults name.

    Args:
        path: The file.
        seen: The files that lead to it.

    Raises:
        ConfigError: it is no text in UTF-8, no YAML, or no mapping that Hydra could compose.
    """
    if path in seen:
        raise ConfigError(f"{path}: its defaults lead back to itself, by {' → '.join(one.name for one in seen)}.")
    root = _parsed(path)
    package = re.search(rb"^#\s*@package\s+(\S+)", path.read_bytes(), re.MULTILINE)
    if package is not None and not key_is_open(package[1].decode()):
        raise ConfigError(f"{path}: the package {package[1].decode()} is not allowed. {ALLOWED}")
    if root is None:
        return TaskFile(path, {})
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}, line {_line(root)}: a task file holds keys and values, as in `trainer:`.")
    lines = dict(_lines(path, root))
    for key, value in root.value:
        if key.tag != STRING:
            raise ConfigError(f"{path}, line {_line(key)}: the key {shown(key.value)} is no text. Write it in quotes.")
        if key.value == "hydra":
            _check_hydra(path, value)
    named = list(_named_by_defaults(path, root))
    choices = {group: (name, line) for group, name, line in named if group}
    files = (_file_of(path, group, name) for group, name, _ in named)
    others = [read_task_file(file, (*seen, path)) for file in files if file.is_file()]
    return TaskFile(path, lines, choices, others)


def _parsed(path: Path) -> Any:
    """Returns the root of a file's YAML nodes, None for a file without any."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path} has {len(content):,} bytes: a task file has at most {MOST_BYTES:,}.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: this is not text in UTF-8. Save the file in that encoding.") from error
    if text[:1] == "\ufeff":
        raise ConfigError(f"{path}, line 1: a byte order mark stands before the text. Save the file without it.")
    if "\0" in text:
        raise ConfigError(f"{path}: this is not text in UTF-8. Save the file in that encoding.")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(describe_yaml_error(error, path)) from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply: at most {DEEPEST} levels.") from error


def describe_yaml_error(error: yaml.YAMLError, path: Path | None = None) -> str:
    """Returns where and why a file is no YAML."""
    mark: Any = getattr(error, "problem_mark", None)
    place = str(path or (mark.name if mark is not None else "a task file"))
    line = f", line {mark.line + 1}" if mark is not None else ""
    problem: Any = getattr(error, "problem", None)
    return f"{place}{line} is not valid YAML: {short(str(problem or error), 200)}"


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _lines(path: Path, root: Any) -> Iterator[tuple[str, int]]:
    """Yields each key of a file with its line; anchors are followed as YAML means them."""
    pending: list[tuple[str, Any, tuple[int, ...]]] = [("", root, ())]
    for _ in range(MOST_VALUES):
        if not pending:
            return
        key, node, above = pending.pop()
        if id(node) in above:
            raise ConfigError(f"{path}, line {_line(node)}: {key or 'the file'} holds itself, by an alias.")
        if len(above) > DEEPEST:
            raise ConfigError(f"{path}, line {_line(node)}: it is nested too deeply, more than {DEEPEST} levels.")
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                place = join(key, name.value if isinstance(name, yaml.ScalarNode) else "?")
                yield place, _line(name)
                pending.append((place, value, inside))
        elif isinstance(node, yaml.SequenceNode):
            pending += [(f"{key}[{index}]", item, inside) for index, item in enumerate(node.value)]
    raise ConfigError(f"{path}: it has more than {MOST_VALUES:,} values, its aliases followed.")


def _check_hydra(path: Path, node: Any) -> None:
    """Raises if a file sets something of Hydra's own that is not open."""
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}, line {_line(node)}: hydra must hold launcher or sweeper. Or leave it out.")
    for name, value in node.value:
        if name.value not in OPEN_PARTS:
            raise ConfigError(f"{path}, line {_line(name)}: hydra.{short(str(name.value))} is not allowed. {ALLOWED}")
        if not isinstance(value, yaml.MappingNode):
            raise ConfigError(
                f"{path}, line {_line(name)}: hydra.{name.value} must hold keys and values; another one is chosen in "
                f"the defaults: `- override /hydra/{name.value}: <name>`."
            )


def _named_by_defaults(path: Path, root: Any) -> Iterator[tuple[str, str, int]]:
    """Yields the group, the choice and the line of everything that a file's defaults name."""
    defaults = next((value for key, value in root.value if key.value == "defaults"), None)
    if defaults is None:
        return
    if not isinstance(defaults, yaml.SequenceNode):
        raise ConfigError(f"{path}, line {_line(defaults)}: defaults must be a list, each item on a line with a dash.")
    for item in defaults.value:
        yield from _named(path, item)


def _named(path: Path, item: Any) -> Iterator[tuple[str, str, int]]:
    """Yields what an item of the defaults names; another file beside this one is of no group."""
    where = f"{path}, line {_line(item)}"
    form = "an item of defaults is the name of another task, or `/<group>: <name>`"
    if isinstance(item, yaml.ScalarNode):
        if item.tag != STRING:
            raise ConfigError(f"{where}: {form}, and {shown(item.value)} is neither.")
        if item.value != "_self_":
            yield "", item.value, _line(item)
        return
    if not isinstance(item, yaml.MappingNode) or len(item.value) != 1:
        raise ConfigError(f"{where}: {form}. Give one to a line.")
    key, value = item.value[0]
    words = re.sub(r"^(override|optional)\s+", "", str(key.value).strip())
    group, _, package = words.lstrip("/").partition("@")
    if not (key_is_open(group) and key_is_open(package)):
        raise ConfigError(f"{where}: {short(words)} is not allowed. {ALLOWED}")
    for choice in value.value if isinstance(value, yaml.SequenceNode) else [value]:
        if not isinstance(choice, yaml.ScalarNode) or choice.tag not in (STRING, NULL):
            received = shown(getattr(choice, "value", None) if isinstance(choice, yaml.ScalarNode) else "a mapping")
            raise ConfigError(f"{where}: {short(words)}: {received} is not the name of a choice.")
        if choice.tag == STRING:
            yield group, choice.value, _line(item)


def _file_of(path: Path, group: str, name: str) -> Path:
    """Returns the file of the project that a choice would be read from."""
    project = next((folder.parent for folder in path.parents if folder.name == "task"), path.parent)
    place = (project / group if group else path.parent) / name.lstrip("/")
    return place if place.suffix == ".yaml" else place.with_name(f"{place.name}.yaml")
