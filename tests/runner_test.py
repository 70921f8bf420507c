"""The skeleton of a runner: what is final, what must be called, and that importing a project runs nothing."""

from typing import Any

import pytest
from hydra_zen import ZenStore

from common.dl.runner import DeepLearningTaskRunner
from common.engine import Engine
from common.errors import ConfigError, ContractError
from common.runner import BaseTaskRunner


@pytest.mark.parametrize("base", [BaseTaskRunner, DeepLearningTaskRunner])
@pytest.mark.parametrize("name", ["run_task", "handle_configs"])
def test_a_final_method_cannot_be_replaced(base: type[BaseTaskRunner], name: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine must not define {name}\(\): it is final"):
        type("Mine", (base,), {name: classmethod(lambda cls: None)})


def test_a_runner_that_does_not_say_what_its_engine_is_is_refused_when_it_is_defined() -> None:
    with pytest.raises(ContractError, match=r"Mine does not say what its engine is\. Add engine = Engine\(…\)"):
        type("Mine", (BaseTaskRunner,), {"run_subtask": staticmethod(lambda config: None)})


class Calls(BaseTaskRunner):
    """Calls its parent's `store_configs`."""

    engine = Engine()

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        super().store_configs(store=store)
        store({"value": 1}, name="calls")


class Forgets(Calls):
    """Does not call its parent's `store_configs`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        store({"value": 2}, name="forgets")


class CallsTheOneThatForgets(Forgets):
    """Is itself right."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        super().store_configs(store=store)


class DefinesNothing(CallsTheOneThatForgets):
    """Has no `store_configs` of its own."""


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["projects/classify_mnist/train.py", "task=fnn"])


@pytest.mark.parametrize("runner", [Forgets, CallsTheOneThatForgets, DefinesNothing])
def test_the_class_that_forgot_to_call_super_is_named(runner: type[BaseTaskRunner]) -> None:
    with pytest.raises(ConfigError) as error:
        runner.handle_configs()
    assert f"{__name__}.Forgets.store_configs() does not call its parent's" in str(error.value)
    assert "super().store_configs(store=store)" in str(error.value)


def test_a_runner_whose_child_forgets_is_named_when_the_child_is_right() -> None:
    class ForgetsLast(Calls):
        @classmethod
        def store_configs(cls, store: ZenStore) -> None:
            pass

    with pytest.raises(ConfigError, match="ForgetsLast"):
        ForgetsLast.handle_configs()


def test_a_runner_that_calls_super_is_stored() -> None:
    store: Any = Calls.handle_configs()
    assert (None, "calls") in store
    assert ("hydra", "config") in store


def test_importing_a_project_runs_nothing(tmp_path, cli_in_subprocess, root) -> None:
    script = tmp_path / "importer.py"
    script.write_text(
        "import sys\n"
        "sys.argv = ['projects/classify_mnist/train.py', 'task=fnn']\n"
        "import projects.classify_mnist.train\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "assert not GlobalHydra.instance().is_initialized()\n"
    )
    outcome = cli_in_subprocess(script=script)
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert list(root.rglob("*")) == []
