"""What a run does not use is not loaded, installed or not; and it can be loaded later as if nothing had been."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

from common.foreign.torchmetrics import HIDDEN_PACKAGES, hidden

NEUROEVOLUTION = ("numba", "pygame", "cmaes", "envpool", "Box2D", "common.ne")
"""What a deep-learning run has no use for."""

FORBIDDEN = (
    *HIDDEN_PACKAGES,
    *NEUROEVOLUTION,
    "torch._dynamo.eval_frame",
    "sklearn",
    "tensorboard",
    "diffusers",
)


@pytest.fixture
def everything_installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which each package of the list can be found, fakes standing in for those that are not here."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    for name in (*HIDDEN_PACKAGES, *NEUROEVOLUTION, "sklearn", "tensorboard", "diffusers"):
        try:
            version(name)
        except PackageNotFoundError:
            if find_spec(name) is not None:
                continue
            (tmp_path / "fakes" / name).mkdir(parents=True)
            (tmp_path / "fakes" / name / "__init__.py").write_text("__version__ = '99.0'\nIS_FAKE = True\n")
            info = tmp_path / "fakes" / f"{name}-99.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "fakes")}


@pytest.mark.slow
def test_a_project_loads_nothing_that_it_does_not_use(
    tmp_path: Path, everything_installed: dict[str, str], cli_in_subprocess
) -> None:
    script = tmp_path / "importer.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import importlib.util, sys
            from importlib.metadata import version
            names = {FORBIDDEN!r}
            import projects.classify_mnist.train
            print("loaded", *(name for name in names if name in sys.modules))
            print("hidden", *(name for name in names if importlib.util.find_spec(name) is None))
            import scipy.signal, matplotlib, torch._dynamo, pandas, transformers, gymnasium
            print("version", version("scipy") == scipy.__version__)
            import torch
            from pytorch_lightning.utilities.compile import OptimizedModule as lightnings
            from lightning_fabric.wrappers import OptimizedModule as fabrics
            compiled, plain = torch.compile(torch.nn.Linear(1, 1)), torch.nn.Linear(1, 1)
            print("isinstance", isinstance(compiled, lightnings), isinstance(compiled, fabrics))
            print("isinstance", isinstance(plain, lightnings), isinstance(plain, fabrics))
            print("disable", torch.compiler.disable.__module__)
            from lightning_utilities.core.imports import RequirementCache
            print("requirement", bool(RequirementCache("scipy>=1.0")))
            """
        )
    )
    outcome = cli_in_subprocess(script=script, env=everything_installed)
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines() == [
        "loaded",
        "hidden",
        "version True",
        "isinstance True True",
        "isinstance False False",
        "disable torch.compiler",
        "requirement True",
    ]


@pytest.mark.slow
def test_training_does_without_the_compiler_and_compiling_gets_the_real_one(tmp_path: Path, cli_in_subprocess) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(
        textwrap.dedent(
            """
            import inspect, sys
            import common
            import torch
            from common.launch.isolation import isolated

            def step():
                torch.optim.AdamW([parameter]).step()

            parameter = torch.nn.Parameter(torch.ones(2))
            parameter.grad = torch.ones(2)
            with isolated():
                step()
            inspect.getmodule(inspect.currentframe())
            print("loaded", "torch._dynamo.eval_frame" in sys.modules, "sympy" in sys.modules)
            stand_in = sys.modules["torch._dynamo"]
            asked = stand_in._undisabled
            print("asked", bool(asked), all(hasattr(function, "__dynamo_disable") for function in asked))
            marked = torch.compiler.disable(lambda: None)
            print("loaded", "torch._dynamo.eval_frame" in sys.modules, torch._dynamo is not stand_in)
            print("asked", any(hasattr(function, "__dynamo_disable") for function in asked))
            print("marked", marked._torchdynamo_disable)
            step()
            print("real", asked[0].__dynamo_disable._torchdynamo_disable)
            """
        )
    )
    outcome = cli_in_subprocess(script=script)
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines() == [
        "loaded False False",
        "asked True True",
        "loaded True True",
        "asked False",
        "marked True",
        "real True",
    ]


@pytest.mark.slow
def test_a_metric_finds_the_package_that_was_imported_before_common(tmp_path: Path, cli_in_subprocess) -> None:
    script = tmp_path / "importer.py"
    script.write_text(
        "import scipy\nimport common\nimport torchmetrics\n"
        "from torchmetrics.utilities.imports import _SCIPY_AVAILABLE\nprint(bool(_SCIPY_AVAILABLE))\n"
    )
    pytest.importorskip("scipy")
    outcome = cli_in_subprocess(script=script)
    assert outcome.out == "True\n", outcome.err


def fail_while_hidden() -> None:
    with hidden(["no_such_package_here", "sys"]):
        assert sys.modules["no_such_package_here"] is None  # type: ignore[comparison-overlap]
        assert sys.modules["sys"] is sys  # Loaded already: left in sight.
        raise ZeroDivisionError


def test_hiding_ends_with_its_block_even_when_it_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        fail_while_hidden()
    assert "no_such_package_here" not in sys.modules


def test_hidden_packages_look_uninstalled() -> None:
    from importlib.metadata import PackageNotFoundError

    from lightning_utilities.core import imports

    with hidden(["some_hidden_package"]), pytest.raises(PackageNotFoundError):
        imports._version("some_hidden_package")
    assert imports._version("torch")


def test_wandb_starts_without_its_launcher_of_jobs_which_is_there_when_asked_for(
    tmp_path: Path, cli_in_subprocess
) -> None:
    script = tmp_path / "importer.py"
    script.write_text(
        "import sys\n"
        "import common\n"
        "import wandb.sdk.launch.inputs.internal\n"  # What each run imports.
        "print('wandb.sdk.launch.agent' in sys.modules)\n"
        "print(wandb.sdk.launch.LaunchAgent.__module__, hasattr(wandb.sdk.launch, 'nothing'))\n"
    )
    outcome = cli_in_subprocess(script=script)
    assert (outcome.status, outcome.out) == (0, "False\nwandb.sdk.launch.agent.agent False\n"), outcome.err
