"""The image of each mode is built as far as this machine can; the one for the CPU wholly, and a task runs in it."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.containers.conftest import REPOSITORY, Builder

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]

IMAGE = "ai-research:cpu_latest"
MAX_BYTES = 2.5e9

SOURCES = ("causal-conv1d==1.7.0", "mamba-ssm==2.3.2.post1", "torch==2.9.1", "torchvision==0.24.1", "uv==0.13.9")
"""What images pin beside requirements.txt, and a package registry can tell of."""

STAND_IN = """#!/bin/sh
# In uv's place: notes what the build would be told.
/opt/rocm/llvm/bin/amdgpu-arch >> /told
exit $(cat /status)
"""

KERNELS = f"""
set -eu
mkdir -p /opt/rocm/llvm/bin /opt/uv/bin /opt/venv/lib/torch/lib
touch /opt/venv/lib/torch/lib/libhsa-runtime64.so
printf '#!/bin/sh\\necho real\\n' > /opt/rocm/llvm/bin/amdgpu-arch
cat > /opt/uv/bin/uv << 'END'
{STAND_IN}END
chmod +x /opt/rocm/llvm/bin/amdgpu-arch /opt/uv/bin/uv
for status in 1 0; do
    echo $status > /status
    sh /build/kernels.sh 7800xt || echo "build failed"
    echo "after status $status: $(/opt/rocm/llvm/bin/amdgpu-arch)"
done
echo "told: $(sort -u /told)"
echo "own runtimes: $(find /opt/venv -path '*/torch/lib/libhsa-runtime64*' | wc -l)"
"""


@pytest.fixture(scope="module")
def image(builder: Builder) -> str:
    """The image for the CPU, built from nothing."""
    started_s = time.monotonic()
    builder.build(REPOSITORY, IMAGE, MODE="cpu")
    size = size_of(builder, IMAGE)
    print(f"\nbuilt in {time.monotonic() - started_s:.0f} s, {size / 1e9:.2f} GB")
    assert size < MAX_BYTES
    return IMAGE


def size_of(builder: Builder, image: str) -> int:
    """Returns the bytes of an image's files."""
    container = builder("from", image).stdout.split()[-1]
    mounted = builder("mount", container).stdout.strip()
    try:
        counted = subprocess.run(["du", "-sb", mounted], capture_output=True, text=True, check=True)
        return int(counted.stdout.split()[0])
    finally:
        builder("umount", container)
        builder("rm", container)


def test_task_runs_in_the_image_and_writes_to_the_mounted_repository(
    builder: Builder, image: str, checkout: Path
) -> None:
    output = builder.run(
        image,
        *("sh", "-c", f"cd {checkout} && python projects/classify_mnist/train.py task=fnn"),
        folders={checkout: str(checkout), Path("/dev/shm"): "/dev/shm"},  # noqa: S108
        AI_RESEARCH_PATH=str(checkout),
        PYTHONPATH=f":{checkout}",
    )
    assert "test/accuracy" in output
    (folder,) = (checkout / "data" / "classify_mnist" / "fnn").iterdir()
    assert json.loads((folder / "provenance.json").read_text())["status"] == "finished"
    assert not list(checkout.rglob("__pycache__"))


def test_network_is_compiled_in_the_image(builder: Builder, image: str) -> None:
    source = "import torch; print(torch.compile(lambda x: x.sin() + 1)(torch.zeros(3)).tolist())"
    assert "[1.0, 1.0, 1.0]" in builder.run(image, "python", "-c", source, folders={})


def test_any_user_can_use_the_image(builder: Builder, image: str) -> None:
    source = "import getpass, pathlib, matplotlib; pathlib.Path.home().joinpath('x').touch(); print(getpass.getuser())"
    output = builder.run(image, "setpriv", "--reuid=1234", "--clear-groups", "python", "-c", source, folders={})
    assert output.split()[-1] == "user"


def test_change_of_the_code_rebuilds_nothing(builder: Builder, image: str, checkout: Path) -> None:
    (checkout / "common" / "config.py").write_text("# Changed.\n")
    output = builder.build(checkout, "ai-research:changed", MODE="cpu").stdout
    num_steps = output.count("RUN ") + output.count("COPY ")
    assert num_steps >= 10
    assert output.count("Using cache") >= num_steps


def test_unknown_mode_stops_the_build_with_the_list(builder: Builder, context: Path) -> None:
    result = builder.build(context, "ai-research:unknown", check=False, MODE="tpu")
    assert result.returncode != 0
    assert "MODE must be one of cpu, cuda, 7800xt; received 'tpu'." in result.stdout
    assert "apt-get" not in result.stdout


def test_missing_requirements_are_said(builder: Builder, context: Path, image: str) -> None:
    (context / "requirements.txt").unlink()
    result = builder.build(context, "ai-research:nothing", check=False, MODE="cpu")
    assert result.returncode != 0
    assert "requirements.txt is missing from the folder that is built." in result.stdout


def test_base_without_python_is_said(builder: Builder, context: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN rm /usr/bin/apt-get\n")
    builder.build(tmp_path, "localhost/bare:latest")
    result = builder.build(context, "ai-research:bare", check=False, MODE="cpu", BASE="localhost/bare:latest")
    assert result.returncode != 0
    assert "The base image has neither python3 nor apt-get to install it with." in result.stdout
    assert "--build-arg BASE=" in result.stdout


def test_base_with_an_old_python_is_said(builder: Builder, context: Path, tmp_path: Path) -> None:
    old = 'RUN rm /usr/bin/apt-get && printf "#!/bin/sh\\necho Python 3.9.2; exit 1\\n" > /usr/bin/python3'
    (tmp_path / "Dockerfile").write_text(f"ARG BASE\nFROM ${{BASE}}\n{old} && chmod +x /usr/bin/python3\n")
    builder.build(tmp_path, "localhost/old:latest")
    result = builder.build(context, "ai-research:old", check=False, MODE="cpu", BASE="localhost/old:latest")
    assert result.returncode != 0
    assert "Python 3.11 or later is needed; the base image has Python 3.9.2." in result.stdout


@pytest.mark.parametrize("mode", ["cuda", "7800xt"])
def test_vendors_mode_is_built_up_to_the_vendors_index(builder: Builder, image: str, context: Path, mode: str) -> None:
    script = context / "containers" / "toolkit.sh"
    reached = script.read_text().replace("install() {", 'install() {\n    echo would install "$@"; exit 3', 1)
    script.write_text(reached)  # Gigabytes of a toolkit are not fetched here.
    result = builder.build(context, "ai-research:vendor", check=False, MODE=mode)
    assert result.returncode != 0
    assert re.search(r'toolkit\.sh "\$MODE" (build|run)', result.stdout)  # Stages are built in any order.
    assert f"MODE={mode} needs https://" in result.stdout or "would install" in result.stdout


def test_builds_are_told_the_gpu_and_what_told_them_is_put_back(builder: Builder, image: str) -> None:
    output = builder.run(image, "sh", "-c", KERNELS, folders={REPOSITORY / "containers": "/build:ro"})
    assert output.splitlines()[-5:] == [
        "build failed",
        "after status 1: real",
        "after status 0: real",
        "told: gfx1101",
        "own runtimes: 0",
    ]


@pytest.mark.parametrize("pin", SOURCES)
def test_pin_exists(pin: str) -> None:
    name, _, version = pin.partition("==")
    assert any(version in path.read_text() for path in (REPOSITORY / "containers").iterdir())
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", name], capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    assert version in listed.stdout.replace(",", " ").replace("(", " ").replace(")", " ").split()
