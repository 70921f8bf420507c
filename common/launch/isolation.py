"""What a job changes in its process, put back when it is over, however it ends: the next one must not find it.

The points of a sweep run in one process, one after the other, and each must give what it gives alone.
"""

import logging
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common.errors import exit_status_of
from common.foreign import torch_dynamo
from common.run.stop import SIGNALS
from common.run.wandb import end_open_run


@contextmanager
def isolated() -> Iterator[None]:
    """Ends the W&B run that the block leaves open, and puts back what it changes.

    That is: environment, working directory, places of imports, handlers of signals, how processes are started, filters
    of warnings, levels and handlers of logging, torch's defaults and switches, what `torch.compile` remembers,
    jaxtyping's switch, NumPy's way with errors, matplotlib's settings and open figures. Random states are no part of
    it: each job seeds them.
    """
    status = 1
    with ExitStack() as stack:
        for kept in (_process, _logging, warnings.catch_warnings, _numpy, _torch, _jaxtyping, _matplotlib):
            stack.enter_context(kept())
        try:
            yield
            status = 0
        except BaseException as error:
            status = exit_status_of(error)
            raise
        finally:
            end_open_run(status)


def forget_frames(error: BaseException) -> None:
    """Lets go of what an error that is over keeps alive, such as a network on a GPU; where it came from stays known."""
    traceback.clear_frames(error.__traceback__)


@contextmanager
def _process() -> Iterator[None]:
    """What belongs to the process itself."""
    environment, folder, places = dict(os.environ), Path.cwd(), sys.path[:]
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    start_method = multiprocessing.get_start_method(allow_none=True)
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})
        os.chdir(folder)
        sys.path[:] = places
        for number, handler in handlers.items():
            signal.signal(number, handler)
        multiprocessing.set_start_method(start_method, force=True)


@contextmanager
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    loggers = [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    before = [(one, one.level, one.handlers[:], one.disabled, one.propagate) for one in loggers]
    disabled_level = root.manager.disable
    try:
        yield
    finally:
        logging.disable(disabled_level)
        for one, level, handlers, is_disabled, propagates in before:
            one.handlers[:], one.disabled, one.propagate = handlers, is_disabled, propagates
            if one.level != level:  # Each setting of a level visits all loggers.
                one.setLevel(level)


@contextmanager
def _numpy() -> Iterator[None]:
    import numpy as np

    with np.errstate(), np.printoptions():
        yield


@contextmanager
def _torch() -> Iterator[None]:
    """Torch's switches: those that a trainer sets, and those that a project may."""
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    default_dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    num_threads, has_gradients = torch.get_num_threads(), torch.is_grad_enabled()
    has_anomaly_mode, checks_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    device = torch.get_default_device()
    switches = [
        (cudnn, "benchmark"),
        (cudnn, "deterministic"),
        (cudnn, "allow_tf32"),
        (cudnn, "enabled"),
        (matmul, "allow_fp16_reduced_precision_reduction"),
        (matmul, "allow_bf16_reduced_precision_reduction"),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name in switches]
    try:
        yield
    finally:
        # Not where nothing changes: to set it, torch loads its compiler, which takes a second.
        now = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        if now != (is_deterministic, warns_only):
            torch.use_deterministic_algorithms(is_deterministic, warn_only=warns_only)
        torch.set_default_dtype(default_dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(num_threads)
        torch.set_grad_enabled(has_gradients)
        torch.autograd.set_detect_anomaly(has_anomaly_mode, checks_nan)
        torch.set_flush_denormal(False)
        for owner, name, value in before:
            if getattr(owner, name) != value:
                setattr(owner, name, value)
        torch_dynamo.forget_compiled()


@contextmanager
def _jaxtyping() -> Iterator[None]:
    import jaxtyping

    is_disabled = jaxtyping.config.jaxtyping_disable
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", is_disabled)


@contextmanager
def _matplotlib() -> Iterator[None]:
    before = dict(sys.modules["matplotlib"].rcParams) if "matplotlib" in sys.modules else None
    try:
        yield
    finally:
        if "matplotlib" in sys.modules:
            parameters = sys.modules["matplotlib"].rcParams
            changed = {name: value for name, value in (before or {}).items() if parameters[name] != value}
            parameters.update(changed if before is not None else sys.modules["matplotlib"].rcParamsOrig)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
