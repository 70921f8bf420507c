"""Oscillators: the simulation is right and repeatable, the baseline is the best linear model, the file is kept."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from common.errors import ConfigError
from projects.oscillator_pred import arx, simulation
from projects.oscillator_pred.datamodule import OscillatorDataModule, OscillatorDataModuleConfig
from projects.oscillator_pred.simulation import Oscillators, simulate

SIZES = {"num_train": 20, "num_val": 6, "num_test": 7, "length": 24}


def make(folder: Path, **settings: Any) -> OscillatorDataModule:
    config = OscillatorDataModuleConfig(data_dir=str(folder), **SIZES | settings)
    return OscillatorDataModule(config, partial(DataLoader))


def ready(folder: Path, **settings: Any) -> OscillatorDataModule:
    module = make(folder, **settings)
    module.prepare_data()
    module.setup()
    return module


def oscillators(**settings: Any) -> Oscillators:
    defaults = {"length": 200, "time_step": 0.05, "damping": 0.2, "stiffening": 1.0, "force_scale": 2.0}
    return Oscillators(**defaults | settings)


# --- the simulation


@pytest.mark.parametrize("stiffening", [0.0, 1.0])
def test_motion_obeys_the_equation(stiffening: float) -> None:
    """The derivatives, taken by differences of fourth order, fit the force."""
    what = oscillators(stiffening=stiffening)
    force, x = simulate(what, 3, (0, 0), "test")
    step = what.time_step
    around = [x[:, shift : x.shape[1] - 4 + shift] for shift in range(5)]
    speed = (around[0] - 8 * around[1] + 8 * around[3] - around[4]) / (12 * step)
    acceleration = (-around[0] + 16 * around[1] - 30 * around[2] + 16 * around[3] - around[4]) / (12 * step**2)
    residual = acceleration + 2 * what.damping * speed + around[2] + stiffening * around[2] ** 3 - force[:, 2:-2]
    assert np.abs(residual).max() < 0.02 * force.std()


def test_oscillators_start_at_rest() -> None:
    _, x = simulate(oscillators(time_step=1e-3), 4, (0, 0), "test")
    assert np.abs(x[:, 0]).max() == 0
    assert np.abs(x[:, 1]).max() < 1e-5


def test_forces_have_the_configured_strength() -> None:
    force, _ = simulate(oscillators(length=400, time_step=1.0, force_scale=3.0), 64, (0, 0), "test")
    strength = np.sqrt(np.square(force).mean(axis=1))
    assert 0.9 < strength.min() < 1.5
    assert 2.5 < strength.max() < 3.3


def test_several_processes_give_the_same_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "BLOCK_SIZE", 3)
    what = oscillators(length=10)
    monkeypatch.setattr(simulation, "available_cpus", lambda: 1)
    alone = simulate(what, 3, (1, 2), "test"), simulate(what, 7, (1, 2), "test")
    assert np.array_equal(alone[0][0], alone[1][0][:3])
    assert not np.array_equal(alone[1][0][:3], alone[1][0][3:6])
    monkeypatch.undo()
    monkeypatch.setattr(simulation, "available_cpus", lambda: 2)
    many = simulation.BLOCK_SIZE + 1
    together = simulate(what, many, (1, 2), "test")
    monkeypatch.setattr(simulation, "available_cpus", lambda: 1)
    assert all(np.array_equal(*pair) for pair in zip(together, simulate(what, many, (1, 2), "test"), strict=True))


# --- the baseline


def test_baseline_finds_a_linear_system() -> None:
    draw = np.random.default_rng(0)
    force = draw.standard_normal((20, 100))
    system = arx.ARX(np.array([1.2, -0.5]), np.array([0.3, 0.1]))
    motion = system.simulate(force)
    model = arx.fit_best((force, motion), (force, motion))
    other = draw.standard_normal((5, 100))
    assert arx.nrmse(model.simulate(other), system.simulate(other)) < 1e-6


def test_baseline_simulates_by_its_own_past() -> None:
    model = arx.ARX(np.array([0.5]), np.array([2.0, 1.0]))
    motion = model.simulate(np.array([[1.0, 0.0, 0.0, 3.0]]))
    assert motion.tolist() == [[2.0, 2.0, 1.0, 6.5]]


def test_baseline_is_as_good_as_the_best_of_plain_least_squares(tmp_path: Path) -> None:
    data = ready(tmp_path, num_train=60, length=48)
    arrays = {
        split: tuple(tensor.squeeze(-1).double().numpy() for tensor in getattr(data.datasets, split).tensors)
        for split in ("train", "val", "test")
    }
    model = arx.fit_best(arrays["train"], arrays["val"])
    error = arx.nrmse(model.simulate(arrays["test"][0]), arrays["test"][1])
    assert error == pytest.approx(data.baseline_nrmse, rel=1e-3)
    force, motion = arrays["train"]
    now = np.linalg.lstsq(force.reshape(-1, 1), motion.reshape(-1), rcond=None)[0]
    assert arx.nrmse(model.simulate(arrays["val"][0]), arrays["val"][1]) <= arx.nrmse(
        arrays["val"][0] * now, arrays["val"][1]
    )


# --- the data module


def test_signals_are_served_in_their_sizes_and_scaled(tmp_path: Path) -> None:
    datasets = ready(tmp_path).datasets
    for split, count in (("train", 20), ("val", 6), ("test", 7)):
        force, motion = getattr(datasets, split).tensors
        assert force.shape == motion.shape == (count, 24, 1)
    for signal in datasets.train.tensors:  # type: ignore[union-attr]
        assert signal.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_splits_have_different_forces(tmp_path: Path) -> None:
    datasets = ready(tmp_path).datasets
    forces = [row for split in ("train", "val", "test") for row in getattr(datasets, split).tensors[0][:, :, 0]]
    assert len({tuple(row.tolist()) for row in forces}) == 33


def test_data_follows_from_its_settings_alone(tmp_path: Path) -> None:
    first = ready(tmp_path / "a", seed=1).datasets.test.tensors  # type: ignore[union-attr]
    same = ready(tmp_path / "b", seed=2).datasets.test.tensors  # type: ignore[union-attr]
    other = ready(tmp_path / "a", simulation_seed=1).datasets.test.tensors  # type: ignore[union-attr]
    assert all(map(torch.equal, first, same))
    assert not torch.equal(first[0], other[0])


def test_noise_is_added_to_positions_alone(tmp_path: Path) -> None:
    clean, noisy = (ready(tmp_path, noise=noise).datasets.val.tensors for noise in (0.0, 0.1))  # type: ignore[union-attr]
    assert torch.equal(clean[0], noisy[0])
    assert (noisy[1] - clean[1]).std().item() == pytest.approx(0.1, rel=0.3)


def test_data_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ready(tmp_path)
    described = module.describe_data()
    monkeypatch.setattr("projects.oscillator_pred.datamodule.make_signals", None)
    assert ready(tmp_path).describe_data() == described
    assert [path.name for path in module.config.file.parent.iterdir()] == [module.config.file.name]


def test_damaged_file_is_named(tmp_path: Path) -> None:
    module = make(tmp_path)
    module.config.file.parent.mkdir(parents=True)
    module.config.file.write_bytes(b"half a file")
    with pytest.raises(ConfigError, match=f"{module.config.file} cannot be read.*Delete it and run again"):
        module.setup()


def test_without_scipy_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.integrate", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[oscillator\]'"):
        make(tmp_path).prepare_data()


@pytest.mark.parametrize("wrong", [{"length": 1}, {"noise": -0.1}, {"num_val": 0}, {"time_step": 0.0}], ids=str)
def test_wrong_settings_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        make(tmp_path, **wrong)
