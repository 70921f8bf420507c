"""What is wrong with the points of a command, told once for all points that have it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.check.problem import Problem
from common.check.task_file import TaskFile
from common.launch.sweep.search import parse_overrides
from common.utils.text import short

MOST_POINTS = 30
"""Points that are named for each problem."""

MOST_ALIKE = 3
"""Problems that are told in full of those that differ in nothing but a value."""

MOST_KINDS = 50


@dataclass
class Found:
    """A problem, and the points that have it.

    Attributes:
        problem: The problem.
        num_points: How many they are.
        points: The first of them, by their overrides.
    """

    problem: Problem
    num_points: int = 0
    points: list[list[str]] = field(default_factory=list)


@dataclass
class Kind:
    """Problems with the same key that differ in nothing but a value.

    Attributes:
        first: The first of them, told in full.
        num_others: Points that have any of the others.
    """

    first: dict[Problem, Found] = field(default_factory=dict)
    num_others: int = 0


class Findings:
    """Gathers problems; what it keeps does not grow with the number of points.

    Args:
        overrides: The command's.
        task_file: The task's.
    """

    def __init__(self, overrides: Sequence[str], task_file: TaskFile) -> None:
        self._overrides = overrides
        self._task_file = task_file
        self._kinds: dict[tuple[str, str], Kind] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, problem: Problem, point: list[str] | None = None) -> None:
        """Takes a problem of a point, or of all points."""
        kind = self._kinds.setdefault((problem.key, problem.kind or problem.text), Kind())
        if problem not in kind.first and len(kind.first) >= MOST_ALIKE:
            kind.num_others += 1
            return
        found = kind.first.setdefault(problem, Found(problem))
        found.num_points += 1
        if point is not None and len(found.points) < MOST_POINTS:
            found.points.append(point)

    def text(self, num_points: int) -> str:
        """Returns all of them: each with the place it was set in, and the points that have it unless all do."""
        lines = []
        for kind in list(self._kinds.values())[:MOST_KINDS]:
            for found in kind.first.values():
                lines.append(found.problem.text + self._place_of(found.problem.key))
                lines += self._points_of(found, num_points)
            if kind.num_others:
                key = next(iter(kind.first)).key
                lines.append(f"The same at {kind.num_others:,} points with other values of {key}.")
        if len(self._kinds) > MOST_KINDS:
            lines.append(f"And {len(self._kinds) - MOST_KINDS:,} mistakes more.")
        return "\n".join(lines)

    def _points_of(self, found: Found, num_points: int) -> list[str]:
        if not found.points or found.num_points >= num_points:
            return []
        varying = (" ".join(one for one in point if one not in self._overrides) for point in found.points)
        more = found.num_points - len(found.points)
        return [f"  at the point {short(point, 300)}" for point in varying] + (
            [f"  and at {more:,} points more"] if more else []
        )

    def _place_of(self, key: str) -> str:
        """Returns where a key was set, if it was set."""
        given = [override.key_or_group for override in parse_overrides(self._overrides)]
        whole = key.partition("[")[0]  # Of a list, the item is judged and the whole is set.
        if any(name in (key, whole) or name.startswith(f"{key}.") for name in given):
            return " (Set on the command line.)"
        place = self._task_file.place_of(key) or self._task_file.place_of(whole)
        return f" (Set in {place}.)" if place is not None else ""
