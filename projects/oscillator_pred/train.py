"""Predicts the motion of nonlinear oscillators: `python projects/oscillator_pred/train.py task=cdam_lstm`."""

from hydra_zen import ZenStore
from torch.utils.data import DataLoader

from common.dl.litmodule.cond1d_target1d.base import BaseCond1DTarget1DLitModuleConfig
from common.dl.litmodule.cond1d_target1d.diffusion import DiffusionLitModuleConfig
from common.dl.runner import DeepLearningTaskRunner
from common.utils.hydra_zen import generate_config, generate_config_partial
from projects.oscillator_pred.datamodule import OscillatorDataModule, OscillatorDataModuleConfig
from projects.oscillator_pred.litmodule import OscillatorAutoregressionLitModule, OscillatorDiffusionLitModule


class TaskRunner(DeepLearningTaskRunner):
    """Runs the tasks in `task/`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the project's data module and Lightning modules."""
        super().store_configs(store=store)
        store(
            generate_config(
                OscillatorDataModule,
                config=generate_config(OscillatorDataModuleConfig),
                dataloader=generate_config_partial(DataLoader),
            ),
            name="oscillator_pred",
            group="datamodule",
        )
        store(
            generate_config(
                OscillatorAutoregressionLitModule, config=generate_config(BaseCond1DTarget1DLitModuleConfig)
            ),
            name="oscillator_pred_autoregression",
            group="litmodule",
        )
        store(
            generate_config(OscillatorDiffusionLitModule, config=generate_config(DiffusionLitModuleConfig)),
            name="oscillator_pred_diffusion",
            group="litmodule",
        )


if __name__ == "__main__":
    TaskRunner.run_task()
