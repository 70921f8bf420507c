"""Side-by-side measurements.

Importing the package imports `common`, so that Lightning, wherever it is imported below, leaves unused packages alone.
"""

import common  # noqa: F401
