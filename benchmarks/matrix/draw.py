"""Draws configurations: the axes, their values, and which of them Lightning itself does not take together."""

import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra_zen import ZenStore

TASKS = {"learning": "classify", "evolving": "control"}
"""The projects beside this file, and the one task of each."""

LIGHTNING = "pytorch_lightning.callbacks"

Axes = Mapping[str, Mapping[str, list[str]]]
"""The overrides of each value of each axis. The first is drawn most often; a store fills an axis without values."""

LEARNING: Axes = {
    "accumulation": {
        "1": [],
        "2": ["trainer.accumulate_grad_batches=2"],
        "3": ["trainer.accumulate_grad_batches=3"],
        "scheduler 1, 2": [
            f"+callbacks.accumulation={{_target_:{LIGHTNING}.GradientAccumulationScheduler,scheduling:{{0:1,1:2}}}}"
        ],
        "scheduler 3, 1": [
            f"+callbacks.accumulation={{_target_:{LIGHTNING}.GradientAccumulationScheduler,scheduling:{{0:3,2:1}}}}"
        ],
    },
    "validation": {
        "each epoch": [],
        "every 3 batches": ["trainer.val_check_interval=3"],
        "every 4 batches": ["trainer.val_check_interval=4"],
        "every batch": ["trainer.val_check_interval=1"],
        "half an epoch": ["trainer.val_check_interval=0.5"],
        "third of an epoch": ["trainer.val_check_interval=0.34"],
        "every 2 epochs": ["trainer.check_val_every_n_epoch=2"],
        "every 7 batches over epochs": ["trainer.val_check_interval=7", "trainer.check_val_every_n_epoch=null"],
        "every 13 batches over epochs": ["trainer.val_check_interval=13", "trainer.check_val_every_n_epoch=null"],
        "never": ["trainer.limit_val_batches=0"],
    },
    "first validation": {
        "2 batches": [],
        "none": ["trainer.num_sanity_val_steps=0"],
        "all": ["trainer.num_sanity_val_steps=-1"],
    },
    "limits": {
        "none": [],
        "train 7": ["trainer.limit_train_batches=7"],
        "train 0.6": ["trainer.limit_train_batches=0.6"],
        "val 2": ["trainer.limit_val_batches=2"],
        "val 0.7, test 1": ["trainer.limit_val_batches=0.7", "trainer.limit_test_batches=1"],
        "overfit 3": ["trainer.overfit_batches=3"],
    },
    "batches": {
        "4": [],
        "7": ["datamodule.config.fixed_per_device_batch_size=7"],
        "7, whole": ["datamodule.config.fixed_per_device_batch_size=7", "datamodule.dataloader.drop_last=true"],
    },
    "budget": {
        "3 epochs": [],
        "2 epochs": ["trainer.max_epochs=2"],
        "17 steps": ["trainer.max_epochs=-1", "trainer.max_steps=17"],
        "10 steps": ["trainer.max_steps=10"],
        "4 epochs or 23 steps": ["trainer.max_epochs=4", "trainer.max_steps=23"],
        "at least 2 epochs": ["trainer.min_epochs=2"],
        "2 seconds": ["trainer.max_epochs=-1", "trainer.max_time=00:00:00:02"],
    },
    "precision": {
        "32": [],
        "bf16-mixed": ["trainer.precision=bf16-mixed"],
        "64": ["trainer.precision=64-true"],
        "bf16-true": ["trainer.precision=bf16-true"],
    },
    "clipping": {
        "norm": [],
        "value": ["trainer.gradient_clip_algorithm=value", "trainer.gradient_clip_val=0.1"],
        "none": ["trainer.gradient_clip_val=null"],
    },
    "optimizer": {},
    "scheduler": {},
    "schedule": {
        "base": [],
        "every 2 steps": ["litmodule.config.schedule=every_second_step"],
        "epoch": ["litmodule.config.schedule=epoch"],
        "every 2 epochs": ["litmodule.config.schedule=every_second_epoch"],
        "plateau": ["litmodule.config.schedule=plateau"],
        "plateau on a training mean": [
            "litmodule.config.schedule=plateau_on_train",
            "litmodule.config.logs_means=true",
        ],
    },
    "optimisation": {"automatic": [], "manual": ["litmodule.config.is_manual=true", "trainer.gradient_clip_val=null"]},
    "early stopping": {
        "none": [],
        "val/loss": ["callbacks=early_stopping", "callbacks.early_stopping.patience=1"],
        "training mean": [
            "callbacks=early_stopping",
            "callbacks.early_stopping.monitor=train/mean",
            "callbacks.early_stopping.min_delta=0.1",
            "callbacks.early_stopping.patience=1",
            "callbacks.early_stopping.check_on_train_epoch_end=true",
            "litmodule.config.logs_means=true",
        ],
    },
    "averaging": {"none": [], "by the module": ["litmodule.config.average_decay=0.9"]},
    "averaging callback": {
        "none": [],
        "swa": [
            f"+callbacks.swa._target_={LIGHTNING}.StochasticWeightAveraging",
            "+callbacks.swa.swa_lrs=0.01",
            "+callbacks.swa.swa_epoch_start=1",
        ],
        "ema": [f"+callbacks.ema._target_={LIGHTNING}.EMAWeightAveraging", "+callbacks.ema.decay=0.9"],
    },
    "samples": {"in memory": [], "noisy": ["datamodule.config.is_noisy=true"]},
    "workers": {
        "0": [],
        "1": ["datamodule.config.fixed_per_device_num_workers=1"],
        "2": ["datamodule.config.fixed_per_device_num_workers=2"],
        "2, persistent": [
            "datamodule.config.fixed_per_device_num_workers=2",
            "datamodule.dataloader.persistent_workers=true",
        ],
        "1, prefetch 5": [
            "datamodule.config.fixed_per_device_num_workers=1",
            "datamodule.dataloader.prefetch_factor=5",
        ],
    },
    "worker start": {"default": [], "fork": ["datamodule.dataloader.multiprocessing_context=fork"]},
    "order": {"shuffled": [], "in order": ["datamodule.dataloader.shuffle=false"]},
    "loader": {
        "base": [],
        "weights": ["datamodule.config.has_weights=true"],
        "own, weighted": ["datamodule=own_loader", "datamodule.config.own_loader=weighted"],
        "own, shuffled": ["datamodule=own_loader"],
        "own, in order": ["datamodule=own_loader", "datamodule.config.own_loader=in_order"],
    },
    "reloading": {
        "never": [],
        "every epoch": ["trainer.reload_dataloaders_every_n_epochs=1"],
        "every 2 epochs": ["trainer.reload_dataloaders_every_n_epochs=2"],
    },
    "bad loss": {"none": [], "skipped": ["config.on_bad_loss=skip", "litmodule.config.bad_loss_every=5"]},
    "logging": {
        "each step": ["trainer.log_every_n_steps=1"],
        "each 3 steps": ["trainer.log_every_n_steps=3"],
        "default": [],
    },
    "epoch means": {"none": [], "logged": ["litmodule.config.logs_means=true"]},
    "saving": {
        "default": [],
        "each step": ["config.save_every_n_minutes=0.00001"],
        "each 50 ms": ["config.save_every_n_minutes=0.001"],
    },
    "bar": {"on": [], "off": ["trainer.enable_progress_bar=false"]},
    "W&B": {"on": [], "off": ["logger=none"]},
    "seed": {"0": [], "7": ["config.seed=7"]},
}

EVOLVING: Axes = {
    "algorithm": {},
    "networks": {},
    "backend": {
        "auto": [],
        "numba": ["evaluator.config.backend=numba"],
        "numpy": ["evaluator.config.backend=numpy"],
        "gymnasium": ["evaluator.config.backend=gymnasium"],
    },
    "environment": {
        "CartPole-v1": [],
        "Pendulum-v1": ["evaluator.config.environment=Pendulum-v1"],
        "Acrobot-v1": ["evaluator.config.environment=Acrobot-v1"],
        "MountainCarContinuous-v0": ["evaluator.config.environment=MountainCarContinuous-v0"],
        "FrozenLake-v1": ["evaluator.config.environment=FrozenLake-v1"],
        "Blackjack-v1": ["evaluator.config.environment=Blackjack-v1", "evaluator.config.kwargs={natural:true}"],
    },
    "longest episode": {"the environment's": [], "20 steps": ["evaluator.config.max_steps=20"]},
    "wrappers": {"none": [], "time": ["evaluator.config.wrappers=[{name:TimeAwareObservation}]"]},
    "observations": {
        "raw": [],
        "scaled": ["population.config.observations=scaled"],
        "standardized": ["population.config.observations=standardized"],
    },
    "start states": {"shared": [], "individual": ["evaluator.config.start_states=individual"]},
    "episodes": {"1": [], "3": ["evaluator.config.num_episodes=3"]},
    "size": {"12": [], "7": ["population.config.size=7"]},
    "challengers": {"1": [], "3": ["config.num_challengers=3"]},
    "budget": {
        "5 generations": [],
        "target": ["config.num_generations=8", "config.target_fitness=30"],
        "2 seconds": ["config.num_generations=null", "config.num_minutes=0.03"],
    },
    "saving": {
        "default": [],
        "each generation": ["config.save_every_n_generations=1"],
        "each 2": ["config.save_every_n_generations=2"],
    },
    "W&B": {"on": [], "off": ["logger=none"]},
    "seed": {"0": [], "7": ["config.seed=7"]},
}

GROUPS = {
    "optimizer": "litmodule/optimizer",
    "scheduler": "litmodule/scheduler",
    "algorithm": "algorithm",
    "networks": "population/networks",
}
"""The groups whose members are the values of an axis, all drawn as often; a new one is covered by being registered."""

RANKS = {"1": [], "2": ["hydra.launcher.tasks_per_node=2"]}
RARE = {"2": 0.1, "spawn": 0.05}
"""How often what takes many seconds to start is drawn: second ranks, and workers that import everything anew."""

SPAWN = ["datamodule.dataloader.multiprocessing_context=spawn", "datamodule.config.fixed_per_device_num_workers=1"]

EXCLUDED = (
    ("optimisation", "manual", "accumulation"),
    ("optimisation", "manual", "clipping"),
    ("optimisation", "manual", "schedule"),
    ("optimisation", "manual", "bad loss"),
    ("ranks", "2", "bad loss"),
    ("validation", "never", "early stopping"),
    ("limits", "overfit 3", "validation"),
)
"""What Lightning, or this project, refuses to run whatever happens: (axis, value, axis that keeps its first value)."""

EVOLVING_SHARE = 0.25
FIRST_VALUE_SHARE = 0.7
"""How often an axis keeps its first value: a configuration then differs from the task's own on about nine axes."""

FIRST_VALUE_SHARES = {"averaging callback": 0.96}
"""The same for axes whose other values are refused."""


@dataclass(frozen=True)
class Configuration:
    """A command.

    Attributes:
        project: A folder beside this file.
        overrides: Of the project's one task.
        on_terminal: Whether its output is a pseudo-terminal, and not a pipe.
        axes: What was drawn on each axis; for the table.
    """

    project: str
    overrides: tuple[str, ...]
    on_terminal: bool
    axes: Mapping[str, str]

    @property
    def num_ranks(self) -> int:
        """How many processes share the run."""
        return 2 if RANKS["2"][0] in self.overrides else 1

    @property
    def is_timed(self) -> bool:
        """Whether a clock ends the run."""
        return any(key in override for override in self.overrides for key in ("max_time", "num_minutes"))


def draw(num: int, seed: int) -> Iterator[Configuration]:
    """Yields configurations; each is a function of the seed and its own number alone.

    Args:
        num: How many.
        seed: Any number.
    """
    for index in range(num):
        rng = random.Random(f"{seed}, {index}")
        project = "evolving" if rng.random() < EVOLVING_SHARE else "learning"
        yield _draw_one(project, rng)


def _draw_one(project: str, rng: random.Random) -> Configuration:
    axes = axes_of(project)
    drawn = {"ranks": "2" if rng.random() < RARE["2"] else "1"}
    overrides = list(RANKS[drawn["ranks"]])
    for axis, values in axes.items():
        first, *others = values
        is_first = axis not in GROUPS and rng.random() < FIRST_VALUE_SHARES.get(axis, FIRST_VALUE_SHARE)
        drawn[axis] = first if is_first else rng.choice([first, *others] if axis in GROUPS else others)
    if project == "learning" and rng.random() < RARE["spawn"]:
        drawn |= {"worker start": "spawn", "workers": "1"}
    for axis, value, other in EXCLUDED:
        if drawn.get(axis) == value and other in drawn:
            drawn[other] = next(iter(axes[other]))
    for axis, values in axes.items():
        overrides += SPAWN if drawn[axis] == "spawn" else values.get(drawn[axis], [])
    drawn["output"] = rng.choice(["terminal", "pipe"])
    unique = tuple({override.partition("=")[0]: override for override in overrides}.values())
    return Configuration(project, unique, drawn["output"] == "terminal", drawn)


@cache
def axes_of(project: str) -> Axes:
    """Returns a project's axes, the empty ones filled with the registered members of their groups."""
    store: Any = ZenStore(overwrite_ok=True)
    if project == "learning":
        from common.dl.store import store_configs
    else:
        from common.ne.store import store_configs
    arguments = sys.argv
    sys.argv = [str(Path(__file__).parent / project / "train.py"), f"task={TASKS[project]}"]  # Whose store it is.
    try:
        store_configs(store)
    finally:
        sys.argv = arguments
    axes = LEARNING if project == "learning" else EVOLVING
    return {axis: values or _members(store, GROUPS[axis]) for axis, values in axes.items()}


def _members(store: Any, group: str) -> dict[str, list[str]]:
    return {name: [f"{group}={name}"] for _, name in sorted(store[group])}
