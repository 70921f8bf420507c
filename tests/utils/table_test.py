"""Tables show what they are given."""

from rich.console import Console

from common.utils.table import make_table


def test_brackets_are_shown_and_no_markup() -> None:
    console = Console(width=60)
    with console.capture() as capture:
        console.print(make_table("key", "#value", rows=[["activation", "[relu]"]]))
    assert "[relu]" in capture.get()
