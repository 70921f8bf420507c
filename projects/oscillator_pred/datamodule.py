"""Forces and the motions that they cause, simulated once and kept as a file.

Axes: N signals; L steps.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from common.dl.datamodule.base import BaseDataModule, BaseDataModuleConfig
from common.dl.datamodule.in_memory import InMemoryDataset
from common.errors import ConfigError
from common.run.atomic import write_atomically
from common.run.identity import fingerprint_files
from common.utils.beartype import ge, gt
from projects.oscillator_pred import arx
from projects.oscillator_pred.simulation import Oscillators, simulate

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")


@dataclass
class OscillatorDataModuleConfig(BaseDataModuleConfig):
    """Configures the data. What is simulated does not depend on `seed`, so that runs with several seeds are comparable.

    Attributes:
        num_train: Signals to train on.
        num_val: Signals to validate on, with other forces.
        num_test: Signals to test on, with other forces again.
        length: Steps per signal.
        time_step: Time between two steps; the oscillator's own period at small amplitudes is 2π.
        damping: The damping ratio; from 1 on nothing swings.
        stiffening: The cubic term's factor; 0 is a linear spring.
        force_scale: Root mean square of the strongest forces; each signal's own is drawn between a third of it and it.
        noise: Standard deviation of what is added to each measured position, as a part of the positions' own.
        simulation_seed: Decides forces and noise.
    """

    num_train: Annotated[int, ge(1)] = 4096
    num_val: Annotated[int, ge(1)] = 256
    num_test: Annotated[int, ge(1)] = 512
    length: Annotated[int, ge(2)] = 128
    time_step: Annotated[float, gt(0)] = 0.25
    damping: Annotated[float, gt(0)] = 0.2
    stiffening: Annotated[float, ge(0)] = 1.0
    force_scale: Annotated[float, gt(0)] = 2.5
    noise: Annotated[float, ge(0)] = 0.05
    simulation_seed: Annotated[int, ge(0)] = 0

    @property
    def simulated(self) -> dict[str, Any]:
        """What the data depends on."""
        common = BaseDataModuleConfig.__dataclass_fields__
        return {name: value for name, value in asdict(self).items() if name not in common}

    @property
    def file(self) -> Path:
        """Where the data lies; other settings, another file."""
        digest = hashlib.sha256(json.dumps(self.simulated, sort_keys=True).encode()).hexdigest()
        return Path(self.data_dir) / "oscillator_pred" / "signals" / f"{digest[:12]}.npz"


class OscillatorDataModule(BaseDataModule):
    """Serves forces and positions, B×L×1 each, scaled to a standard deviation of 1 over the training data.

    Attributes:
        baseline_nrmse: The free-running error of the best linear model on the test data, after `setup`.
    """

    config: OscillatorDataModuleConfig

    def prepare_data(self) -> None:
        """Makes the data, unless its file is there."""
        if self.config.file.is_file():
            return
        log.info("Simulating oscillators into %s", self.config.file)
        arrays = make_signals(self.config)
        self.config.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.config.file, lambda file: np.savez(file, allow_pickle=False, **arrays))

    def describe_data(self) -> dict[str, Any]:
        """Returns the source and a fingerprint of the file."""
        return {"source": "simulation", "fingerprint": fingerprint_files([self.config.file])}

    def example_batch(self) -> Any:
        """Returns two forces and positions at rest."""
        return torch.zeros(2, self.config.length, 1), torch.zeros(2, self.config.length, 1)

    def setup(self, stage: str | None = None) -> None:
        """Reads the file.

        Raises:
            ConfigError: it cannot be read.
        """
        if self.datasets.train is not None:
            return
        arrays = read_signals(self.config.file)
        force_scale, position_scale = (arrays[f"train_{name}"].std() for name in ("forces", "positions"))
        for split in SPLITS:
            forces = torch.from_numpy(arrays[f"{split}_forces"] / force_scale).float().unsqueeze(-1)
            positions = torch.from_numpy(arrays[f"{split}_positions"] / position_scale).float().unsqueeze(-1)
            setattr(self.datasets, split, InMemoryDataset(forces, positions))
        self.baseline_nrmse = float(arrays["baseline_nrmse"])


def make_signals(config: OscillatorDataModuleConfig) -> dict[str, np.ndarray]:
    """Simulates all signals, adds the noise of their measurement, and fits the baseline.

    Args:
        config: Says how many of what.

    Returns:
        For each split its forces and positions, N×L, by name, and the baseline's error on the test data.
    """
    keys = ("length", "time_step", "damping", "stiffening", "force_scale")
    what = Oscillators(**{key: getattr(config, key) for key in keys})
    arrays: dict[str, np.ndarray] = {}
    for index, split in enumerate(SPLITS):
        count = getattr(config, f"num_{split}")
        forces, positions = simulate(what, count, (config.simulation_seed, index), f"Simulating ({split})")
        if split == "train":
            noise = config.noise * positions.std()
        draw = np.random.default_rng((config.simulation_seed, len(SPLITS) + index))
        positions = positions + noise * draw.standard_normal(positions.shape)
        arrays |= {f"{split}_forces": forces, f"{split}_positions": positions}
    train, val, test = ((arrays[f"{split}_forces"], arrays[f"{split}_positions"]) for split in SPLITS)
    model = arx.fit_best(train, val)
    arrays["baseline_nrmse"] = np.array(arx.nrmse(model.simulate(test[0]), test[1]))
    return arrays


def read_signals(file: Path) -> dict[str, np.ndarray]:
    """Reads what `make_signals` returned.

    Args:
        file: Where it was written.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        with np.load(file) as arrays:
            return dict(arrays)
    except Exception as error:  # numpy raises whatever the damage leads to.
        raise ConfigError(f"{file} cannot be read ({error}). Delete it and run again: it will be made anew.") from error
