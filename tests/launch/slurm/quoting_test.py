"""No path and no value becomes shell text in a job's script."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.launch.resources import SlurmResources
from common.launch.slurm.batch import script_of


@pytest.mark.parametrize(
    "name", ["$(touch marker)", "a b", 'q"uote', "it's", "`touch marker`", "; touch marker", "$HOME"]
)
@pytest.mark.parametrize("num_points", [1, 3])
def test_a_folder_s_name_is_no_shell_text(name: str, num_points: int, tmp_path: Path) -> None:
    place = tmp_path / name
    place.mkdir()
    for number in range(3):
        (place / f"command_{number}.sh").write_text(f"echo ran {number}\n")
    script = script_of(place, num_points, SlurmResources())
    (line,) = (line for line in script.splitlines() if line.startswith("srun "))
    shell = f'srun() {{ while [ $# -gt 0 ] && [ "$1" != /bin/sh ]; do shift; done; "$@"; }}\n{line}'
    environment = {"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "2"}
    ended = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stdout == f"ran {2 if num_points > 1 else 0}\n", ended.stderr
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("field", ["account", "partition", "qos", "constraint", "python"])
@pytest.mark.parametrize("value", ["a\ntouch marker", "a\rb", "a\x1bb"])
def test_a_value_of_several_lines_is_refused(field: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.{field}='a.* it must be one line"):
        script_of(tmp_path, 1, replace(SlurmResources(), **{field: value}))


@pytest.mark.parametrize("options", [{"comment": "a\nb"}, {"a\nb": "c"}, {"a b": "c"}])
def test_an_option_of_several_lines_is_refused(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it must be one line"):
        script_of(tmp_path, 1, SlurmResources(additional_parameters=options))


def test_a_folder_whose_name_has_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SLURM cannot run from a folder"):
        script_of(tmp_path / "a\nb", 1, SlurmResources())
