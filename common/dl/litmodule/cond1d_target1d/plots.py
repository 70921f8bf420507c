"""Pictures of signals. Matplotlib is imported only when one is drawn.

Axes: B signals; L length; C, T numbers per step, of which the first are drawn; S samples.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from common.dl.litmodule.cond1d_target1d.calibration import central_interval, part_within
from common.utils.beartype import shape_checked

if TYPE_CHECKING:
    import matplotlib.figure

NUM_COLUMNS = 2


@shape_checked
def plot_signals(
    condition: Float[Tensor, "B L C"],
    target: Float[Tensor, "B L T"],
    samples: Float[Tensor, "S B L T"],
) -> "matplotlib.figure.Figure":
    """Draws each condition with its target and what was predicted: the samples' mean, and an interval of several.

    Args:
        condition: The conditioning signals.
        target: What was to be predicted.
        samples: What was predicted.
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
            low, high, level = central_interval(drawn, 0.9)
            band = {"color": "#c0392b", "alpha": 0.25, "linewidth": 0, "label": f"{100 * level:.0f} % interval"}
            axes.fill_between(range(drawn.shape[1]), low.numpy(), high.numpy(), **band)
    grid[0].legend(loc="upper right", fontsize=8)
    return figure


@shape_checked
def plot_reliability(samples: Float[Tensor, "S ..."], target: Float[Tensor, "..."]) -> "matplotlib.figure.Figure":
    """Draws which part of the targets each of the samples' central intervals holds, against what it should hold.

    Args:
        samples: What was predicted.
        target: What came true.
    """
    from matplotlib.figure import Figure

    levels = torch.linspace(0.05, 0.95, 19).tolist()
    held = [part_within(samples, target, level).mean().item() for level in levels]
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bdc3c7", linewidth=1, label="calibrated")
    axes.plot(levels, held, color="#c0392b", marker="o", markersize=3, linewidth=1.2, label="predicted intervals")
    axes.set(xlabel="probability of the interval", ylabel="part of the targets within", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", fontsize=8)
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
