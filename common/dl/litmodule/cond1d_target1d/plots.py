"""Pictures of signals. Matplotlib is imported only when one is drawn.

Axes: B signals; L length; C, T numbers per step, of which the first are drawn; S samples.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from common.utils.beartype import shape_checked

if TYPE_CHECKING:
    import matplotlib.figure

NUM_COLUMNS = 2


@shape_checked
def plot_signals(
    condition: Float[Tensor, "B L C"],
    target: Float[Tensor, "B L T"],
    samples: Float[Tensor, "S B L T"],
    interval: tuple[float, float],
) -> "matplotlib.figure.Figure":
    """Draws each condition with its target and what was predicted: the samples' mean, and their interval.

    Args:
        condition: The conditioning signals.
        target: What was to be predicted.
        samples: What was predicted.
        interval: The quantiles between which a band is drawn, if there are several samples.
    """
    from matplotlib.figure import Figure

    num_columns = min(NUM_COLUMNS, len(condition))
    num_rows = -(-len(condition) // num_columns)
    figure = Figure(figsize=(6 * num_columns, 2.2 * num_rows + 0.6), layout="constrained")
    grid = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes in grid[len(condition) :]:
        axes.axis("off")
    for index, axes in zip(range(len(condition)), grid, strict=False):
        axes.plot(condition[index, :, 0].numpy(), color="#bdc3c7", linewidth=1, label="condition")
        axes.plot(target[index, :, 0].numpy(), color="#2c3e50", linewidth=1.5, label="target")
        drawn = samples[:, index, :, 0]
        axes.plot(drawn.mean(dim=0).numpy(), color="#c0392b", linewidth=1.2, label="prediction")
        if len(drawn) > 1:
            low, high = drawn.quantile(torch.tensor(interval), dim=0)
            steps = range(drawn.shape[1])
            axes.fill_between(steps, low.numpy(), high.numpy(), color="#c0392b", alpha=0.25, linewidth=0)
    grid[0].legend(loc="upper right", fontsize=8)
    return figure


def draw_pixels(figure: "matplotlib.figure.Figure") -> np.ndarray:
    """Returns a figure as a picture: height × width × 3 bytes.

    Args:
        figure: Not changed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
