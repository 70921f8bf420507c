"""What a subclass must write is what the base classes say, and no more."""

import pytest

from common.ne.algorithm.base import BaseAlgorithm
from common.ne.evaluator.base import BaseEvaluator
from common.ne.evaluator.physics.base import Physics


@pytest.mark.parametrize(
    ("base", "methods"),
    [
        (BaseAlgorithm, {"ask", "tell", "state_dict", "load_state_dict"}),
        (BaseEvaluator, {"spaces", "play", "record"}),
        (Physics, {"start", "observe", "step"}),
    ],
)
def test_a_subclass_that_lacks_a_method_cannot_be_made(base: type, methods: set[str]) -> None:
    assert base.__abstractmethods__ == methods  # type: ignore[attr-defined]
