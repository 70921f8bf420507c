"""Which parameters the optimiser's weight decay pulls at."""

import inspect
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

log = logging.getLogger(__name__)


def weight_decay_of(optimizer: partial[Optimizer]) -> float:
    """Returns the weight decay that an optimiser will be built with; 0 for one that knows of none."""
    parameter = inspect.signature(optimizer).parameters.get("weight_decay")
    return 0.0 if parameter is None else float(parameter.default)


def decayed_and_not(parameters: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
    """Groups parameters for an optimiser: matrices and the like, which decay, and the others, which do not.

    Not to decay are vectors and scalars: biases, the weights of norms, the decay rates of a state space; and what a
    network marks with `_no_weight_decay`. They are few, and 0 is no better a value for them than another.

    Args:
        parameters: What is trained.

    Returns:
        One group, or two.
    """
    exempt = [parameter for parameter in parameters if parameter.ndim < 2 or hasattr(parameter, "_no_weight_decay")]
    exempt_ids = set(map(id, exempt))
    decayed = [parameter for parameter in parameters if id(parameter) not in exempt_ids]
    log.info(
        "Weight decay: on %s of %s numbers, not on biases, norms and other vectors.",
        f"{sum(parameter.numel() for parameter in decayed):,}",
        f"{sum(parameter.numel() for parameter in parameters):,}",
    )
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": exempt, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
