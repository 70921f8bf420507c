"""One point of a command: a plain run, or one combination of a sweep's values."""

import copy
from dataclasses import dataclass, field
from typing import Any

from hydra.core.utils import setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from common.config import CONTINUE
from common.launch.settle import settle
from common.launch.sweep import swept_keys
from common.run.changes import changes_between, effective_overrides
from common.run.choice import Kind, Launch
from common.run.identity import budget_of, code_fingerprints, identity_of
from common.run.provenance import package_versions
from common.utils.hydra import editable, resolve
from common.utils.misc import repository_path
from common.utils.runner import get_absolute_project_path


@dataclass
class Point:
    """What is known of a point before it has a folder.

    Attributes:
        index: Its position in the sweep, from 0.
        overrides: All its overrides, those of Hydra itself included.
        own_overrides: The overrides that the sweep varies, empty for a plain run.
        config: Its composed configuration.
        num_ranks: Processes that share its work.
        data: What its components say of the data that is used, once settled.
        changes: What its configuration changes of the task's defaults; see `common.run.changes`.
    """

    index: int
    overrides: list[str]
    own_overrides: list[str]
    config: DictConfig
    num_ranks: int
    data: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def may_continue(self) -> bool:
        """Whether an earlier run of this point may be continued."""
        return bool(self.config.config.ckpt_path == CONTINUE)

    def settle(self) -> None:
        """Pins down what the configuration leaves to the surroundings."""
        self.data = settle(self.config)

    def launch(self) -> Launch:
        """Returns what the point's folder will be chosen by."""
        tree = self._tree()
        swept = dict(override.lstrip("+").split("=", 1) for override in self.own_overrides)
        kind: Kind = "point" if self.own_overrides else "plain"
        return Launch(
            kind=kind,
            identity=identity_of(tree, self.data, swept),
            budget=budget_of(tree),
            code=code_fingerprints([repository_path() / "common", get_absolute_project_path()], repository_path()),
            packages=package_versions(),
            overrides=self.own_overrides,
            changes=self.changes,
            given=effective_overrides(self.overrides, self.changes),
        )

    def _tree(self) -> dict[str, Any]:
        config = copy.deepcopy(self.config)
        resolve(config)
        tree: Any = OmegaConf.to_container(config)
        return {str(key): value for key, value in tree.items() if key != "hydra"}


def settled_points(context: HydraContext, config: DictConfig, points: list[list[str]], num_ranks: int) -> list[Point]:
    """Composes and settles the configurations of a command's points.

    Args:
        context: Hydra's means to compose configurations.
        config: The command's configuration, without the values that are swept.
        points: Each point's overrides.
        num_ranks: Processes that share a point's work.

    Returns:
        The points; none if `config.preflight_only` asks for the checks alone, which were done before.
    """
    setup_globals()
    swept = swept_keys(list(config.hydra.overrides.task))
    composed = [compose_point(context, config, index, point, swept, num_ranks) for index, point in enumerate(points)]
    if any(point.config.config.preflight_only for point in composed):
        print(f"Preflight: {len(points)} configuration(s) checked, nothing wrong. Nothing was started.")
        return []
    defaults = _defaults(context, config)
    for point in composed:
        point.changes = changes_between(defaults, _plain(point.config))
        point.settle()
    return composed


def compose_point(
    context: HydraContext, config: DictConfig, index: int, overrides: list[str], swept: list[str], num_ranks: int
) -> Point:
    """Composes the configuration of a point.

    Args:
        context: Hydra's means to compose configurations.
        config: The command's configuration, without the values that are swept.
        index: The point's position in the sweep.
        overrides: The point's overrides, those of Hydra itself left out.
        swept: The keys that the sweep varies.
        num_ranks: Processes that share the point's work.
    """
    composed = context.config_loader.load_sweep_config(config, overrides)
    with editable(composed):
        composed.hydra.job.num, composed.hydra.job.id = index, str(index)
    own = [override for override in overrides if override.lstrip("+").partition("=")[0] in swept]
    return Point(index, [*overrides, *composed.hydra.overrides.hydra], own, composed, num_ranks)


def _defaults(context: HydraContext, config: DictConfig) -> dict[str, Any]:
    """Returns the configuration that the task has without overrides."""
    task = [override for override in config.hydra.overrides.task if override.lstrip("+").startswith("task=")]
    return _plain(context.config_loader.load_sweep_config(config, task))


def _plain(config: DictConfig) -> dict[str, Any]:
    """Returns a configuration's unresolved values in plain containers."""
    tree: Any = OmegaConf.to_container(config)
    return {str(key): value for key, value in tree.items()}
