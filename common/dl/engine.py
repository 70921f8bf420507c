"""What the deep-learning engine says of itself."""

from common.engine import Budget, Engine

MONITOR = "val/loss"

DEEP_LEARNING = Engine(
    budgets=[
        Budget("trainer.max_epochs", column="epoch"),
        Budget("trainer.max_steps", column="step"),
        Budget("trainer.max_time"),
    ],
    without_effect=[
        "datamodule.config.data_dir",
        "trainer.barebones",
        "trainer.default_root_dir",
        "trainer.enable_checkpointing",
        "trainer.enable_model_summary",
        "trainer.enable_progress_bar",
        "trainer.logger",
        "trainer.profiler",
    ],
    objective=MONITOR,
    direction="minimize",
    results=["test/", "val/"],
    checkpoints="lightning",
    chosen={
        "datamodule.config.fixed_per_device_batch_size": "batch_size",
        "datamodule.config.fixed_per_device_num_workers": "num_workers",
        "hydra.launcher.cpus_per_task": "num_threads",
    },
    loader="common.dl.load",
)
