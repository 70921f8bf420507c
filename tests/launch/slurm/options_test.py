"""Further options of `sbatch` may be any but those that the launcher needs as they are."""

import re
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.launch.resources import SlurmResources
from common.launch.slurm.batch import script_of
from common.launch.slurm.commands import check_request
from common.launch.slurm.options import check_options

ALL = SlurmResources(
    cpus_per_task=2,
    nodes=2,
    gpus_per_node=1,
    mem_gb=1,
    account="a",
    partition="p",
    qos="q",
    constraint="c",
)


def test_whatever_the_launcher_writes_is_its_own() -> None:
    """But for what submitit adds: a key for accounts, by which nothing is done here."""
    script = script_of(Path("/place"), 3, ALL)
    written = set(re.findall(r"^#SBATCH --([\w-]+)", script, re.MULTILINE)) - {"wckey"}
    assert {"signal", "requeue", "array", "output", "chdir", "gpus-per-node", "mem"} <= written
    for name in written:
        with pytest.raises(ConfigError, match=f"sbatch's option --{name} is the launcher's own"):
            check_options([name.replace("-", "_")])


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("signal", "--signal is the launcher's own. Use hydra.launcher.signal_delay_s."),
        ("no-requeue", "--no-requeue is the launcher's own. Use hydra.launcher.max_num_timeout."),
        ("time", "--time is the launcher's own. Use hydra.launcher.timeout_min."),
        ("job_name", "--job-name is the launcher's own. Use hydra.launcher.name."),
        ("--out", "--output is the launcher's own. Leave it out."),  # As sbatch itself understands it.
        ("dependency", "--dependency is the launcher's own. Leave it out."),
    ],
)
def test_the_field_is_named_before_slurm_is_asked(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_request(1, SlurmResources(additional_parameters={name: "x"}))
    assert str(error.value) == f"hydra.launcher.additional_parameters has {name}: sbatch's option {remedy}"


def test_other_options_are_passed_on() -> None:
    others = {
        "exclude": "node7",
        "comment": "hi",
        "mail-type": "END",
        "gres": "tmp:1",
        "nodelist": "n1",
        "reservation": 1,
    }
    check_options([*others, "mem-per-cpu", "exclusive", "time-min", "licenses", "mem_bind"])
    script = script_of(Path("/place"), 1, SlurmResources(additional_parameters=others))
    assert "#SBATCH --exclude=node7\n" in script
