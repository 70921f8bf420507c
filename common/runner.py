"""The skeleton of every runner: from the command line to `run_subtask`."""

import functools
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

from hydra_zen import ZenStore, zen
from omegaconf import DictConfig

from common.check import Declared
from common.check.gate import admit
from common.check.problem import Problem
from common.engine import Engine
from common.errors import ConfigError, ContractError, report_errors
from common.launch import preflight
from common.launch.composing import CONFIG_NAME, VERSION_BASE, composing_once
from common.run.folder import outputs_root
from common.store import store_configs
from common.utils.hydra_zen import destructure
from common.utils.runner import get_absolute_project_path, overrides_first, overrides_to_run
from common.utils.terminal import show_what_can_be_shown

FINAL_METHODS = ("run_task", "handle_configs")


class BaseTaskRunner(ABC):
    """Runs a task: registers the configurations, lets Hydra compose one, and hands it to `run_subtask`.

    Attributes:
        allowed_targets: Further modules or objects, as dotted paths, that a `_target_` may name (for example
            `("scipy.signal",)`). Only Python code can widen the list, never a YAML file.
        engine: What the engine says of itself; a class that defines `run_subtask` has or inherits it.
    """

    allowed_targets: ClassVar[tuple[str, ...]] = ()
    engine: ClassVar[Engine]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a subclass that replaces a final method, and watches that `store_configs` calls its parent's.

        Raises:
            ContractError: the subclass defines `run_task` or `handle_configs`, or runs subtasks without an engine.
        """
        super().__init_subclass__(**kwargs)
        for name in FINAL_METHODS:
            if name in cls.__dict__:
                raise ContractError(f"{cls.__module__}.{cls.__qualname__} must not define {name}(): it is final.")
        if "run_subtask" in cls.__dict__ and not hasattr(cls, "engine"):
            raise ContractError(
                f"{cls.__module__}.{cls.__qualname__} does not say what its engine is. Add engine = Engine(…), with "
                "from common.engine import Engine."
            )
        if "store_configs" in cls.__dict__:
            cls.store_configs = classmethod(_calls_super(cls, cls.__dict__["store_configs"].__func__))  # type: ignore[assignment, method-assign]

    @final
    @classmethod
    def run_task(cls) -> None:
        """Runs the task that the command line names, and exits with the status that tells how it went."""
        with report_errors():
            show_what_can_be_shown()
            os.environ["AI_RESEARCH_PATH"] = str(outputs_root())
            sys.argv[1:] = overrides_first(sys.argv[1:])
            store = cls.handle_configs()
            declared = preflight.declared_by(cls.run_subtask, store, cls.allowed_targets)
            main = functools.partial(
                zen(cls.run_subtask, pre_call=functools.partial(cls._before_building, declared)).hydra_main,
                config_path=str(get_absolute_project_path()),
                config_name=CONFIG_NAME,
                version_base=VERSION_BASE,
            )
            overrides = overrides_to_run(sys.argv[1:])
            if overrides is None:
                main()
                return
            with composing_once(cls.engine) as loader:
                if preflight.check_command(loader, declared, cls.check_subtask, overrides):
                    main()

    @final
    @classmethod
    def handle_configs(cls) -> ZenStore:
        """Registers every configuration in a store, and the store with Hydra.

        Returns:
            The store.
        """
        store = ZenStore(overwrite_ok=True)(to_config=destructure)
        cls.store_configs(store=store)
        store.add_to_hydra_store(overwrite_ok=True)
        return store

    @classmethod
    def _before_building(cls, declared: Declared, config: DictConfig) -> None:
        """Judges the very tree that is about to be built, whoever composed it and where, and prepares the process."""
        admit(config, declared)
        cls.prepare_subtask(config)

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers configurations; a subclass calls `super().store_configs(store=store)` first, then adds its own."""
        store_configs(store)

    @classmethod  # noqa: B027  # An engine may have nothing to prepare.
    def prepare_subtask(cls, config: DictConfig) -> None:
        """Prepares the process before anything is built from a subtask's composed configuration."""

    @classmethod
    def check_subtask(
        cls,
        config: Mapping[Any, Any],  # noqa: ARG003  # Engines look at it.
        wrong_keys: set[str],  # noqa: ARG003
        *,
        is_plain: bool,  # noqa: ARG003
    ) -> list[Problem]:
        """Returns what only the engine can see to be wrong with a configuration, in plain containers and resolved.

        Args:
            config: The configuration.
            wrong_keys: What is known to be wrong with it.
            is_plain: Whether the one subtask starts at once, so that its first step finds as soon what takes long here.
        """
        return []

    @staticmethod
    @abstractmethod
    def run_subtask(*args: Any, **kwargs: Any) -> Any:
        """Runs one subtask with objects that were built from the configuration; its parameters name the keys."""


def _calls_super(owner: type[BaseTaskRunner], method: Callable[..., None]) -> Callable[..., None]:
    """Wraps a `store_configs` so that one that forgets to call its parent's is named.

    The base registers Hydra's settings: if they are missing after `owner`'s method ran, a call is missing in it, since
    the methods above it in the hierarchy were checked in the same way before they returned.
    """

    @functools.wraps(method)
    def store_configs_checked(cls: type[BaseTaskRunner], store: ZenStore) -> None:
        method(cls, store=store)
        if ("hydra", "config") not in store:
            raise ConfigError(
                f"{owner.__module__}.{owner.__qualname__}.store_configs() does not call its parent's. "
                "Make its first line: super().store_configs(store=store)"
            )

    return store_configs_checked
