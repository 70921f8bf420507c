"""Writes durations, numbers, names and values as people read them."""

import re
from collections.abc import Iterable
from typing import Any

CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""What moves the cursor, colours, or turns the direction of writing; line feeds and tabs are none."""


def duration_text(seconds: float | None) -> str:
    """Returns a duration in the two largest units that it has."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    hours = whole // 3600
    return f"{hours} h {whole % 3600 // 60:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def number_text(value: float) -> str:
    """Returns a number with four digits that count."""
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Returns for each dotted key its shortest ending that no other key has."""
    whole = list(dict.fromkeys(keys))
    names = {}
    for key in whole:
        parts = key.split(".")
        endings = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        names[key] = next(
            ending
            for ending in endings
            if ending == key
            or not any(other.endswith(f".{ending}") or other == ending for other in whole if other != key)
        )
    return names


def shortened(text: str, length: int) -> str:
    """Returns a text cut off at a length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: str) -> str:
    """Returns a text in which no character but line feeds and tabs does anything to a terminal: others are escaped."""
    return CONTROL_CHARACTERS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shown(value: Any, length: int = 100) -> str:
    """Returns a value as an error shows it: as Python writes it, on one line, and cut off at a length."""
    try:
        text = repr(value)
    except RecursionError:  # It holds itself, or is nested too deeply.
        text = f"a {type(value).__name__}"
    return short(text, length)


def short(text: str, length: int = 100) -> str:
    """Returns a text as an error shows it: on one line, without what does something to a terminal, and cut off."""
    return shortened(printable(text).replace("\n", " "), length)
