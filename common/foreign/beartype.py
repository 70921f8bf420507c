"""beartype's random numbers: which item of a list it checks.

It draws from Python's own random state, on which a run's results would then depend: on how often which function was
called, on continuations too. There is no public way to change that. Read for beartype 0.23.
"""

import random

import beartype._check.code.codemain as code


def draw_from_own_numbers() -> None:
    """Lets beartype draw from a generator of its own."""
    if hasattr(code, "getrandbits"):
        code.getrandbits = random.Random(0).getrandbits
