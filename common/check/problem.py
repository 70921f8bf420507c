"""What a check finds wrong."""

import re
from dataclasses import dataclass

ERROR_NAMES = re.compile(r"\b[A-Z]\w*(Error|Exception)\b(\(\))?( (raised )?while [^:]*)?:?\s*")
"""As other packages put them into their texts: `KeyError raised while resolving interpolation: `."""


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


def without_error_names(text: str) -> str:
    """Returns what an error says without the names that Python has for it and others that it came from."""
    return ERROR_NAMES.sub("", text).strip()
