"""The grid sweeper: one point for each combination of the comma-separated values."""

from dataclasses import dataclass
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from common.errors import ConfigError


@dataclass
class GridSweeperConfig:
    """Configures the grid sweeper, which has nothing to configure."""

    _target_: str = "hydra_plugins.ai_research.sweeper.GridSweeper"


def parse_overrides(arguments: list[str]) -> list[Override]:
    """Parses the `key=value` arguments of a command line."""
    return OverridesParser.create().parse_overrides(arguments)


def expand_grid(arguments: list[str]) -> list[list[str]]:
    """Returns the overrides of each point of the grid that a command line spans.

    Args:
        arguments: The command's overrides, for example `["task=fnn", "litmodule.optimizer.lr=0.1,0.2"]`.

    Returns:
        One list of overrides per point; a single list where nothing is swept.

    Raises:
        ConfigError: a value asks for a random sweep, which a grid cannot give.
    """
    return [list(point) for point in product(*(_values(override) for override in parse_overrides(arguments)))]


def swept_keys(arguments: list[str]) -> list[str]:
    """Returns the keys that take more than one value, in the order in which they were given."""
    return [override.get_key_element() for override in parse_overrides(arguments) if override.is_sweep_override()]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        assert override.input_line is not None
        return [override.input_line]
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"The grid sweeper cannot sweep over {override.input_line}: it takes lists of values, "
            "as in key=1,2,3 or key=range(1,4)."
        )
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
