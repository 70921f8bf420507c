"""What a check finds wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something wrong with a configuration.

    Attributes:
        key: The dotted key it is about.
        text: What is wrong, what was received, what is allowed; one line.
        kind: What is wrong without what was received, by which the points of a sweep are told together; empty where
            the text is the same for all of them.
    """

    key: str
    text: str
    kind: str = ""
