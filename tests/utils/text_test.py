"""What people read does nothing to their terminals."""

import pytest
from rich.console import Console

from common.check.problem import without_error_names
from common.cli.output import facts_table
from common.utils.table import make_table
from common.utils.text import printable, short, shown

HOSTILE = ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "a\x08b", "\x9b2J", "\u202etxt", "\x00"]


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_control_characters_are_shown_escaped(text: str) -> None:
    for said in (printable(text), short(text), shown(text)):
        assert said.isprintable()
        assert "\\" in said
    assert printable("two\nlines\tand → more") == "two\nlines\tand → more"


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_tables_show_text_from_files_escaped(text: str) -> None:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(make_table("name", rows=[[text]]))
        console.print(facts_table({"command": f"{text} [red]no mark-up[/red]"}))
    assert not any(character in captured.get() for character in "\x1b\x07\x08\x9b\u202e\x00\r")
    assert "[red]no mark-up[/red]" in captured.get()


def test_a_value_is_cut_and_one_that_holds_itself_is_named() -> None:
    assert len(shown("x" * 1000)) == 100
    assert shown("x" * 1000).endswith("x…")
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("KeyError raised while resolving interpolation: no 'X'", "no 'X'"),
        ("TypeError while evaluating 'tag(a)': mismatch", "mismatch"),
        ("ValueError: Invalid", "Invalid"),
        ("no error here", "no error here"),
    ],
)  # fmt: skip
def test_names_of_python_s_errors_are_left_out(text: str, said: str) -> None:
    assert without_error_names(text) == said
