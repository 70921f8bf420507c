"""Takes README.md and GUIDE.md apart: code blocks, tables, what stands in backticks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "GUIDE.md")
TUTORIAL = "Adding a project"
CLUSTER = "SLURM"

KEY = re.compile(
    r"(config|trainer|datamodule|litmodule|logger|callbacks|hydra|algorithm|evaluator|population)(\.\w+)+(=.*)?"
)
"""A key of the configuration, alone or with a value."""

FILE = re.compile(r"[\w./-]+\.(py|md|yaml|toml|txt|csv|json|npz|png|ckpt|log)")
"""A file's name or path."""


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        document: The file it stands in.
        line: The line of its first character, from 1.
        chapter: The last heading of level 2 before it.
        language: What is written behind the fence.
        text: Its content.
        path: The file that it is the content of: named in backticks, with a colon, in the line before.
    """

    document: str
    line: int
    chapter: str
    language: str
    text: str
    path: str | None

    @property
    def name(self) -> str:
        """Where it stands, for a test's name."""
        return f"{self.document}:{self.line}"


@cache
def read(document: str) -> str:
    """Returns a document's text."""
    return (REPOSITORY / document).read_text()


@cache
def blocks(document: str) -> tuple[Block, ...]:
    """Returns a document's code blocks."""
    return tuple(_blocks(document))


def _blocks(document: str) -> Iterator[Block]:
    chapter, before = "", ""
    current: Block | None = None
    for number, line in enumerate(read(document).splitlines(), start=1):
        if current is not None and line == "```":
            yield current
            current = None
        elif current is not None:
            current = replace(current, text=f"{current.text}{line}\n")
        elif line.startswith("```"):
            named = re.fullmatch(r"`([^`]+)`:", before)
            path = named.group(1) if named else None
            current = Block(document, number + 1, chapter, line.removeprefix("```"), "", path)
        elif line.startswith("## "):
            chapter = line.removeprefix("## ")
        if line.strip():
            before = line
    assert current is None, f"{document} ends within a code block."


def all_blocks(language: str) -> list[Block]:
    """Returns the code blocks of one language in all documents."""
    return [block for document in DOCUMENTS for block in blocks(document) if block.language == language]


def commands(chapter: str | None = None) -> list[list[str]]:
    """Returns the words of each shell command that a bash block shows, without repetitions.

    Args:
        chapter: The chapter; None stands for all that need neither the tutorial's project nor a cluster.
    """
    found: dict[tuple[str, ...], None] = {}
    for block in all_blocks("bash"):
        if block.chapter == chapter or (chapter is None and block.chapter not in (TUTORIAL, CLUSTER)):
            found.update((tuple(shlex.split(line)), None) for line in block.text.splitlines())
    return [list(words) for words in found]


def table(document: str, header: str) -> list[list[str]]:
    """Returns the cells of the rows of the table whose first column has a header."""
    lines = read(document).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def in_backticks(text: str) -> list[str]:
    """Returns what stands in single backticks, code blocks aside."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def words_in_backticks() -> list[tuple[str, str]]:
    """Returns what stands in single backticks, without repetitions, each with its document."""
    return [(document, word) for document in DOCUMENTS for word in dict.fromkeys(in_backticks(read(document)))]
