"""Batch size and workers: what is chosen, and that choosing leaves no trace in the run."""

import os
import random
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.dl import tuning
from common.dl.random_states import seed_everything, untouched_random_states
from common.dl.tuning import choose_batch_size, num_workers_to_keep_up, samples_per_second
from common.dl.utils import lightning
from common.dl.utils.lightning import set_batch_size_and_num_workers
from tests.processes import start

CPU = torch.device("cpu")


def measured(rates: dict[int, float]) -> Callable[[int], float]:
    """Returns a measurement with known results; what it does not know does not fit in memory."""

    def measure(size: int) -> float:
        if size not in rates:
            raise torch.OutOfMemoryError
        return rates[size]

    return measure


@pytest.mark.parametrize(
    ("num_samples", "maximum", "expected"),
    [(1, None, 1), (99, None, 1), (199, None, 1), (200, None, 2), (1318, None, 13), (1000, 4, 4), (1000, 50, 10)],
)
def test_on_the_cpu_the_batch_is_one_percent_of_the_data(
    make_datamodule: Callable[..., Any],
    make_classifier: Callable[..., Any],
    num_samples: int,
    maximum: int | None,
    expected: int,
) -> None:
    data = make_datamodule(train=num_samples, batch_size=None, max_per_device_batch_size=maximum)
    set_batch_size_and_num_workers(make_classifier(), data, CPU)
    assert data.per_device_batch_size == expected


def test_on_the_cpu_nothing_is_probed_for_data_in_memory(
    make_datamodule: Callable[..., Any], make_classifier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fastest_batch_size", "num_workers_to_keep_up"):
        monkeypatch.setattr(lightning, name, None)
    data = make_datamodule(train=1000, batch_size=None)
    set_batch_size_and_num_workers(make_classifier(), data, CPU)
    assert (data.per_device_batch_size, data.per_device_num_workers) == (10, 0)


def test_fixed_values_win(make_datamodule: Callable[..., Any], make_classifier: Callable[..., Any]) -> None:
    data = make_datamodule(
        train=1000,
        batch_size=77,
        max_per_device_batch_size=5,
        map_style=True,
        fixed_per_device_num_workers=0,
        max_per_device_num_workers=1,
    )
    set_batch_size_and_num_workers(make_classifier(), data, CPU)
    assert (data.per_device_batch_size, data.per_device_num_workers) == (77, 0)


@pytest.mark.parametrize(("maximum", "threads", "expected"), [(None, 3, 3), (2, 3, 2), (0, 3, 0), (9, 1, 1)])
def test_workers_never_exceed_what_is_granted(
    make_datamodule: Callable[..., Any],
    make_classifier: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    maximum: int | None,
    threads: int,
    expected: int,
) -> None:
    monkeypatch.setattr(lightning, "num_workers_to_keep_up", lambda *_: 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    data = make_datamodule(map_style=True, max_per_device_num_workers=maximum)
    set_batch_size_and_num_workers(make_classifier(), data, CPU)
    assert data.per_device_num_workers == expected


def test_workers_are_as_few_as_keep_the_device_busy(
    make_datamodule: Callable[..., Any], make_classifier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10.0, 10.5])  # Loading takes half a second ...
    monkeypatch.setattr(tuning.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(tuning, "_step_seconds", lambda *_: 0.2)  # ... in which 2.5 steps are done.
    assert num_workers_to_keep_up(make_classifier(), make_datamodule(map_style=True), CPU) == 3


def test_choices_are_said_in_one_line_each(
    make_datamodule: Callable[..., Any], make_classifier: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        set_batch_size_and_num_workers(make_classifier(), make_datamodule(train=1000, batch_size=None), CPU)
    assert [record.message for record in caplog.records] == [
        "Batch size: 10 per device (1 % of 1,000 training samples, at most 1,000).",
        "Data-loading workers: 0 (the data lies in memory).",
    ]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({1: 10, 2: 20, 4: 40}, 4),
        ({1: 10, 2: 20, 4: 20.9}, 2),  # Less than 5 % more.
        ({1: 10, 2: 20, 4: 21.1}, 4),  # More.
        ({1: 10, 2: 10.4, 4: 10.8, 8: 11.2}, 4),  # Each compared with the best so far, not with its neighbour.
        ({1: 10, 2: 5, 4: 40}, 4),
        ({1: 10}, 1),
    ],
    ids=str,
)
def test_largest_batch_that_fits_is_chosen_unless_a_smaller_one_is_as_fast(
    rates: dict[int, float], expected: int
) -> None:
    assert choose_batch_size([1, 2, 4, 8, 16][: len(rates) + 1], measured(rates)) == expected


def test_search_stops_at_the_first_size_that_does_not_fit() -> None:
    tried = []

    def measure(size: int) -> float:
        tried.append(size)
        return measured({1: 1, 2: 2, 8: 8})(size)

    assert choose_batch_size([1, 2, 4, 8], measure) == 2
    assert tried == [1, 2, 4]


def test_network_that_does_not_fit_at_all_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        choose_batch_size([1, 2], measured({}))


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_sizes_are_powers_of_two_and_the_limit(
    make_classifier: Callable[..., Any],
    make_datamodule: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    sizes: list[int],
) -> None:
    tried: list[int] = []
    monkeypatch.setattr(tuning, "choose_batch_size", lambda sizes, _: tried.extend(sizes) or 1)
    tuning.fastest_batch_size(make_classifier(), make_datamodule(), CPU, limit)
    assert tried == sizes


def first_losses(
    make_classifier: Callable[..., Any],
    make_datamodule: Callable[..., Any],
    make_trainer: Callable[..., Any],
    before: Callable[[Any, Any], None],
) -> list[float]:
    """Returns the losses of the first steps of a run, with something called before it."""
    losses: list[float] = []
    seed_everything(3)
    module, data = make_classifier(), make_datamodule(train=40, map_style=True)
    step = module.training_step

    def recording(batch: Any, batch_idx: int) -> torch.Tensor:
        losses.append(step(batch, batch_idx).item())
        return step(batch, batch_idx)

    before(module, data)
    module.training_step = recording
    make_trainer(limit_train_batches=4).fit(module, datamodule=data)
    return losses


def probe(module: Any, data: Any) -> None:
    samples_per_second(module, data, CPU, 16)
    num_workers_to_keep_up(module, data, CPU)


def test_first_losses_are_the_same_with_and_without_tuning(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    parts = make_classifier, make_datamodule, make_trainer
    untouched = first_losses(*parts, lambda *_: None)
    assert len(untouched) == 4
    assert first_losses(*parts, probe) == untouched


def test_tuning_leaves_module_data_and_random_states_untouched(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any]
) -> None:
    module, data = make_classifier(), make_datamodule(train=40, map_style=True, fixed_per_device_num_workers=1)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    randoms = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index, union-attr]
    probe(module, data)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert random.getstate() == randoms[0]
    assert np.random.get_state()[1].tolist() == randoms[1]  # type: ignore[index, union-attr]
    assert torch.equal(torch.get_rng_state(), randoms[2])
    assert (data.per_device_batch_size, data.per_device_num_workers) == (4, 1)


def test_tuning_trains_the_copy_in_training_mode(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    loss_of = tuning.loss_of

    def noting(duplicate: Any, batch: Any) -> torch.Tensor:
        seen.append((duplicate, len(batch[0])))
        return loss_of(duplicate, batch)

    monkeypatch.setattr(tuning, "loss_of", noting)
    module = make_classifier().eval()
    assert samples_per_second(module, make_datamodule(train=40), CPU, 16) > 0
    assert {size for _, size in seen} == {16}
    assert all(copy is not module and copy.training for copy, _ in seen)
    assert not module.training


def test_untouched_random_states_are_restored_after_an_error() -> None:
    before = random.getstate(), torch.get_rng_state()

    def fail() -> None:
        with untouched_random_states():
            random.random()
            torch.rand(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("seed", [0, 2**32, 2**64 - 1])
def test_seeding_fixes_every_source_of_random_numbers(seed: int) -> None:
    drawn = []
    for _ in range(2):
        seed_everything(seed)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


RANK = """
    import os
    import sys
    from pathlib import Path
    from types import SimpleNamespace

    import torch
    import torch.distributed

    from common.dl.utils import lightning

    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    store = torch.distributed.FileStore(str(folder / "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    lightning._choose_batch_size = lambda *_: ((8, 6)[rank], "test")
    lightning._choose_num_workers = lambda *_: ((1, 3)[rank], "test")
    data = SimpleNamespace()
    lightning.set_batch_size_and_num_workers.__wrapped__(None, data, torch.device("cpu"))
    (folder / str(rank)).write_text(f"{data.per_device_batch_size} {data.per_device_num_workers}")
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_agree_on_the_smallest_batch_and_the_most_workers(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(textwrap.dedent(RANK))
    ranks = [start([sys.executable, str(script), str(rank), str(tmp_path)], dict(os.environ)) for rank in range(2)]
    printed = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], printed
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["6 3", "6 3"]
