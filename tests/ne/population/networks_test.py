"""What every kind of network promises, and what each kind promises besides."""

import numpy as np
import pytest

from common.ne.population.networks.base import joined, taken
from common.ne.population.networks.mutation import MutationConfig, mutated
from common.ne.random_numbers import generator
from tests.ne.conftest import NETWORKS

every_kind = pytest.mark.parametrize("kind", NETWORKS)
STEPS = 4


def drawn(make_networks, kind: str, size: int = 6, seed: int = 0, **config):
    networks = make_networks(kind, **config)(num_inputs=3, num_outputs=2)
    return networks, networks.draw(size, generator(seed, 0, "initial"))


def outputs_of(networks, arrays, inputs: np.ndarray) -> np.ndarray:
    """Runs an episode of some steps for each individual."""
    memory = networks.start_memory(arrays)
    return np.stack([networks.forward(arrays, memory, step) for step in inputs])


def some_inputs(size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((STEPS, size, 3))


def test_the_store_offers_these_kinds(store) -> None:
    assert {entry["name"] for entry in store if entry["group"] == "population/networks"} == set(NETWORKS)


@every_kind
def test_individuals_follow_from_the_seed_and_differ(make_networks, kind: str) -> None:
    _, first = drawn(make_networks, kind)
    _, same = drawn(make_networks, kind)
    _, other = drawn(make_networks, kind, seed=1)
    for name, array in first.items():
        np.testing.assert_array_equal(array, same[name])
    name = "weights" if kind == "dynamic" else "parameters"
    assert not np.array_equal(first[name], other[name])
    assert len({row.tobytes() for row in first[name]}) == 6


@every_kind
@pytest.mark.parametrize("size", [1, 2, 7])
def test_any_size_can_be_drawn_mutated_and_run(make_networks, kind: str, size: int) -> None:
    networks, arrays = drawn(make_networks, kind, size)
    networks.mutate(arrays, 0, generator(0, 1, "mutation"))
    assert all(len(array) == size for array in arrays.values())
    assert outputs_of(networks, arrays, some_inputs(size)).shape == (STEPS, size, 2)


@every_kind
def test_an_episode_does_not_depend_on_the_others(make_networks, kind: str) -> None:
    networks, arrays = drawn(make_networks, kind)
    inputs = some_inputs(6)
    together = outputs_of(networks, arrays, inputs)
    for index in range(6):
        alone = outputs_of(networks, taken(arrays, [index]), inputs[:, index : index + 1])
        np.testing.assert_array_equal(alone[:, 0], together[:, index])


@every_kind
def test_mutation_spares_those_before_the_first_and_changes_all_others(make_networks, kind: str) -> None:
    networks, arrays = drawn(make_networks, kind)
    before = {name: array.copy() for name, array in arrays.items()}
    networks.mutate(arrays, 2, generator(0, 1, "mutation"))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array[:2], before[name][:2])
    name = "weights" if kind == "dynamic" else "parameters"
    assert all(not np.array_equal(arrays[name][index], before[name][index]) for index in range(2, 6))


@every_kind
def test_parts_can_be_joined(make_networks, kind: str) -> None:
    _, arrays = drawn(make_networks, kind)
    parts = joined([taken(arrays, slice(0, 2)), taken(arrays, slice(2, 6))])
    assert all(np.array_equal(parts[name], array) for name, array in arrays.items())


@pytest.mark.parametrize(
    ("kind", "num_lanes"), [(kind, num) for kind in NETWORKS for num in (1, 8) if (kind, num) != ("dynamic", 8)]
)
def test_the_compiled_step_equals_the_one_in_numpy(make_networks, kind: str, num_lanes: int) -> None:
    pytest.importorskip("numba")
    from common.ne.compiled.networks import forward

    networks, arrays = drawn(make_networks, kind, 8, **({} if kind == "dynamic" else {"hidden_sizes": [19, 3, 8]}))
    for generation in range(1, 4):
        networks.mutate(arrays, 0, generator(0, generation, "mutation"))
    inputs = some_inputs(8)
    expected, kernel = outputs_of(networks, arrays, inputs), networks.for_kernel(arrays)
    for first in range(0, 8, num_lanes):
        lanes = slice(first, first + num_lanes)
        numbers = np.append(kernel.numbers[lanes].T, np.full(8, np.nan))  # What lies beyond is never used.
        memory = networks.start_memory(arrays)[lanes].T.flatten()
        for step, expected_step in zip(inputs[:, lanes], expected[:, lanes], strict=True):
            outputs, scratch = np.zeros(2 * num_lanes + 8), np.zeros(2 * (kernel.num_units + 8) * num_lanes)
            shown, indices = step.T.flatten(), kernel.indices[first]
            forward(kernel.kind, num_lanes, numbers, indices, kernel.table, memory, shown, outputs, scratch)
            ours = outputs[: 2 * num_lanes].reshape(2, num_lanes).T
            np.testing.assert_allclose(ours, expected_step, rtol=0, atol=1e-12)


def test_a_feedforward_network_computes_what_it_should(make_networks) -> None:
    networks, arrays = drawn(make_networks, "feedforward", size=2, hidden_sizes=[4])
    rows = np.random.default_rng(1).standard_normal(arrays["parameters"].shape)
    arrays["parameters"] = rows
    inputs = some_inputs(2)[0]
    outputs = networks.forward(arrays, networks.start_memory(arrays), inputs)
    for row, shown, output in zip(rows, inputs, outputs, strict=True):
        hidden = np.tanh(shown @ row[:12].reshape(3, 4) + row[12:16])
        np.testing.assert_allclose(output, hidden @ row[16:24].reshape(4, 2) + row[24:], atol=1e-12)


def test_a_recurrent_network_remembers_and_has_no_tanh_at_its_end(make_networks) -> None:
    networks, arrays = drawn(make_networks, "recurrent", size=1, hidden_sizes=[4])
    row = np.random.default_rng(1).standard_normal(arrays["parameters"].shape)[0] * 3
    arrays["parameters"] = row[None]
    outputs, hidden = outputs_of(networks, arrays, some_inputs(1)), np.zeros(4)
    for shown, output in zip(some_inputs(1)[:, 0], outputs[:, 0], strict=True):
        hidden = np.tanh(shown @ row[:12].reshape(3, 4) + hidden @ row[12:28].reshape(4, 4) + row[28:32])
        np.testing.assert_allclose(output, hidden @ row[32:40].reshape(4, 2) + row[40:], atol=1e-12)
    assert np.abs(outputs).max() > 1


def test_no_hidden_layer_means_linear(make_networks) -> None:
    networks, arrays = drawn(make_networks, "feedforward", hidden_sizes=[])
    assert arrays["parameters"].shape == (6, 3 * 2 + 2)
    inputs = some_inputs(6)
    np.testing.assert_allclose(outputs_of(networks, arrays, 2 * inputs), 2 * outputs_of(networks, arrays, inputs))


def test_self_adaptive_strengths_change_but_never_fall_below_their_floor() -> None:
    config, rng = MutationConfig(strength=0.002, min_strength=0.001), np.random.default_rng(0)
    parameters, strengths = np.zeros((4, 50)), np.full((4, 50), 0.002)
    for _ in range(200):
        parameters, strengths = mutated(parameters, strengths, config, rng)
    assert strengths.min() == 0.001
    assert strengths.max() > 0.002


def test_a_fixed_strength_stays_and_is_the_standard_deviation_of_what_is_added() -> None:
    config = MutationConfig(kind="fixed", strength=0.5)
    parameters, strengths = mutated(np.zeros((50, 400)), np.full((50, 400), 0.5), config, np.random.default_rng(0))
    assert (strengths == 0.5).all()
    assert parameters.std() == pytest.approx(0.5, rel=0.02)


@pytest.fixture
def evolved(make_networks):
    """Dynamic networks after many generations of mutation."""
    networks, arrays = drawn(make_networks, "dynamic", size=40, max_hidden=6, growth_rate=2.0)
    for generation in range(1, 30):
        networks.mutate(arrays, 0, generator(0, generation, "mutation"))
    return networks, arrays


def test_nodes_grow_and_are_pruned_within_their_room(make_networks, evolved) -> None:
    _, initial = drawn(make_networks, "dynamic", size=40, max_hidden=6)
    num_before, num_after = initial["is_alive"].sum(axis=1), evolved[1]["is_alive"].sum(axis=1)
    assert (num_before == 2 + 2).all()
    assert num_after.max() > 4
    assert num_after.min() < 8
    assert len(set(num_after)) > 2
    assert (num_after <= 8).all()
    assert evolved[1]["is_alive"][:, :2].all()  # The outputs.


def test_connections_lead_from_what_is_there_and_none_is_heard_twice_by_a_new_node(evolved) -> None:
    networks, arrays = evolved
    for sources, weights, is_alive in zip(arrays["sources"], arrays["weights"], arrays["is_alive"], strict=True):
        nodes = sources[sources >= networks.num_inputs] - networks.num_inputs
        assert is_alive[nodes].all()
        assert (sources[~is_alive] == -1).all()
        assert (weights[sources == -1] == 0).all()
        assert (weights[sources >= 0] != 0).all()


def test_rates_adapt_within_bounds(evolved) -> None:
    networks, arrays = evolved
    assert len(np.unique(arrays["rates"])) > 40
    assert (arrays["rates"] > 0).all()
    assert (arrays["rates"] <= networks.config.max_rate).all()


def test_each_node_is_standardized_over_its_life_and_statistics_survive(make_networks) -> None:
    networks, arrays = drawn(make_networks, "dynamic", num_initial=3)
    inputs = 5 + 3 * np.random.default_rng(0).standard_normal((2000, 6, 3))
    memory = networks.start_memory(arrays)
    outputs = np.stack([networks.forward(arrays, memory, step) for step in inputs])
    np.testing.assert_allclose(outputs[200:].mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(outputs[200:].std(axis=0), 1, atol=0.1)
    networks.carry(arrays, memory)
    assert (arrays["counts"][:, :2] == 2000).all()
    networks.mutate(arrays, 3, generator(0, 1, "mutation"))
    assert (arrays["counts"][:, :2] == 2000).all()
    np.testing.assert_array_equal(networks.start_memory(arrays)[:, networks.num_nodes :][:, :2], 2000)


def test_locality_prefers_the_neighbourhood(make_networks) -> None:
    def mean_distance(locality: float) -> float:
        """Returns how many of the connections of new nodes lead into the neighbourhood of the first."""
        networks, arrays = drawn(make_networks, "dynamic", size=300, num_initial=8, locality=0.0)
        networks.growth.locality = locality
        before = arrays["is_alive"].copy()
        sources = arrays["sources"].copy()
        networks.growth.grow(arrays, np.ones(300, bool), generator(0, 1, "mutation"))
        hits = total = 0
        for index, node in zip(*np.nonzero(arrays["is_alive"] & ~before), strict=True):
            first, *others = arrays["sources"][index, node]
            near = set(np.flatnonzero((sources[index] == first).any(axis=1)) + 3)
            near |= set(sources[index, first - 3]) if first >= 3 else set()
            hits += sum(other in near for other in others if other >= 0)
            total += sum(other >= 0 for other in others)
        return hits / total

    assert mean_distance(1.0) > 2 * mean_distance(0.0)
