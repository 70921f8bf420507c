"""Pictures of a run, drawn at its end. Matplotlib is imported only here, and only then."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.run.atomic import write_atomically
from common.run.metrics import read_metrics

if TYPE_CHECKING:
    import matplotlib.figure

NUM_IMAGE_COLUMNS = 10
WRONG_COLOR = "#c0392b"
STAGES = ("train", "val", "test")
LOG_SPREAD = 20
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


def plot_curves(folder: Path) -> list[Path]:
    """Draws one file per metric of a run, with a line per stage.

    Args:
        folder: The run's folder; its `metrics.csv` is read.

    Returns:
        The files written.
    """
    rows = read_metrics(folder)
    names = sorted({column.partition("/")[2] for row in rows for column in row if column.partition("/")[0] in STAGES})
    paths = []
    for name in names:
        curves = {stage: _curve(rows, f"{stage}/{name}") for stage in STAGES}
        if any(len(steps) > 1 for steps, _ in curves.values()):
            paths.append(folder / f"{name.replace('/', '_')}.png")
            save_figure(_draw_curves(name, curves), paths[-1])
    return paths


def plot_images(path: Path, images: Sequence[np.ndarray], labels: Sequence[Any], predictions: Sequence[Any]) -> None:
    """Draws a grid of images with what was predicted; the wrong ones are marked, with the right label beside.

    Args:
        path: The PNG file to write.
        images: Each height × width, or height × width × 3, in [0, 1].
        labels: What each image is.
        predictions: What each image was taken for.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    num_rows = -(-len(images) // NUM_IMAGE_COLUMNS)
    width_in, height_in = NUM_IMAGE_COLUMNS, 1.35 * num_rows + 0.5
    figure = Figure(figsize=(width_in, height_in))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width_in), ylim=(height_in, 0))  # One for all: each takes 10 ms.
    axes.axis("off")
    num_wrong = 0
    for index, (image, label, prediction) in enumerate(zip(images, labels, predictions, strict=True)):
        row, column = divmod(index, NUM_IMAGE_COLUMNS)
        x, y = column + 0.5, 1.35 * row + 1.1  # The image's middle.
        height, width = (0.46 * size / max(image.shape[:2]) for size in image.shape[:2])  # Halved.
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(x - width, x + width, y + height, y - height))
        is_wrong = label != prediction
        title = f"{prediction} (is {label})" if is_wrong else f"{prediction}"
        axes.text(x, y - height - 0.08, title, ha="center", fontsize=10, color=WRONG_COLOR if is_wrong else "black")
        if is_wrong:
            num_wrong += 1
            corner = x - width, y - height
            frame = Rectangle(corner, 2 * width, 2 * height, facecolor="none", edgecolor=WRONG_COLOR, linewidth=4)
            axes.add_patch(frame).set_clip_path(frame)
    axes.text(width_in / 2, 0.16, f"Predictions; {num_wrong} of {len(images)} wrong (red)", ha="center", fontsize=11)
    save_figure(figure, path)


def save_lines(path: Path, lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> None:
    """Draws lines in one picture.

    Args:
        path: The PNG file to write.
        lines: By name, the points of each.
        x_label: What the horizontal axis shows.
        y_label: What the vertical axis shows.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, label=f"{name} (last: {values[-1]:.4g})", marker="." if len(steps) == 1 else None)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def plot_sweep(path: Path, values: Mapping[str, Sequence[str]], results: Sequence[float]) -> None:
    """Draws the result of a sweep's points over each key that was swept.

    Args:
        path: The PNG file to write.
        values: For each key its value at each point, as text.
        results: Each point's result.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(values), 4.2), layout="constrained")
    panels = figure.subplots(1, len(values), squeeze=False, sharey=True)[0]
    for axes, (key, texts) in zip(panels, values.items(), strict=True):
        numbers = _numbers(texts)
        axes.plot(numbers or texts, results, "o", color="#2471a3")
        if numbers and min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_SPREAD:
            axes.set_xscale("log")
        axes.set_xlabel(key)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("result")
    save_figure(figure, path)


def _numbers(texts: Sequence[str]) -> list[float] | None:
    """Returns texts as numbers, or None if any of them is not a number."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _curve(rows: Sequence[dict[str, float]], column: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[column]) for row in rows if column in row and "step" in row]
    return [step for step, _ in points], [value for _, value in points]


def _draw_curves(name: str, curves: dict[str, tuple[list[float], list[float]]]) -> "matplotlib.figure.Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    styles: dict[str, dict[str, Any]] = {
        "train": {"color": "#7f8c8d", "linewidth": 1},
        "val": {"color": "#2471a3", "linewidth": 2, "marker": "o", "markersize": 4},
        "test": {"color": WRONG_COLOR, "linestyle": "none", "marker": "*", "markersize": 12},
    }
    for stage, (steps, values) in curves.items():
        if steps:
            axes.plot(steps, values, label=f"{stage} (last: {values[-1]:.4g})", **styles[stage])
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def save_figure(figure: "matplotlib.figure.Figure", path: Path) -> None:
    """Writes a picture, whole or not at all; a link that stood there is replaced."""
    write_atomically(path, lambda file: figure.savefig(file, dpi=120, format="png"))
