"""The Lightning modules: those of common, with the linear baseline's error beside their own."""

from common.dl.litmodule.base import BaseLitModule
from common.dl.litmodule.cond1d_target1d.autoregression import AutoregressionLitModule
from common.dl.litmodule.cond1d_target1d.diffusion import DiffusionLitModule


class OscillatorAutoregressionLitModule(AutoregressionLitModule):
    """Predicts motions from forces step by step."""

    def on_test_epoch_end(self) -> None:
        """Logs the epoch, and the baseline."""
        super().on_test_epoch_end()
        log_baseline(self)


class OscillatorDiffusionLitModule(DiffusionLitModule):
    """Draws motions out of noise, given forces."""

    def on_test_epoch_end(self) -> None:
        """Logs the epoch, and the baseline."""
        super().on_test_epoch_end()
        log_baseline(self)


def log_baseline(litmodule: BaseLitModule) -> None:
    """Logs the free-running error of the best linear model, as `test/baseline_nrmse`."""
    datamodule = litmodule.trainer.datamodule  # type: ignore[attr-defined]  # Lightning declares none.
    litmodule.log("test/baseline_nrmse", datamodule.baseline_nrmse, batch_size=1)
