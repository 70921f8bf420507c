"""What a check finds wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something wrong with a configuration.

    Attributes:
        key: The dotted key it is about.
        text: What is wrong, what was received, what is allowed; one line.
    """

    key: str
    text: str
