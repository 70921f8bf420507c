"""Cuts work into blocks that stay in a core's cache while several operations pass over them."""

import torch

CACHED_NUMBERS = 2**18
"""Numbers per block: 1 MB in float32, about a core's second-level cache."""


def blocks_in_cache(count: int, size: int, device: torch.device) -> list[slice]:
    """Cuts an axis into blocks; on a GPU, where each operation costs a launch, into a single one.

    Args:
        count: Length of the axis.
        size: Numbers that an operation touches for each index of it.
        device: Where the numbers lie.
    """
    per_block = max(1, CACHED_NUMBERS // size) if device.type == "cpu" else count
    return [slice(start, min(start + per_block, count)) for start in range(0, count, per_block)]
