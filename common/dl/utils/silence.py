"""Messages of other packages that a user can do nothing about, silenced at their source, each with its reason."""

import logging
import warnings

SILENCED_WARNINGS = {
    r".*does not have many workers.*": "the number of workers is chosen, and said, by set_batch_size_and_num_workers",
    r".*is smaller than the logging interval.*": "short epochs are usual on small data; each epoch is logged",
    r".*Checkpoint directory .* exists and is not empty.*": "a run continues in its own folder",
    r".*ended before the epoch ended and your dataloader is not resumable.*": "the sampler goes on where it was",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*": "Lightning's own use of torch",
    r".*It is recommended to use `self\.log\(.*sync_dist=True.*": "BaseLitModule adds up over all ranks itself",
    r".*`training_step` returned `None`.*": "config.on_bad_loss=skip says itself which step is skipped",
    r".*The `srun` command is available.*": "hydra/launcher says where a run goes",
    r".*no CUDA runtime is found.*": "said by torch on every machine without a GPU",
}
"""Patterns of warnings and why each may be silenced."""

SILENCED_LOGGERS = {
    "pytorch_lightning.utilities.rank_zero": "lists the devices that are not used, and advertises",
    "pytorch_lightning.accelerators.cuda": "repeats the device, which the configuration names",
}
"""Loggers that speak only from WARNING on, and why."""


def silence_noise() -> None:
    """Silences the listed messages for this process."""
    for pattern in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    for name in SILENCED_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
