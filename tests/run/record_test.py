"""The record of a run: one schema, read with every field checked, so that nothing after that meets a surprise."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from common.run.record import (
    FILE_NAME,
    DamagedRecordError,
    Git,
    Launch,
    Machine,
    Record,
    SlurmTask,
    read_record,
    write_record,
)

FULL = Record(
    kind="point",
    identity="a1",
    budget={"trainer.max_epochs": 3, "trainer.max_time": None},
    code={"common/x.py": "1"},
    packages={"torch": "2"},
    status="stopped",
    overrides=["seed=1"],
    created_ns=5,
    changes={"config.seed": {"default": 0, "value": 1}},
    given={"config.seed": 1},
    command="python train.py",
    seed=1,
    data={"source": "digits"},
    git=Git("c", "main", "diff --git \udce9"),
    machine=Machine("host", available_cpus=2),
    slurm=SlurmTask(7, 1),
    result=0.5,
    seconds=1,
    launches=[Launch("2026-01-31T12:00:00+00:00", 12, {"trainer.max_epochs": 2}, status="finished", result=0.25)],
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_record(tmp_path, FULL)
    assert read_record(tmp_path) == FULL


def test_the_file_is_plain_json_by_the_names_of_the_fields(tmp_path: Path) -> None:
    write_record(tmp_path, FULL)
    content = json.loads((tmp_path / FILE_NAME).read_text())
    assert content["slurm"] == {"job_id": 7, "task": 1, "job_ids": [], "num_restarts": None}
    assert content["launches"][0]["result"] == 0.25


def test_keys_of_other_programs_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps(asdict(FULL) | {"note": [1], "machine": {"colour": "blue"}}))
    assert read_record(tmp_path) == replace(FULL, machine=Machine())


WRONG: dict[str, tuple[Any, str]] = {
    "kind": ("odd", "kind='odd', which is not one of plain, point, sweep"),
    "status": (["x"], "status=['x'], which is not one of queued"),
    "identity": (3, "identity=3, which is not a text"),
    "budget": ([], "budget=[], which is not a mapping"),
    "code": ({"common/x.py": 1}, "code.common/x.py=1, which is not a text"),
    "packages": (None, "packages=None, which is not a mapping"),
    "overrides": (["a", 2], "overrides[1]=2, which is not a text"),
    "created_ns": (True, "created_ns=True, which is not a whole number"),
    "changes": ({"a": 1}, "changes.a=1, which is not a mapping"),
    "given": ("x", "given='x', which is not a mapping"),
    "seed": (1.5, "seed=1.5, which is not a whole number"),
    "seconds": ("1", "seconds='1', which is not a number"),
    "git": ({"branch": 1}, "git.branch=1, which is not a text"),
    "machine": ({"host": 1}, "machine.host=1, which is not a text"),
    "slurm": ({"job_id": "7"}, "slurm.job_id='7', which is not a whole number"),
    "launches": ([{"started": "x", "pid": "12"}], "launches[0].pid='12', which is not a whole number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_of_a_wrong_type_is_named_with_what_was_found(tmp_path: Path, name: str) -> None:
    value, text = WRONG[name]
    (tmp_path / FILE_NAME).write_text(json.dumps(asdict(FULL) | {name: value}))
    with pytest.raises(DamagedRecordError) as damage:
        read_record(tmp_path)
    assert damage.value.what.startswith(f"provenance.json is not a run's record: {text}")
    assert damage.value.identity == (None if name == "identity" else "a1")
    assert str(damage.value) == f"{tmp_path} holds a damaged run: {damage.value.what}."


@pytest.mark.parametrize("name", ["kind", "identity", "budget", "code", "packages", "status", "created_ns"])
def test_a_field_that_every_record_has_is_missed(tmp_path: Path, name: str) -> None:
    content = asdict(FULL)
    del content[name]
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(DamagedRecordError, match=f"{name} missing"):
        read_record(tmp_path)


@pytest.mark.parametrize("created_ns", [-1, 2**63, 10**400])
def test_a_time_that_is_none_is_refused(tmp_path: Path, created_ns: int) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps(asdict(FULL) | {"created_ns": created_ns}))
    with pytest.raises(DamagedRecordError):
        read_record(tmp_path)


TEXTS: dict[str, bytes] = {
    "empty": b"",
    "half": b'{"status": "fini',
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "no JSON": b"hello",
    "NUL bytes at the end": json.dumps(asdict(FULL)).encode() + bytes(4),
    "random bytes": bytes(range(256)),
    "deep": b"[" * 100_000,
    "an empty identity": json.dumps(asdict(FULL) | {"identity": ""}).encode(),
}


@pytest.mark.parametrize("content", TEXTS.values(), ids=TEXTS)
def test_a_damaged_file_is_told_without_the_name_of_a_python_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(DamagedRecordError, match=FILE_NAME) as damage:
        read_record(tmp_path)
    assert "Error" not in str(damage.value)


def test_what_is_no_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with pytest.raises(DamagedRecordError, match=r"no provenance\.json"):
        read_record(tmp_path)
    path.mkdir()
    with pytest.raises(DamagedRecordError, match="where a file belongs"):
        read_record(tmp_path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(DamagedRecordError, match="where a file belongs"):
        read_record(tmp_path)
    path.unlink()
    for target in ("elsewhere.json", "nowhere.json", FILE_NAME):
        (tmp_path / "elsewhere.json").write_text(json.dumps(asdict(FULL)))
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / target)
        with pytest.raises(DamagedRecordError, match="is a symbolic link"):
            read_record(tmp_path)


def test_the_wandb_id_follows_from_the_record() -> None:
    assert replace(FULL, created_ns=255).wandb_id == "a1-ff"


def test_what_has_finished_once_is_known(tmp_path: Path) -> None:
    assert FULL.has_finished
    assert not FULL.is_finished_at({"trainer.max_epochs": 2})
    assert not replace(FULL, launches=[]).has_finished
    finished = replace(FULL, status="finished", budget={"trainer.max_epochs": 3})
    assert finished.is_finished_at({"trainer.max_epochs": 3})
    assert not finished.is_finished_at({"trainer.max_epochs": 4})
