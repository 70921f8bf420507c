"""Single steps of the optimisers, against torch's and against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from common.ne.algorithm.ascent import Adam, ClipUp

GRADIENTS = np.array([[3.0, -1.0, 0.0], [0.5, -2.0, 1e-9], [-4.0, -1.0, 2.0], [0.1, 0.2, -0.3]])


def test_adam_moves_as_torch_s_does_uphill() -> None:
    ours, point = Adam(3, lr=0.05), np.array([1.0, -2.0, 0.5])
    theirs = torch.tensor(point, requires_grad=True)
    optimizer = torch.optim.Adam([theirs], lr=0.05, maximize=True)
    for gradient in GRADIENTS:
        point = point + ours.step(gradient)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        np.testing.assert_allclose(point, theirs.detach().numpy(), rtol=1e-13)


def test_adam_s_first_step_is_as_long_as_its_rate_however_long_the_gradient() -> None:
    np.testing.assert_allclose(Adam(2, lr=0.05).step(np.array([1e3, -1e-3])), [0.05, -0.05], rtol=1e-4)


def clip_up() -> ClipUp:
    return ClipUp(2, lr=0.1, max_speed=0.12, momentum=0.5)


@pytest.mark.parametrize("length", [1.0, 1e6])
def test_clip_up_takes_the_gradient_s_direction_alone_and_limits_its_speed(length: float) -> None:
    """A push of (0.06, 0.08) each time: a velocity of 0.1, then of 0.15, which is cut to 0.12."""
    optimizer = clip_up()
    np.testing.assert_allclose(optimizer.step(length * np.array([3.0, 4.0])), [0.06, 0.08], rtol=1e-14)
    np.testing.assert_allclose(optimizer.step(length * np.array([3.0, 4.0])), [0.072, 0.096], rtol=1e-14)
    np.testing.assert_allclose(optimizer.step(np.zeros(2)), [0.036, 0.048], rtol=1e-14)
    np.testing.assert_allclose(optimizer.step(length * np.array([0.0, -1.0])), [0.018, -0.076], rtol=1e-13)


def test_clip_up_leaves_a_speed_at_its_limit_as_it_is() -> None:
    optimizer = ClipUp(1, lr=0.25, max_speed=0.25, momentum=0.0)
    assert optimizer.step(np.array([7.0])).tolist() == [0.25]


@pytest.mark.parametrize("make", [lambda: Adam(3, lr=0.05), lambda: ClipUp(3, 0.1, 0.12, 0.5)], ids=["Adam", "ClipUp"])
def test_a_restored_optimiser_goes_on_with_equal_bits(make) -> None:
    whole, first, second = make(), make(), make()
    expected = [whole.step(gradient) for gradient in GRADIENTS]
    for gradient in GRADIENTS[:2]:
        first.step(gradient)
    state = first.state_dict()
    first.step(GRADIENTS[3])  # What was saved must not go on with it,
    second.load_state_dict(state)
    np.testing.assert_array_equal([second.step(gradient) for gradient in GRADIENTS[2:]], expected[2:])
    third = make()
    third.load_state_dict(state)  # nor with the one that was restored from it.
    np.testing.assert_array_equal(third.step(GRADIENTS[2]), expected[2])


def test_what_a_step_returned_is_the_caller_s() -> None:
    optimizer = clip_up()
    optimizer.step(np.array([3.0, 4.0]))[:] = 9.0
    np.testing.assert_allclose(optimizer.step(np.zeros(2)), [0.03, 0.04], rtol=1e-14)
