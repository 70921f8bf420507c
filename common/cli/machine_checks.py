"""What `ai-research doctor` looks at outside of Python: torch and its GPU, SLURM, containers."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from common.cli.checks import Finding

ENGINES = ("podman", "docker", "apptainer", "singularity")

TIMEOUT_S = 60.0

TORCH = """
import json, torch
found = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip, "gpus": [], "error": None}
if torch.cuda.is_available():
    found["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    try:
        for index in range(torch.cuda.device_count()):
            torch.ones(64, 64, device=f"cuda:{index}").mm(torch.ones(64, 64, device=f"cuda:{index}")).sum().item()
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
"""Run in a process of its own: a torch that does not load, or a GPU that hangs, must not take the doctor with it."""


def check_torch() -> Iterator[Finding]:
    """Loads torch and computes something on each GPU."""
    result = _said([sys.executable, "-c", TORCH])
    if result is None or result.returncode != 0:
        lines = result.stderr.strip().splitlines() if result else [f"it did not load within {TIMEOUT_S:.0f} s"]
        yield Finding("torch", "fault", lines[-1] if lines else "it does not load", "rm -r .venv && make install")
        return
    found = json.loads(result.stdout.splitlines()[-1])
    build = f"CUDA {found['cuda']}" if found["cuda"] else f"ROCm {found['hip']}" if found["hip"] else "CPU"
    yield Finding("torch", "good", f"{found['version']}, built for {build}")
    yield _gpu_finding(found, build)


def check_slurm() -> Iterator[Finding]:
    """Asks SLURM for its partitions, and whether a job that is preempted would be queued again."""
    if shutil.which("sbatch") is None:
        yield Finding("SLURM", "good", "not here: hydra/launcher=local is what there is")
        return
    config, partitions = _said(["scontrol", "show", "config"]), _said(["sinfo", "--noheader", "--format", "%P"])
    if config is None or partitions is None or config.returncode or partitions.returncode:
        detail = "its commands are installed, but no controller answers"
        yield Finding("SLURM", "warning", detail, "Use the cluster's login node, or ask its operators")
        return
    settings = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", config.stdout, re.MULTILINE))
    names = ", ".join(partitions.stdout.split()) or "none"
    limit = settings.get("MaxArraySize", "unknown")
    yield Finding("SLURM", "good", f"partitions {names}; at most {limit} points per sweep")
    if settings.get("PreemptMode", "OFF").startswith(("CANCEL", "GANG,CANCEL")) or settings.get("JobRequeue") == "0":
        detail = f"PreemptMode={settings.get('PreemptMode')}, JobRequeue={settings.get('JobRequeue')}"
        remedy = "Give the command again after a preemption, or pick a partition or QOS that requeues"
        yield Finding("SLURM", "warning", f"{detail}: a preempted job is cancelled, not queued again", remedy)


def check_containers() -> Iterator[Finding]:
    """Looks for a program that runs containers."""
    there = [name for name in ENGINES if shutil.which(name)]
    if there:
        yield Finding("containers", "good", ", ".join(there))
    else:
        remedy = "Install podman, docker or apptainer if you want images; runs do not need them"
        yield Finding("containers", "warning", "none of podman, docker, apptainer", remedy)


def _gpu_finding(found: dict[str, object], build: str) -> Finding:
    gpus = found["gpus"]
    if found["error"]:
        remedy = "Is the driver as new as torch's build, and is the GPU free? See Troubleshooting in GUIDE.md."
        return Finding("GPU", "fault", f"visible, but not usable: {found['error']}", remedy)
    if isinstance(gpus, list) and gpus:
        return Finding("GPU", "good", ", ".join(map(str, gpus)))
    has_gpu = shutil.which("nvidia-smi") is not None or Path("/dev/kfd").exists()
    if not has_gpu:
        return Finding("GPU", "good", "none: config.device=cpu")
    detail = f"this machine has one, but torch, built for {build}, sees none"
    return Finding("GPU", "warning", detail, "See 'PyTorch sees no GPU' in GUIDE.md's Troubleshooting")


def _said(words: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Returns how a program ended; None where it is not there, or does not end."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
