"""A project finds torchmetrics whole: what needs an optional package is there once it is asked for."""

import importlib.util

import pytest

PROJECT = """
import sys
import common
import torch
import torchmetrics
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

print("loaded", *(name for name in ("matplotlib", "scipy", "torchvision", "transformers") if name in sys.modules))
before = torchmetrics.Metric
accuracy = MulticlassAccuracy(3)
accuracy.update(torch.tensor([0, 1]), torch.tensor([0, 2]))
figure, axes = accuracy.plot()
print("accuracy", type(figure).__name__, len(axes.lines))
matrix = MulticlassConfusionMatrix(3)
matrix.update(torch.tensor([0, 1]), torch.tensor([0, 2]))
print("matrix", type(matrix.plot()[0]).__name__)
import torchmetrics.functional.detection as detection
print("functional", hasattr(detection, "intersection_over_union"), hasattr(detection, "no_such_metric"))
try:
    from torchmetrics.detection import NoSuchMetric
except ImportError as error:
    print(str(error).split(" (")[0])
print("same", torchmetrics.Metric is before, isinstance(accuracy, torchmetrics.Metric))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_plots_and_optional_metrics_are_there_when_they_are_asked_for(tmp_path, cli_in_subprocess) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    outcome = cli_in_subprocess(script=tmp_path / "project.py")
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines() == [
        "loaded",
        "accuracy Figure 1",
        "matrix Figure",
        "functional True False",
        "cannot import name 'NoSuchMetric' from 'torchmetrics.detection'",
        "same True True",
    ]
