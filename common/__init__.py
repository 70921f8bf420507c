"""Everything that two projects would otherwise write twice.

Importing the package keeps others from loading what is not used (`common/foreign`), and switches on run-time type
checks for all of it: with the first module but for the few that show the help of `ai-research`, which takes less time
than beartype takes to be imported.
"""

from common.foreign import import_hooks, torch_dynamo, torchmetrics, wandb_launch

UNCHECKED = ("common.cli", "common.cli.__main__", "common.cli.program", "common.utils.beartype")


def _switch_on_type_checks() -> None:
    from beartype.claw import beartype_this_package

    from common.utils.beartype import BEARTYPE_CONF

    beartype_this_package(conf=BEARTYPE_CONF)


torchmetrics.install()
torch_dynamo.install()
wandb_launch.install()
import_hooks.before_first_import(_switch_on_type_checks, package=__name__, except_for=UNCHECKED)
