"""Everything that two projects would otherwise write twice.

Importing the package switches on run-time type checks for all of it, and keeps torchmetrics from loading packages
that are not used.
"""

from beartype.claw import beartype_this_package

from common.utils import light_imports
from common.utils.beartype import BEARTYPE_CONF

beartype_this_package(conf=BEARTYPE_CONF)
light_imports.install()
