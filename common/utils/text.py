"""Writes durations, numbers, names and results as people read them."""

from collections.abc import Iterable, Sequence


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


def results_text(results: dict[str, float], first: Sequence[str], most: int = 3) -> str:
    """Returns the metrics that say most about a result.

    Args:
        results: The metrics.
        first: How the names of those begin that say most, the best first; where there are none, all are alike.
        most: How many are returned.
    """
    for stage in (*first, ""):
        chosen = [(name, value) for name, value in results.items() if name.startswith(stage)]
        if chosen:
            return ", ".join(f"{name} {number_text(value)}" for name, value in chosen[:most])
    return ""


def shortened(text: str, length: int) -> str:
    """Returns a text cut off at a length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
