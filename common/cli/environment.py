"""What is around a run: compares what is installed with what was recorded or locked, and tries W&B's server."""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlparse

from common.utils.wandb import DEFAULT_URL

REACH_TIMEOUT_S = 5.0


@dataclass
class Difference:
    """A package whose version is not the one that is wanted.

    Attributes:
        name: The package's name.
        wanted: The version that is recorded or locked.
        installed: The version that is installed; None where it is not.
    """

    name: str
    wanted: str
    installed: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.installed or 'not installed'} instead of {self.wanted}"


def locked_versions(lock: Path) -> dict[str, str]:
    """Returns the versions that a requirements file pins, by package."""
    pinned = (re.match(r"([\w.-]+)==([^\s;]+)", line) for line in lock.read_text(encoding="utf-8").splitlines())
    return {match[1]: match[2] for match in pinned if match}


def installed_version(name: str) -> str | None:
    """Returns the version of a package that is installed, or None."""
    with contextlib.suppress(PackageNotFoundError):
        return version(name)
    return None


def differences_from(wanted: Mapping[str, str]) -> list[Difference]:
    """Returns the packages that are installed in other versions than wanted, or not at all.

    A build's name, as in 2.13.0+cpu, counts only where one is wanted.
    """
    found = (Difference(name, version, installed_version(name)) for name, version in wanted.items())
    return [one for one in found if not _is_same(one.wanted, one.installed)]


def _is_same(wanted: str, installed: str | None) -> bool:
    return installed is not None and wanted in (installed, installed.partition("+")[0])


def unreachable_because() -> str | None:
    """Returns why W&B's server cannot be reached, proxies considered; None if it answers, whatever it says."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    url = os.environ.get("WANDB_BASE_URL", DEFAULT_URL)
    if urlparse(url).scheme not in ("http", "https"):
        return f"WANDB_BASE_URL={url!r} is no web address"
    try:
        urlopen(Request(url, method="HEAD"), timeout=REACH_TIMEOUT_S).close()  # noqa: S310  # The scheme was looked at.
    except HTTPError:
        return None
    except (OSError, ValueError) as error:
        return f"{url} does not answer: {getattr(error, 'reason', error)}"
    return None
