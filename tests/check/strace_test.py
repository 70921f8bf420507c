"""What hostile files make a process do, as the kernel sees it: start nothing, write nothing, connect to nobody."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

TASKS = {
    "a partial of a getter": "datamodule: {_target_: functools.partial, _args_: [{_target_: "
    "hydra_zen.structured_configs._implementations.get_target, obj: {_target_: torch.nn.ParameterDict, "
    "parameters: [[_target_, "
    "distutils.spawn.spawn]]}}, [touch, MARKER]]}",
    "a target by the environment": "callbacks: {x: {_target_: '${oc.env:Z,pytorch_lightning.callbacks.Timer}', "
    "_args_: [[touch, MARKER]]}}\nhydra: {job: {env_set: {Z: distutils.spawn.spawn}}}",
    "git's monitor": "hydra: {job: {env_set: {GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: core.fsmonitor, "
    "GIT_CONFIG_VALUE_0: 'touch MARKER; false'}}}",
    "a log file": "hydra: {job_logging: {handlers: {z: {class: logging.FileHandler, filename: MARKER}}}}",
    "a callback of Hydra's": "hydra: {callbacks: {x: {_target_: os.makedirs, name: MARKER}}}",
    "a folder of one's own": "hydra: {run: {dir: MARKER}, sweep: {dir: MARKER}}",
    "a place to search": "hydra: {searchpath: ['file://MARKER']}",
    "a function": "callbacks: {x: {_target_: os.makedirs, name: MARKER}}",
    "a wrapper": "callbacks: {x: {_target_: pytorch_lightning.callbacks.Timer, _zen_wrappers: os.makedirs}}",
    "a tag": "callbacks: {x: !!python/object/apply:os.makedirs [MARKER]}",
    "a server": "callbacks: {x: {_target_: pytorch_lightning.serve.ServableModuleValidator}}",
    "an address": "config: {data_dir: 's3://bucket/x'}",
}

CHILD = """
import os, sys, tempfile
from pathlib import Path
from hydra.core.global_hydra import GlobalHydra
from common.run import load
from projects.classify_mnist.train import TaskRunner
scratch = Path(sys.argv[1])
statuses, told = [], []
tempfile.gettempdir()  # Python's own probe writes a file.
os.path.exists("/begin-to-look")
for path in sorted((scratch / "classify_mnist" / "task").glob("h*.yaml")):
    sys.argv = [str(scratch / "classify_mnist" / "train.py"), f"task={path.stem}", "logger=none"]
    try:
        TaskRunner.run_task()
    except SystemExit as end:
        statuses.append(end.code)
    GlobalHydra.instance().clear()
for folder in sorted((scratch / "runs").iterdir()):
    try:
        load(folder)
    except Exception as error:
        told.append(type(error).__name__)
os.path.exists("/stop-looking")
print(statuses, told)
"""

CONFIGS = {
    "r1": "litmodule: {_target_: functools.partial, _args_: [{_target_: hydra_zen.funcs.get_obj, path: os.makedirs}, "
    "MARKER]}",
    "r2": "litmodule: {_target_: os.makedirs, name: MARKER}",
    "r3": "litmodule: {_target_: '${evil}', name: MARKER}\nevil: os.makedirs",
    "r4": "litmodule: {_target_: '${oc.create:{_target_: os.makedirs, name: MARKER}}'}",
    "r5": "litmodule: {_target_: torch.nn.Sequential, _args_: [{_target_: os.makedirs, name: MARKER}]}",
    "r6": "litmodule: !!python/object/apply:os.makedirs [MARKER]",
    "r7": "litmodule: &a [*a]",
    "r8": "- nothing",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_hostile_files_start_write_and_reach_nothing(tmp_path: Path, root: Path) -> None:
    marker, tasks = tmp_path / "marker", tmp_path / "classify_mnist" / "task"
    tasks.mkdir(parents=True)
    fnn = (REPOSITORY / "projects/classify_mnist/task/fnn.yaml").read_text(encoding="utf-8")
    (tasks / "fnn.yaml").write_text(fnn, encoding="utf-8")
    head = "# @package _global_\ndefaults: [fnn, _self_]\n"
    for number, attack in enumerate(TASKS.values()):
        text = head + attack.replace("MARKER", str(marker)) + "\n"
        (tasks / f"h{number:02}.yaml").write_text(text, encoding="utf-8")
    for name, text in CONFIGS.items():
        place = tmp_path / "runs" / name / ".hydra"
        place.mkdir(parents=True)
        (place / "config.yaml").write_text(text.replace("MARKER", str(marker)), encoding="utf-8")
    log = tmp_path / "strace.txt"
    words = ["strace", "-f", "-qq", "-s", "300", "-e", "trace=execve,openat,connect,newfstatat,mkdir", "-o", str(log)]
    ended = subprocess.run(
        [*words, sys.executable, "-B", "-c", CHILD, str(tmp_path)], capture_output=True, cwd=REPOSITORY, check=False
    )
    assert ended.stdout.decode().strip() == f"{[2] * len(TASKS)} {['ConfigError'] * len(CONFIGS)}", (
        ended.stderr.decode()
    )
    calls = log.read_text(errors="replace")
    seen = calls[calls.index("begin-to-look") : calls.index("stop-looking")].splitlines()
    assert [line for line in seen if re.search(r"\b(execve|connect|mkdir)\(", line)] == []
    written = [line for line in seen if re.search(r"O_(WRONLY|RDWR|CREAT)", line)]
    assert [line for line in written if "/dev/" not in line] == []
    assert not marker.exists()
    assert list(root.rglob("*")) == []
