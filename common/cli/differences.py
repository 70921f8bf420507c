"""Finds the first difference between two runs that should be the same to the last bit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Rows = Sequence[Mapping[str, float]]


def first_difference_of_metrics(recorded: Rows, reproduced: Rows, *, is_finished: bool) -> str | None:
    """Returns where two `metrics.csv` differ first, their times aside; None where they do not.

    Args:
        recorded: The rows that are to be met.
        reproduced: The rows that came out.
        is_finished: Whether the recorded run went to its end; otherwise the reproduction may go on further.
    """
    for number, (before, after) in enumerate(zip(recorded, reproduced, strict=False), start=1):
        for name in dict.fromkeys([*before, *after]):
            old, new = before.get(name), after.get(name)
            if name != "time" and repr(old) != repr(new):  # Numbers are written with every digit; NaN is NaN.
                return f"row {number} (step {before.get('step')}), {name}: {old!r} was recorded, {new!r} came out"
    if len(reproduced) < len(recorded) or (is_finished and len(reproduced) > len(recorded)):
        return f"{len(recorded)} rows were recorded, {len(reproduced)} came out; those that both have are the same"
    return None


def first_difference_of_parameters(recorded: Mapping[str, Any], reproduced: Mapping[str, Any]) -> str | None:
    """Returns in which tensor two checkpoints differ first, bit by bit; None where they do not.

    Args:
        recorded: The checkpoint that is to be met.
        reproduced: The checkpoint that came out.
    """
    before, after = dict(parameters_of(recorded)), dict(parameters_of(reproduced))
    for name in dict.fromkeys([*before, *after]):
        if name not in before or name not in after:
            return f"{name} is only in the {'recorded' if name in before else 'reproduced'} checkpoint"
        old, new = before[name], after[name]
        if old.shape != new.shape or old.dtype != new.dtype:
            return f"{name}: {old.dtype} {tuple(old.shape)} was recorded, {new.dtype} {tuple(new.shape)} came out"
        difference = _describe(old, new)
        if difference is not None:
            return f"{name}: {difference}"
    return None


def parameters_of(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Yields the tensors of a checkpoint's `state_dict` or, where there is none, all its tensors, by dotted name."""
    yield from _tensors(checkpoint.get("state_dict", checkpoint), "")


def _tensors(tree: Any, path: str) -> Iterator[tuple[str, "torch.Tensor"]]:
    import torch  # Only here: everything else is done without.

    if isinstance(tree, torch.Tensor):
        yield path, tree
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, value in items:
        yield from _tensors(value, f"{path}.{key}" if path else str(key))


def _describe(old: "torch.Tensor", new: "torch.Tensor") -> str | None:
    """Returns how many elements of two tensors of the same shape differ in a bit, and the first that do."""
    import torch

    size = old.element_size()
    bits = [tensor.contiguous().reshape(-1).view(torch.uint8).reshape(-1, size) for tensor in (old, new)]
    differing = (bits[0] != bits[1]).any(dim=1)
    if not differing.any():
        return None
    first = int(differing.nonzero()[0])
    values = [tensor.reshape(-1)[first].item() for tensor in (old, new)]
    return (
        f"{int(differing.sum())} of {differing.numel()} elements differ; the first, number {first}, "
        f"was recorded as {values[0]!r} and came out as {values[1]!r}"
    )
