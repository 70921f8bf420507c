"""What a job changes in its process is put back when it is over: one that fails, and the one after it."""

import logging
import multiprocessing
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import jaxtyping
import matplotlib as mpl
import numpy as np
import pytest
import torch

from common.launch.isolation import isolated
from tests.launch.tiny import TinyRunner


def surroundings() -> dict[str, Any]:
    """Returns all of the process that could change what a job computes, prints or logs."""
    return {
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "folder": Path.cwd(),
        "places": sys.path[:],
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)],
        "processes": multiprocessing.get_start_method(allow_none=True),
        "warnings": warnings.filters[:],
        "logging": [(one.level, len(one.handlers)) for one in (logging.getLogger(), logging.getLogger("common"))],
        "is logging disabled": logging.root.manager.disable,
        "numpy": (np.geterr(), np.get_printoptions()["precision"]),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "anomalies": torch.is_anomaly_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "jaxtyping": jaxtyping.config.jaxtyping_disable,
        "matplotlib": (mpl.rcParams["font.size"], len(_figures())),
    }


def change_all(folder: Path) -> None:
    """Changes all of that, as trainers, libraries and projects do."""
    import matplotlib.pyplot as plt

    os.environ |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PL_SEED_WORKERS": "1", "HOME": str(folder)}
    del os.environ["AI_RESEARCH_PATH"]
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    multiprocessing.set_start_method("spawn", force=True)
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("common").setLevel(logging.CRITICAL)
    logging.disable(logging.CRITICAL)
    np.seterr(all="raise")
    np.set_printoptions(precision=2)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True
    jaxtyping.config.update("jaxtyping_disable", True)
    mpl.rcParams["font.size"] = 40
    plt.switch_backend("agg")
    plt.figure()


def _figures() -> list[int]:
    pyplot = sys.modules.get("matplotlib.pyplot")
    return list(pyplot.get_fignums()) if pyplot else []


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_everything_is_put_back_however_a_job_ends(tmp_path: Path, error: type[BaseException] | None) -> None:
    before = surroundings()
    ends = pytest.raises(error) if error else warnings.catch_warnings()
    with ends, isolated():
        change_all(tmp_path)
        changed = surroundings()
        if error:
            raise error
    assert [name for name in before if changed[name] == before[name]] == []
    assert surroundings() == before


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_point_finds_what_it_finds_alone_though_the_one_before_failed(
    run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = []

    def run_subtask(config: Any, number: float, free: Any) -> float:
        if number == 0:
            change_all(tmp_path)
            return 1 / number
        found.append(surroundings())
        return 1.0

    monkeypatch.setattr(TinyRunner, "run_subtask", staticmethod(run_subtask))
    assert run("number=1").status == 0
    assert run("number=0,1").status == 1
    alone, after = found
    del alone["places"], after["places"]  # A sweep's later imports come from the copy of its code.
    assert alone == after


def test_what_is_compiled_is_forgotten() -> None:
    """After eight networks of one class torch would compile no more, and the ninth point would have other bits."""
    import torch._dynamo

    compiled = []

    @torch.compile(backend=lambda graph, _: compiled.append(1) or graph.forward)
    def double(x: torch.Tensor, factor: int) -> torch.Tensor:
        return factor * x

    for factor in range(12):
        with isolated(), torch._dynamo.config.patch(specialize_int=True, assume_static_by_default=True):
            double(torch.ones(2), factor + 2)
    assert len(compiled) == 12


def test_failed_point_keeps_no_network_alive(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import weakref

    kept: list[Any] = []

    def run_subtask(config: Any, number: float, free: Any) -> float:
        if number == 1:
            network = torch.nn.Linear(2, 2)
            kept.append(weakref.ref(network))
            raise ZeroDivisionError
        kept.append(kept[0]() is None)
        return 1.0

    monkeypatch.setattr(TinyRunner, "run_subtask", staticmethod(run_subtask))
    assert run("number=1,2").status == 1
    assert kept[1] is True
