"""A SLURM cluster of one node, started by hand: munged, slurmctld and slurmd, in folders of their own."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
START_TIMEOUT_S = 30.0
POLL_S = 0.2


def missing() -> str | None:
    """Returns why no cluster can be started here, or None."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not found; Debian's packages slurm-wlm and munge have them"
    return None if os.geteuid() == 0 else "the daemons of a cluster are started by root"


@contextmanager
def running_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Runs a cluster beside the block.

    Args:
        folder: For its configuration, state and logs.

    Yields:
        The environment that leads SLURM's commands to it.
    """
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    (folder / "slurm.conf").write_text(configuration(folder))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    daemons = [start_munge()]
    try:
        for name in ("slurmctld", "slurmd"):
            with (folder / f"{name}.out").open("wb") as output:
                daemons.append(subprocess.Popen([name, "-D"], env=environment, stdout=output, stderr=output))
        wait_until_idle(environment)
        yield environment
    finally:
        subprocess.run(["scancel", "--full", "--user=root"], env=environment, check=False, capture_output=True)
        for daemon in reversed(daemons):
            if daemon is not None:
                daemon.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.wait(timeout=20)
                daemon.kill()


def configuration(folder: Path) -> str:
    """Returns the cluster's configuration."""
    host, port = socket.gethostname(), free_port()
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 1024
    return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=5
MinJobAge=300
MpiDefault=none
SlurmctldPort={port}
SlurmdPort={free_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def start_munge() -> subprocess.Popen[bytes] | None:
    """Starts munged, which says who is who, unless it runs already."""
    if subprocess.run(["munge", "-n"], check=False, capture_output=True).returncode == 0:
        return None
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    return subprocess.Popen(["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "-F"])


def wait_until_idle(environment: dict[str, str]) -> None:
    """Waits until the node takes jobs."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        said = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if said.stdout.strip() == "idle":
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"The cluster is not up after {START_TIMEOUT_S:.0f} s: {said.stdout}{said.stderr}")


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
