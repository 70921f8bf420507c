"""The environment that programs get which a run calls: nothing in it steers them elsewhere."""

import os

PREFIXES = ("GIT_", "LD_", "DYLD_", "BASH_FUNC_", "PERL5", "MALLOC_", "SQUEUE_", "SCONTROL_", "SCANCEL_")

NAMES = (
    *("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "IFS", "CDPATH", "PERLLIB", "RUBYOPT", "NODE_OPTIONS"),
    *("GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES", "GLIBC_TUNABLES", "GCC_EXEC_PREFIX"),
    *("PAGER", "EDITOR", "VISUAL", "LESSOPEN", "LESSCLOSE"),
)
"""Variables that load code into a program, call others, or change what it does and prints."""

KEPT = ("LD_LIBRARY_PATH",)
"""Clusters' own programs do not start without their libraries, and this process was started with the same ones."""


def neutral_environment() -> dict[str, str]:
    """Returns this process's environment without what steers other programs."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not (name in NAMES or name.startswith(PREFIXES))
    }
