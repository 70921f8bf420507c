"""One point of a command: a plain run, or one combination of a sweep's values, composed and settled.

To settle is to pin down what a configuration leaves to the surroundings, so that what is stored is what was used.
"""

import copy
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from common.check.gate import fingerprint, freeze
from common.check.tree import resolve as resolve_target
from common.config import CONTINUE, PATH_KEYS
from common.engine import Engine
from common.errors import ConfigError
from common.launch.code_state import CodeState
from common.launch.resources import Resources, count_ranks_per_node, granted
from common.launch.role import folder_of_first_rank, folder_of_job, is_replay
from common.launch.sweep.search import Proposal, Search
from common.run.changes import changes_between, effective_overrides
from common.run.code import code_fingerprints
from common.run.identity import budget_of, identity_of
from common.run.origin import origin_of
from common.run.provenance import package_versions
from common.run.record import Origin, Record
from common.utils.hydra import editable, hydra_config, resolve
from common.utils.misc import repository_path
from common.utils.runner import get_absolute_project_path


@dataclass
class Command:
    """What a command asks for.

    Attributes:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        config: The command's configuration, without the values that are swept.
        search: Chooses the points.
        resources: What a subtask may use.
        engine: What runs a subtask.
    """

    context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    search: Search
    resources: Resources
    engine: Engine


def settle(config: DictConfig) -> dict[str, Any]:
    """Makes relative paths absolute, and lets every component pin down what it finds on this machine.

    A component takes part by a class method `settle(node)`, which may change its own node of the configuration: a data
    module replaces `source: auto` with the source that it found.

    Args:
        config: A composed configuration, changed in place.

    Returns:
        What the components say of the data that is used.

    Raises:
        ConfigError: what the configuration asks for is not there.
    """
    data: dict[str, Any] = {}
    with editable(config), hydra_config(config):
        for key in PATH_KEYS:
            value: Any = OmegaConf.select(config, key)
            if isinstance(value, str) and (key, value) != ("config.ckpt_path", CONTINUE):
                OmegaConf.update(config, key, str(Path(value).expanduser().absolute()))
        if config.config.ckpt_path not in (None, CONTINUE) and not Path(config.config.ckpt_path).is_file():
            raise ConfigError(f"config.ckpt_path={config.config.ckpt_path!r}: there is no such file.")
        for node in config.values():
            target = node.get("_target_") if isinstance(node, DictConfig) else None
            component: Any = resolve_target(target) if isinstance(target, str) else None
            if hasattr(component, "settle"):
                data |= component.settle(node)
    return data


@dataclass
class Point:
    """What is known of a point before it has a folder.

    Attributes:
        index: Its position in the sweep, from 0.
        overrides: All its overrides, those of Hydra itself included.
        own_overrides: The overrides that the sweep varies, empty for a plain run.
        config: Its composed configuration.
        num_nodes: Machines that share its work.
        ranks_per_node: Processes on each of them that do.
        code: Fingerprints of the code's files.
        packages: Versions of the packages that can change a result.
        data: What its components say of the data that is used.
        changes: What its configuration changes of the task's defaults; see `common.run.changes`.
        engine: What runs it.
        judged: A fingerprint of the configuration, which is built as it is.
        code_state: The state of the code; None for a job, which runs from a copy.
        origin: The checkpoint that it starts from; None where it starts from scratch.
    """

    index: int
    overrides: list[str]
    own_overrides: list[str]
    config: DictConfig
    num_nodes: int
    ranks_per_node: int
    code: dict[str, str]
    packages: dict[str, str]
    data: dict[str, Any]
    changes: dict[str, dict[str, Any]]
    engine: Engine
    judged: str
    code_state: CodeState | None = None
    origin: Origin | None = None

    @property
    def num_ranks(self) -> int:
        """Processes that share its work."""
        return self.num_nodes * self.ranks_per_node

    @property
    def may_continue(self) -> bool:
        """Whether an earlier run of this point may be continued."""
        return self.config.config.ckpt_path is not None

    @functools.cached_property
    def record(self) -> Record:
        """What is on record of a run of this point as it begins: what its folder is chosen by."""
        swept = dict(override.lstrip("+").split("=", 1) for override in self.own_overrides)
        return Record(
            kind="point" if self.own_overrides else "plain",
            identity=identity_of(self._tree, self._data_and_origin, swept, self.engine),
            budget=budget_of(self._tree, self.engine),
            code=self.code,
            packages=self.packages,
            engine=self.engine,
            origin=self.origin,
            overrides=self.own_overrides,
            changes=self.changes,
            given=effective_overrides(self.overrides, self.changes),
        )

    @property
    def _data_and_origin(self) -> dict[str, Any]:
        return self.data if self.origin is None else {**self.data, "origin": self.origin.fingerprint}

    @functools.cached_property
    def _tree(self) -> dict[str, Any]:
        config = copy.deepcopy(self.config)
        resolve(config)
        tree: Any = OmegaConf.to_container(config)
        return {str(key): value for key, value in tree.items() if key != "hydra"}


class Composer:
    """Composes and settles the points of a command, before anything starts.

    Args:
        command: What is asked for.

    Attributes:
        code_state: The state of the code; None for what runs from a copy of the code.
    """

    def __init__(self, command: Command) -> None:
        self._command = command
        is_job = folder_of_job() is not None or folder_of_first_rank() is not None or is_replay()
        self.code_state = None if is_job else CodeState(repository_path(), get_absolute_project_path())
        self._code = code_fingerprints([repository_path() / "common", get_absolute_project_path()], repository_path())
        self._packages = package_versions()
        self._origins: dict[str, Origin] = {}
        self._composed: dict[tuple[int, tuple[str, ...]], Point] = {}
        task = [line for line in command.config.hydra.overrides.task if line.lstrip("+").startswith("task=")]
        self._defaults = _plain(self._compose(task))

    def points(self, proposals: Iterable[Proposal]) -> list[Point]:
        """Returns points, ready to be launched; each is composed once.

        Raises:
            ConfigError: what a configuration asks for is not there.
        """
        found = []
        for proposal in proposals:
            name = (proposal.index, tuple(proposal.overrides))
            if name not in self._composed:
                self._composed[name] = self._point(proposal)
            found.append(self._composed[name])
        return found

    def examples(self) -> list[Point]:
        """Returns the points that stand for all: for a plain run or a grid, all that there are."""
        return self.points(Proposal(index, list(given)) for index, given in enumerate(self._command.search.examples))

    def _compose(self, overrides: list[str]) -> DictConfig:
        """Returns a configuration of its own, with the command's settings of Hydra itself."""
        return self._command.context.config_loader.load_sweep_config(self._command.config, overrides)

    def _origin_of(self, path: str | None) -> Origin | None:
        if path in (None, CONTINUE):
            return None
        if path not in self._origins:
            self._origins[path] = origin_of(Path(path))
        return self._origins[path]

    def _point(self, proposal: Proposal) -> Point:
        command = self._command
        composed = self._compose(proposal.overrides)
        resources = granted(composed.config.device, command.resources)
        num_nodes, ranks_per_node = resources.nodes, count_ranks_per_node(composed.config.device, resources)
        with editable(composed):
            composed.hydra.job.num, composed.hydra.job.id = proposal.index, str(proposal.index)
            composed.hydra.launcher.nodes, composed.hydra.launcher.tasks_per_node = num_nodes, ranks_per_node
        swept = {key.lstrip("+") for key in command.search.swept}
        changes = changes_between(self._defaults, _plain(composed))  # Before what they leave to the machine is settled.
        data = settle(composed)  # Makes paths absolute, too.
        with hydra_config(composed):
            freeze(composed)
        return Point(
            index=proposal.index,
            overrides=[*proposal.overrides, *composed.hydra.overrides.hydra],
            own_overrides=[line for line in proposal.overrides if line.lstrip("+").partition("=")[0] in swept],
            config=composed,
            num_nodes=num_nodes,
            ranks_per_node=ranks_per_node,
            code=self._code,
            packages=self._packages,
            data=data,
            changes=changes,
            engine=command.engine,
            judged=fingerprint(_plain(composed)),
            code_state=self.code_state,
            origin=self._origin_of(composed.config.ckpt_path),
        )


def _plain(config: DictConfig) -> dict[str, Any]:
    """Returns a configuration's unresolved values in plain containers."""
    tree: Any = OmegaConf.to_container(config)
    return {str(key): value for key, value in tree.items()}
