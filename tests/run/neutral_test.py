"""Programs get an environment in which nothing steers them."""

import subprocess

import pytest

from common.run.neutral import neutral_environment

STEERING = [
    "GIT_CONFIG_COUNT",
    "GIT_SSH_COMMAND",
    "LD_PRELOAD",
    "LD_AUDIT",
    "BASH_ENV",
    "PERL5LIB",
    "PAGER",
    "SQUEUE_FORMAT",
]


@pytest.mark.parametrize("name", STEERING)
def test_what_steers_programs_is_left_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert name not in neutral_environment()


def test_the_rest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "x")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/x")
    kept = neutral_environment()
    assert (kept["ENVIRONMENT"], kept["LD_LIBRARY_PATH"]) == ("x", "/x")
    assert {"PATH", "HOME"} <= kept.keys()


def test_git_runs_no_program_of_the_environment_s_choice(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    marker = tmp_path / "marker"
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, env=neutral_environment())
    settings = {"COUNT": "1", "KEY_0": "core.fsmonitor", "VALUE_0": f"touch {marker}; false"}
    for name, value in settings.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    words = ["git", "-C", str(tmp_path), "status"]
    subprocess.run(words, check=True, capture_output=True, env=neutral_environment())
    assert not marker.exists()
    subprocess.run(words, check=True, capture_output=True)
    assert marker.exists()
