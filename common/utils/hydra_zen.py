"""Builders that turn a class into a configuration of its whole signature.

`generate_config` builds the object when the configuration is instantiated, `generate_config_partial` builds a
`functools.partial` of it. Both pass lists and dicts as plain Python containers, and leave dataclasses as they are
(`hydra_convert="partial"`).
"""

from dataclasses import is_dataclass
from typing import Any

from hydra.conf import HydraConf
from hydra_zen import make_custom_builds_fn
from hydra_zen.wrapper import default_to_config
from omegaconf import OmegaConf

generate_config: Any = make_custom_builds_fn(populate_full_signature=True, hydra_convert="partial")
"""Configures a call, with every parameter of its signature declared."""

generate_config_partial: Any = make_custom_builds_fn(
    zen_partial=True, populate_full_signature=True, hydra_convert="partial"
)
"""Configures a `functools.partial`, with every parameter of its signature declared."""

generate_config_partial_no_full_sig: Any = make_custom_builds_fn(
    zen_partial=True, populate_full_signature=False, hydra_convert="partial"
)
"""Configures a `functools.partial` that declares only the parameters given, for signatures that cannot be read."""


def destructure(node: Any, *args: Any, **kwargs: Any) -> Any:
    """Turns a structured config into plain containers, so that beartype judges the values.

    OmegaConf checks structured configs against a small subset of Python's types, and refuses or converts the rest. A
    plain container passes everything on to the annotated constructor, where beartype sees the real annotation.
    Hydra's own configuration stays structured: nobody else would check it.
    """
    config = default_to_config(node, *args, **kwargs)
    is_hydra_config = isinstance(config, HydraConf) or (isinstance(config, type) and issubclass(config, HydraConf))
    if is_dataclass(config) and not is_hydra_config:
        return OmegaConf.create(OmegaConf.to_container(OmegaConf.create(config)))  # type: ignore[call-overload]
    return config
