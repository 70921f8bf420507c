"""What goes wrong while configurations are composed and resolved, in one sentence, whoever raised it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from common.check.problem import without_error_names
from common.check.task_file import describe_yaml_error
from common.errors import ConfigError
from common.utils.misc import nearest
from common.utils.text import short


@contextmanager
def described_errors() -> Iterator[None]:
    """Turns what is raised while configurations are composed and resolved into a `ConfigError` of one sentence."""
    try:
        yield
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(describe_yaml_error(error)) from error
    except ConfigCompositionException as error:
        raise ConfigError(_describe_composition_error(error)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_describe_value_error(error)) from error
    except RecursionError as error:
        raise ConfigError(
            "A value is nested too deeply, or is made of itself: see the interpolations, ${…}."
        ) from error
    except HydraException as error:
        raise ConfigError(_first_line(error)) from error
    except Exception as error:  # Hydra has no errors of its own for much of what can be written.
        raise ConfigError(
            f"The task file and the command line make no configuration: {_first_line(error)}. Give what differs from a "
            "task that runs, key by key."
        ) from error


def _describe_composition_error(error: ConfigCompositionException) -> str:
    """Returns Hydra's text or, for a key that its own node does not have, ours with the nearest key."""
    cause = error.__cause__
    if not isinstance(cause, ConfigKeyError | ConfigAttributeError) or not isinstance(cause.parent_node, DictConfig):
        said = _first_line(error) + (f" {_first_line(cause)}" if cause else "")
        group = re.search(r"Could not override '([\w/]+)'", said)
        return f"{said} What has no default is added: write `- /{group[1]}: <name>`." if group else said
    parent = str(cause.full_key).rpartition(".")[0]
    meant = nearest(str(cause.full_key), [f"{parent}.{key}" for key in map(str, cause.parent_node)])
    return f"No configuration declares the key {cause.full_key}." + (f" Did you mean {meant}?" if meant else "")


def _describe_value_error(error: OmegaConfBaseException) -> str:
    """Returns which value cannot be made, and why."""
    key = str(error.full_key or "")
    said = _first_line(error).rstrip(".")
    return f"{short(key)}: {said}." if key and key not in said else f"{said}."


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return short(without_error_names(" ".join(lines[:2])), 300) if lines else "nobody says why"
