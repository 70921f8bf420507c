"""The baseline: the best linear model of the data, fitted by least squares.

    y_t = Σ_{i=1..p} a_i y_{t-i} + Σ_{j=0..q-1} b_j u_{t-j}

is an ARX model (autoregressive with exogenous input; Ljung 1999, "System identification", section 4.2). With p = 0 it
is a finite impulse response, which noise in y does not bias. The orders p and q are those with the least free-running
error on the validation data.

Axes: N signals; L steps; p, q orders.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

NUM_PAST_TARGETS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
NUM_PAST_FORCES = (1, 2, 4, 8, 16, 32, 64, 96)
BLOCK_SIZE = 256
"""Signals whose features are held in memory at once."""


@dataclass
class ARX:
    """A fitted model.

    Attributes:
        target_weights: a_1 to a_p.
        force_weights: b_0 to b_{q-1}.
    """

    target_weights: np.ndarray
    force_weights: np.ndarray

    def simulate(self, forces: np.ndarray) -> np.ndarray:
        """Returns the targets that the model predicts without knowing the true ones, N×L, starting from zeros."""
        driven = _past(forces, len(self.force_weights), 0) @ self.force_weights
        order = len(self.target_weights)
        if order == 0:
            return np.asarray(driven)
        known = np.zeros((len(forces), order + forces.shape[1]))
        for step in range(forces.shape[1]):
            recent = known[:, step : step + order][:, ::-1]
            known[:, step + order] = np.clip(driven[:, step] + recent @ self.target_weights, -1e6, 1e6)  # May diverge.
        return known[:, order:]


def fit_best(train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray]) -> ARX:
    """Returns the model whose orders have the least free-running error on the validation data.

    Args:
        train: Forces and targets, N×L each; the weights are fitted to them, one step ahead.
        val: The same for validation.
    """
    products = _products(*train)
    models = [_solve(*products, *orders) for orders in product(NUM_PAST_TARGETS, NUM_PAST_FORCES)]
    return min(models, key=lambda model: nrmse(model.simulate(val[0]), val[1]))


def _products(forces: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the products of all features with each other, and with the target, summed over signals and steps."""
    num_features = NUM_PAST_TARGETS[-1] + NUM_PAST_FORCES[-1]
    squares, mixed = np.zeros((num_features, num_features)), np.zeros(num_features)
    for start in range(0, len(forces), BLOCK_SIZE):
        force, target = forces[start : start + BLOCK_SIZE], targets[start : start + BLOCK_SIZE]
        blocks = [_past(target, NUM_PAST_TARGETS[-1], 1), _past(force, NUM_PAST_FORCES[-1], 0)]
        features = np.concatenate(blocks, axis=2).reshape(-1, num_features)
        squares += features.T @ features
        mixed += features.T @ target.reshape(-1)
    return squares, mixed


def _solve(squares: np.ndarray, mixed: np.ndarray, num_past_targets: int, num_past_forces: int) -> ARX:
    """Solves the normal equations of one pair of orders."""
    used = [*range(num_past_targets), *range(NUM_PAST_TARGETS[-1], NUM_PAST_TARGETS[-1] + num_past_forces)]
    weights = np.linalg.lstsq(squares[np.ix_(used, used)], mixed[used], rcond=None)[0]
    return ARX(weights[:num_past_targets], weights[num_past_targets:])


def nrmse(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Returns the root mean square error, divided by the targets' standard deviation."""
    return float(np.sqrt(np.mean(np.square(predictions - targets))) / targets.std())


def _past(signals: np.ndarray, num_steps: int, delay: int) -> np.ndarray:
    """Returns for each step the signal `delay`, `delay` + 1, ... steps before, N×L×num_steps; zeros at the start."""
    length = signals.shape[1]
    padded = np.pad(signals, ((0, 0), (num_steps + delay, 0)))
    lags = [padded[:, num_steps - lag : num_steps - lag + length] for lag in range(num_steps)]
    return np.stack(lags, axis=2) if lags else np.zeros((*signals.shape, 0))
