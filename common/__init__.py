"""Everything that two projects would otherwise write twice.

Importing the package keeps torchmetrics from loading packages that are not used, and switches on run-time type checks
for all of it: with the first module but for the few that show the help of `ai-research`, which takes less time than
beartype takes to be imported.
"""

from common.utils import light_imports

UNCHECKED = ("common.cli", "common.cli.__main__", "common.cli.program", "common.utils.beartype")


def _switch_on_type_checks() -> None:
    from beartype.claw import beartype_this_package

    from common.utils.beartype import BEARTYPE_CONF

    beartype_this_package(conf=BEARTYPE_CONF)


light_imports.install()
light_imports.before_first_import(_switch_on_type_checks, package=__name__, except_for=UNCHECKED)
