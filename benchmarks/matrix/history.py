"""What W&B was told: the rows of a run's history, read from the files of its offline launches.

Such a file is a header of seven bytes and LevelDB's log: blocks of 32 KiB, in which a record, whole or in pieces,
follows its checksum, its length and the kind of piece.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER_SIZE, BLOCK_SIZE = 7, 32768
PIECE = struct.Struct("<IHB")
WHOLE, LAST = 1, 4

TIMES = ("_runtime", "_timestamp", "_wandb")


def ids_of(folder: Path) -> set[str]:
    """Returns the W&B ids under which a run's launches logged."""
    return {path.name.split("-", 3)[3] for path in folder.glob("wandb/offline-run-*")}


def history_of(folder: Path) -> tuple[dict[int, dict[str, str]], list[str]]:
    """Returns a run's history as a server would have it, its launches uploaded in turn.

    Returns:
        Each step's row without times and names of files, and the steps that two launches logged differently.
    """
    rows: dict[int, dict[str, str]] = {}
    problems = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for row in _rows(path):
            step = int(row.pop("_step"))
            if not row:  # Where a launch went on counting.
                continue
            if rows.setdefault(step, row) != row:
                problems.append(f"W&B's step {step} was logged twice: {rows[step]} and {row}")
    return rows, problems


def _rows(path: Path) -> Iterator[dict[str, str]]:
    from wandb.proto import wandb_internal_pb2

    for data in _records(path.read_bytes()):
        record: Any = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            yield {
                key: value for key, value in items.items() if not key.startswith(TIMES) and not _is_unrepeatable(key)
            }


def _records(data: bytes) -> Iterator[bytes]:
    """Yields the records that are whole: the file of a launch that was killed ends anywhere."""
    position, record = HEADER_SIZE, b""
    while position + PIECE.size <= len(data):
        left = BLOCK_SIZE - position % BLOCK_SIZE
        if left < PIECE.size:
            position += left
            continue
        _, size, kind = PIECE.unpack_from(data, position)
        position += PIECE.size
        if position + size > len(data) or kind == 0:
            return
        record += data[position : position + size]
        position += size
        if kind in (WHOLE, LAST):
            yield record
            record = b""


def _is_unrepeatable(key: str) -> bool:
    """Returns whether a value is a time, or of a table: its name is random, and its parts are counted by launch."""
    is_of_table = "/samples/" in key and not key.endswith("/_type")
    return is_of_table or key.startswith("seconds/") or key.endswith("steps_per_second")
