"""The order of batches is a pure function of seed and epoch, and every sample comes once per epoch."""

from typing import Any

import pytest
import torch

from common.dl.datamodule.sampler import EpochBatchSampler, InOrderBatchSampler, order_seed

SIZES = [(1, 1), (1, 7), (5, 1), (7, 7), (7, 3), (12, 4), (100, 7), (101, 100), (1000, 64)]
SPLITS = [(1, 6), (2, 3), (3, 2)]
"""Ranks, and batch size per rank: the same global batch each time."""


def sampler(num_samples: int, batch_size: int = 4, **settings: Any) -> EpochBatchSampler:
    return EpochBatchSampler(num_samples, batch_size, **{"shuffle": True, "drop_last": False, "seed": 0} | settings)


def order_of(num_samples: int, epoch: int, **settings: Any) -> list[int]:
    batches = sampler(num_samples, **settings)
    batches.set_epoch(epoch)
    return [index for batch in batches for index in batch]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("num_samples", "batch_size"), SIZES)
def test_every_sample_comes_exactly_once_per_epoch(num_samples: int, batch_size: int, shuffle: bool) -> None:
    for epoch in range(3):
        order = order_of(num_samples, epoch, batch_size=batch_size, shuffle=shuffle)
        assert sorted(order) == list(range(num_samples))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
@pytest.mark.parametrize(("num_samples", "batch_size"), SIZES)
def test_length_is_the_number_of_batches_on_every_rank(
    num_samples: int, batch_size: int, num_ranks: int, drop_last: bool
) -> None:
    for rank in range(num_ranks):
        batches = sampler(num_samples, batch_size, drop_last=drop_last, rank=rank, num_ranks=num_ranks)
        assert len(list(batches)) == len(batches)


@pytest.mark.parametrize(("num_samples", "batch_size"), SIZES)
def test_only_the_last_batch_may_be_smaller(num_samples: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in sampler(num_samples, batch_size)]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= batch_size


@pytest.mark.parametrize(("num_samples", "batch_size"), SIZES)
def test_drop_last_leaves_out_the_incomplete_batch_and_nothing_else(num_samples: int, batch_size: int) -> None:
    kept = list(sampler(num_samples, batch_size, drop_last=True))
    assert kept == [batch for batch in sampler(num_samples, batch_size) if len(batch) == batch_size]


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63])
def test_order_depends_on_nothing_that_happened_before(seed: int) -> None:
    expected = order_of(50, epoch=3, seed=seed)
    torch.manual_seed(99)
    batches = sampler(50, seed=seed)
    for epoch in (0, 7, 3):
        batches.set_epoch(epoch)
        partly_read = iter(batches)
        next(partly_read)
    assert [index for batch in batches for index in batch] == expected
    assert [index for batch in batches for index in batch] == expected


def test_order_draws_nothing_from_the_global_random_state() -> None:
    before = torch.get_rng_state()
    list(sampler(50))
    assert torch.equal(torch.get_rng_state(), before)


def test_orders_of_all_seeds_and_epochs_differ() -> None:
    orders = {tuple(order_of(50, epoch, seed=seed)) for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400


def test_seeds_of_neighbouring_runs_and_epochs_never_meet() -> None:
    assert len({order_seed(seed, epoch) for seed in range(300) for epoch in range(300)}) == 300 * 300


def test_batch_size_does_not_change_the_order() -> None:
    assert order_of(50, epoch=1, batch_size=3) == order_of(50, epoch=1, batch_size=11)


def test_without_shuffle_the_order_is_the_datasets_own() -> None:
    assert order_of(9, epoch=5, shuffle=False) == list(range(9))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("num_samples", range(1, 26))
def test_any_number_of_ranks_sees_the_same_global_batches(num_samples: int, drop_last: bool) -> None:
    seen = []
    for num_ranks, batch_size in SPLITS:
        ranks = [
            list(sampler(num_samples, batch_size, drop_last=drop_last, rank=rank, num_ranks=num_ranks))
            for rank in range(num_ranks)
        ]
        seen.append([set().union(*parts) for parts in zip(*ranks, strict=True)])
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(("num_ranks", "batch_size"), SPLITS)
def test_ranks_share_no_sample_of_a_full_batch(num_ranks: int, batch_size: int) -> None:
    ranks = [list(sampler(24, batch_size, rank=rank, num_ranks=num_ranks)) for rank in range(num_ranks)]
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(24))


def test_no_rank_ever_gets_an_empty_batch() -> None:
    for num_samples in range(1, 30):
        for rank in range(3):
            assert all(sampler(num_samples, 2, rank=rank, num_ranks=3))


def test_seeds_of_workers_follow_from_seed_and_epoch() -> None:
    batches = sampler(10)
    seeds = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        seeds.append(batches.workers_generator.initial_seed())
    assert seeds[0] == seeds[2] != seeds[1]


def test_in_order_sampler_yields_batches_in_the_datasets_order() -> None:
    batches = InOrderBatchSampler(5, 2, shuffle=False, drop_last=False, seed=0)
    assert list(batches) == [[0, 1], [2, 3], [4]]


def test_samples_are_drawn_in_proportion_to_their_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 2.0, 5.0, 0.0])
    sampler = EpochBatchSampler(5, 5, shuffle=True, drop_last=False, seed=1, weights=weights)
    counts = torch.zeros(5)
    for epoch in range(2000):
        sampler.set_epoch(epoch)
        (batch,) = sampler
        counts += torch.bincount(torch.tensor(batch), minlength=5)
    assert counts.sum() == 10_000
    assert counts[[0, 4]].tolist() == [0, 0]
    for count, weight in zip(counts, weights, strict=True):  # Four standard deviations of a binomial distribution.
        share = weight.item() / 8
        assert abs(count.item() - 10_000 * share) <= 4 * (10_000 * share * (1 - share)) ** 0.5


def test_ranks_share_what_is_drawn_by_weight() -> None:
    weights = torch.arange(12) + 1.0
    keys = {"shuffle": True, "drop_last": False, "seed": 1, "weights": weights}
    (alone,) = EpochBatchSampler(12, 12, **keys)
    parts = [next(iter(EpochBatchSampler(12, 6, **keys, rank=rank, num_ranks=2))) for rank in (0, 1)]
    assert parts[0] + parts[1] == alone


@pytest.mark.parametrize(
    ("seed", "number"), [(1, 0xE220A8397B1DCDAF), (2, 0x6E789E6AA1B965F4), (3, 0x06C45D188009454F)]
)
def test_seeds_are_mixed_as_splitmix64_does_it(seed: int, number: int) -> None:
    """Its first three numbers from the state 0, as its authors' code gives them; the highest bit is left out."""
    assert order_seed(seed, -1) == number % 2**63


def test_each_batch_has_a_seed_of_its_own_on_every_rank_and_in_every_epoch() -> None:
    seeds = []
    for epoch in range(3):
        for rank in range(2):
            batches = sampler(20, rank=rank, num_ranks=2, seed=5)
            batches.set_epoch(epoch)
            seeds += [batch.seed for batch in batches]
            expected = [order_seed(order_seed(5, epoch), 2 * index + rank) for index in range(3)]
            assert seeds[-3:] == expected
    assert len(set(seeds)) == len(seeds) == 3 * 2 * 3


def test_only_the_epoch_in_which_a_run_continues_begins_in_its_middle() -> None:
    whole, continued = sampler(20), sampler(20)
    continued.start = {"epoch": 2, "batch": 3}
    for epoch in range(4):
        whole.set_epoch(epoch)
        continued.set_epoch(epoch)
        expected, given = list(whole), list(continued)
        assert given == (expected[3:] if epoch == 2 else expected)
        assert [batch.seed for batch in given] == [batch.seed for batch in expected][3 if epoch == 2 else 0 :]
        assert len(continued) == 5


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_indices_of_a_batch_are_those_of_all_ranks_together(shuffle: bool) -> None:
    ranks = [sampler(23, 3, shuffle=shuffle, rank=rank, num_ranks=2) for rank in range(2)]
    for batches in ranks:
        batches.set_epoch(4)
    for index, parts in enumerate(zip(*ranks, strict=True)):
        assert ranks[0].indices_of(index) == ranks[1].indices_of(index) == [*parts[0], *parts[1]]


@pytest.mark.parametrize(("rank", "full", "last"), [(0, 1.0, 1.5), (1, 1.0, 1.5), (2, 1.0, 0.0)])
def test_a_rank_s_mean_is_weighed_by_its_samples(rank: int, full: float, last: float) -> None:
    """Eight samples, two a rank: of the last two the third rank gets one again, which counts nothing."""
    batches = sampler(8, 2, rank=rank, num_ranks=3)
    assert [batches.weight_of(0), batches.weight_of(1)] == [full, last]


def test_lightning_finds_the_sampler_where_it_looks() -> None:
    batches = sampler(8)
    assert batches.sampler is batches
