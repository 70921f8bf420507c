"""The research projects, one folder each. Importing the package switches on run-time type checks for all of it."""

from beartype.claw import beartype_this_package

from common.utils.beartype import BEARTYPE_CONF

beartype_this_package(conf=BEARTYPE_CONF)
