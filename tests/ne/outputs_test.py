"""The small parts of the evolution loop."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError
from common.ne.champion import Champion, candidates_of, crowned, read_champion, write_champion
from common.ne.outputs.finish import plot_run
from common.ne.outputs.gif import MAX_PICTURES, MAX_WIDTH, write_gif
from common.ne.outputs.records import TIMINGS_FILE_NAME, Records, fitness_metrics
from common.ne.outputs.wandb import NoRun
from common.ne.random_numbers import episode_seeds, generator, mixed
from common.run.metrics import read_metrics
from common.run.ranks import Ranks


def test_random_numbers_follow_from_what_they_are_for() -> None:
    keys = [(0, 1, "mutation", 0), (1, 1, "mutation", 0), (0, 2, "mutation", 0), (0, 1, "selection", 0)]
    keys.append((0, 1, "mutation", 1))
    draws = [generator(*key).random(3).tolist() for key in keys]  # type: ignore[arg-type]
    assert draws[0] == generator(0, 1, "mutation").random(3).tolist()
    assert len({tuple(draw) for draw in draws}) == len(keys)


def test_seeds_are_scrambled_one_to_one() -> None:
    scrambled = mixed(np.arange(10_000, dtype=np.uint64))
    assert len(np.unique(scrambled)) == 10_000
    bits = (scrambled[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.03)


def test_seeds_of_any_number_of_individuals_begin_alike() -> None:
    few, many = (episode_seeds(3, 1, "training", size, 4, is_shared=False) for size in (2, 50))
    np.testing.assert_array_equal(few, many[:2])


def test_the_compiled_tanh_is_that_of_numpy_but_for_the_last_bits() -> None:
    pytest.importorskip("numba")
    from common.ne.compiled.tanh import tanh

    values = np.concatenate([np.linspace(-30, 30, 20_001), np.geomspace(1e-300, 1, 1000), [0.0, np.inf, -np.inf]])
    ours = values.copy()
    tanh(ours)
    np.testing.assert_allclose(ours, np.tanh(values), rtol=1e-14, atol=0)
    nothing = np.array([np.nan])
    tanh(nothing)
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("total", [0, 1, 2, 7, 12])
def test_ranks_share_everything_once(total: int) -> None:
    parts = [list(range(total))[Ranks(rank, 3).share(total)] for rank in range(3)]
    assert sum(parts, []) == list(range(total))  # noqa: RUF017  # Three short lists.
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def individual(value: float) -> dict[str, np.ndarray]:
    return {"parameters": np.array([[value]])}


def test_the_champion_is_who_has_the_best_mean_and_stays_when_equal() -> None:
    first = crowned(None, individual(1.0), np.array([np.nan]), 0)
    assert (first.generation, first.arrays["parameters"].item()) == (0, 1.0)
    candidates = candidates_of(first, [individual(2.0), individual(3.0)])
    assert candidates["parameters"].ravel().tolist() == [1.0, 2.0, 3.0]
    stays = crowned(Champion(individual(1.0), 9.0, 0), candidates, np.array([5.0, np.nan, 5.0]), 4)
    assert (stays.generation, stays.mean) == (0, 5.0)
    falls = crowned(first, candidates, np.array([np.nan, 2.0, 3.0]), 4)
    assert (falls.generation, falls.arrays["parameters"].item(), falls.mean) == (4, 3.0, 3.0)


def test_a_champion_is_written_with_its_spec_and_read_safely(tmp_path: Path) -> None:
    write_champion(tmp_path, Champion(individual(0.1), 2.5, 7), {"evaluator": {"x": 1}})
    champion, spec = read_champion(tmp_path)
    assert (champion.arrays["parameters"].item(), champion.mean, champion.generation) == (0.1, 2.5, 7)
    assert spec == {"evaluator": {"x": 1}}
    (tmp_path / "champion.pt").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_champion(tmp_path)


def test_fitness_is_summed_up_without_nan() -> None:
    metrics = fitness_metrics(np.array([1.0, np.nan, 3.0, 8.0]))
    assert metrics["fitness/num_nan"] == 1
    assert [metrics[f"fitness/{name}"] for name in ("best", "mean", "median", "worst")] == [8.0, 4.0, 3.0, 1.0]


def test_records_keep_times_apart_and_can_be_cut_back(tmp_path: Path) -> None:
    records = Records(tmp_path, NoRun())
    records.append(0, {"fitness/best": 1.0}, {"seconds/ask": 0.5})
    state = records.state_dict()
    records.append(1, {"fitness/best": 2.0}, {"seconds/ask": 0.25})
    records.close()
    later = Records(tmp_path, NoRun())
    later.load_state_dict(state)
    later.append(1, {"fitness/best": 3.0}, {})
    later.close()
    assert [(row["step"], row["fitness/best"]) for row in read_metrics(tmp_path)] == [(0, 1.0), (1, 3.0)]
    assert [row["seconds/ask"] for row in read_metrics(tmp_path, TIMINGS_FILE_NAME)] == [0.5]
    assert {path.name for path in plot_run(tmp_path)} == {"fitness.png", "seconds.png"}


def test_a_gif_is_thinned_out_and_made_small_but_takes_as_long(tmp_path: Path) -> None:
    pictures = [np.full((300, 640, 3), level, np.uint8) for level in np.arange(400) % 250]
    write_gif(tmp_path / "x.gif", pictures, 0.02)
    with Image.open(tmp_path / "x.gif") as animation:
        assert animation.n_frames == 134 <= MAX_PICTURES
        assert animation.width == MAX_WIDTH
        assert animation.info["duration"] == 60


def test_the_cache_is_named_after_the_sources_and_survives_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numba = pytest.importorskip("numba")
    from common.ne.compiled.cache import use_cache_for

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    source, used = tmp_path / "source.py", []
    for text in ("a", "b", "a"):
        source.write_text(text)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        use_cache_for([source])
        used.append(numba.config.CACHE_DIR)
    assert used[0] == used[2] != used[1]
    assert used[0].startswith(str(tmp_path / "cache"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    use_cache_for([source])
    assert not numba.config.CACHE_DIR.startswith(str(tmp_path / "file"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "mine")
    use_cache_for([source])
    assert numba.config.CACHE_DIR == "mine"
