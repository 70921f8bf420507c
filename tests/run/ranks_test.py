"""The processes of a run meet, or say why not, and part at every end."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.run.ranks import Ranks, this_rank

WAITS = """
    import sys
    from common.errors import report_errors
    from common.run.ranks import connected_ranks
    from common.run.stop import stop_on_signals

    import torch.distributed

    with report_errors(), stop_on_signals():
        print("here", flush=True)
        with connected_ranks(timeout_s=float(sys.argv[1])):
            pass
"""

MEETS = """
    import sys
    from common.run.ranks import connected_ranks

    import torch.distributed

    outcome = "finished"
    try:
        with connected_ranks() as ranks:
            said = ranks.gather(ranks.rank)
            if sys.argv[1] == "failed":
                raise ValueError("a mistake")
    except ValueError:
        outcome = "failed"
    print(outcome, said, torch.distributed.is_initialized(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def rank_process() -> Iterator[Callable[..., Any]]:
    """Returns a function that starts a process as one of two ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started: list[subprocess.Popen[str]] = []

    def start(script: str, rank: int, *arguments: str) -> subprocess.Popen[str]:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            env={**os.environ, **place},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_never_comes_is_waited_for_until_a_signal(rank_process, rank: int) -> None:
    process = rank_process(WAITS, rank, "3600")
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 75, printed
    assert "Stopped by SIGTERM before all 2 ranks were there. The same command continues." in printed


@pytest.mark.slow
def test_a_rank_that_never_comes_is_waited_for_no_longer_than_is_stated(rank_process) -> None:
    process = rank_process(WAITS, 0, "0.5")
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1, printed
    assert "Rank 0 of 2 did not meet the others at 127.0.0.1:" in printed
    assert "not all of them were there after 0 s" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["finished", "failed"])
def test_ranks_part_at_every_end_and_one_that_is_done_leaves_before_the_first(rank_process, outcome: str) -> None:
    first, second = (rank_process(MEETS, rank, outcome) for rank in range(2))
    lines = [process.stdout.readline() for process in (first, second)]
    assert lines == [f"{outcome} [0, 1] False\n"] * 2
    for process in (second, first):  # Each ends while the other is there, and the last one alone.
        process.communicate("", timeout=300)
        assert process.returncode == 0


def test_a_rank_knows_its_place_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_rank() == Ranks(0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert this_rank() == Ranks(2, 3)
    assert not this_rank().is_first


def test_shares_are_whole_and_do_not_overlap() -> None:
    for num_ranks in (1, 2, 3, 7):
        parts = [range(10)[Ranks(rank, num_ranks).share(10)] for rank in range(num_ranks)]
        assert [number for part in parts for number in part] == list(range(10))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
