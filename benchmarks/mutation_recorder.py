"""Writes down which functions of a folder each test enters, in its own process and in all that it starts.

`mutations.py` puts this file on the path of every process as `sitecustomize.py`; it imports nothing that costs time.
Each function is written once for each test and process, at once, so that a killed process has told all it did.
"""

import os
import sys
import threading
from types import CodeType, FrameType

RECORD, ROOT, TEST = "MUTATIONS_RECORD", "MUTATIONS_ROOT", "MUTATIONS_TEST"
"""Environment variables: the file to append to, the folder whose functions count, and the test that runs."""

_seen: set[CodeType] = set()


def start(test: str) -> None:
    """Begins to write down what a test enters."""
    os.environ[TEST] = test
    _seen.clear()
    threading.settrace(_trace)
    sys.settrace(_trace)


def _trace(frame: FrameType, _event: str, _argument: object) -> None:
    code = frame.f_code
    if code in _seen:
        return
    _seen.add(code)
    root = os.environ.get(ROOT, "")
    if root and code.co_filename.startswith(root):
        line = f"{os.environ[TEST]}\t{code.co_filename[len(root) + 1 :]}\t{code.co_qualname}\n"
        descriptor = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)


if __name__ == "sitecustomize" and RECORD in os.environ and TEST in os.environ:
    start(os.environ[TEST])
