"""torchvision beside a CPU build of torch."""

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_torchvisions_data_and_transforms_work(tmp_path: Path, cli_in_subprocess) -> None:
    script = tmp_path / "importer.py"
    script.write_text(
        "import torch\n"
        "from common.utils.torch import import_torchvision\n"
        "torchvision = import_torchvision()\n"
        "assert import_torchvision() is torchvision\n"
        "from torchvision.datasets import MNIST\n"
        "from torchvision.transforms import CenterCrop\n"
        "print(MNIST.__name__, tuple(CenterCrop(2)(torch.zeros(1, 4, 4)).shape))\n"
    )
    outcome = cli_in_subprocess(script=script)
    assert (outcome.status, outcome.out) == (0, "MNIST (1, 2, 2)\n"), outcome.err


def test_another_error_of_torchvision_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from common.utils.torch import import_torchvision

    (tmp_path / "torchvision.py").write_text("raise RuntimeError('something else')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RuntimeError, match="something else"):
        import_torchvision()
