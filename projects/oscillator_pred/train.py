"""Predicts the motion of nonlinear oscillators: `python projects/oscillator_pred/train.py task=cdam_lstm`."""

from hydra_zen import ZenStore

from common.dl.datamodule.store import store_datamodule
from common.dl.litmodule.cond1d_target1d.base import BaseCond1DTarget1DLitModuleConfig
from common.dl.litmodule.cond1d_target1d.diffusion import DiffusionLitModuleConfig
from common.dl.litmodule.store import store_litmodule
from common.dl.runner import DeepLearningTaskRunner
from projects.oscillator_pred.datamodule import OscillatorDataModule, OscillatorDataModuleConfig
from projects.oscillator_pred.litmodule import OscillatorAutoregressionLitModule, OscillatorDiffusionLitModule


class TaskRunner(DeepLearningTaskRunner):
    """Runs the tasks in `task/`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the project's data module and Lightning modules."""
        super().store_configs(store=store)
        store_datamodule(store, "oscillator_pred", OscillatorDataModule, OscillatorDataModuleConfig)
        store_litmodule(
            store,
            "oscillator_pred_autoregression",
            OscillatorAutoregressionLitModule,
            BaseCond1DTarget1DLitModuleConfig,
        )
        store_litmodule(store, "oscillator_pred_diffusion", OscillatorDiffusionLitModule, DiffusionLitModuleConfig)


if __name__ == "__main__":
    TaskRunner.run_task()
