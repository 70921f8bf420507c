"""A SLURM cluster, started by hand: munged, slurmctld and a slurmd for each node, in folders of their own.

Its two nodes are this machine under two names. Jobs run on the first one; the partition `pair` has both.
"""

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
NODES = ("node1", "node2")
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
    for name in ("state", *NODES):
        (folder / name).mkdir()
    daemons = [start_munge()]
    try:
        for number, words in enumerate([["slurmctld"], *(["slurmd", "-N", name] for name in NODES)]):
            with (folder / f"daemon_{number}.out").open("wb") as output:
                daemons.append(subprocess.Popen([*words, "-D"], env=environment, stdout=output, stderr=output))
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
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={free_port()} "
        f"CPUs={os.cpu_count()} RealMemory={memory_mb} State=UNKNOWN"
        for name in NODES
    )
    return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=5
MaxArraySize=4
MinJobAge=300
MpiDefault=none
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
{nodes}
PartitionName=main Nodes={NODES[0]} Default=YES MaxTime=INFINITE State=UP
PartitionName=pair Nodes={",".join(NODES)} MaxTime=INFINITE State=UP
"""


def start_munge() -> subprocess.Popen[bytes] | None:
    """Starts munged, which says who is who, unless it runs already."""
    if subprocess.run(["munge", "-n"], check=False, capture_output=True).returncode == 0:
        return None
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    return subprocess.Popen(["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "-F"])


def wait_until_idle(environment: dict[str, str]) -> None:
    """Waits until the nodes take jobs."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        said = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if set(said.stdout.split()) == {"idle"}:
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"The cluster is not up after {START_TIMEOUT_S:.0f} s: {said.stdout}{said.stderr}")


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
