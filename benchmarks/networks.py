"""Sizes and speeds of the sequence networks: a step of training, in tokens per second.

    python benchmarks/networks.py                          # on the CPU, one thread, float32
    python benchmarks/networks.py --device gpu --precision float32 bfloat16 --compile

A token is one step of one signal. All networks have the width and the depth that is given; signals of one number per
step, conditions too.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import jaxtyping
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.dl.litmodule._nnmodule.cond_autoreg import backbone
from common.dl.litmodule._nnmodule.cond_autoreg.base import BaseCAMConfig
from common.dl.litmodule._nnmodule.cond_autoreg.cdam import CDAM
from common.dl.litmodule._nnmodule.cond_autoreg.cgam import CGAM, CGAMConfig
from common.dl.litmodule._nnmodule.cond_diffusion.dit1d1d import DiT1D1D, DiT1D1DConfig
from common.dl.litmodule._nnmodule.mamba2 import Mamba2, Mamba2BlocksConfig, Mamba2Config

Loss = Callable[[Tensor, Tensor], Tensor]
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Prints a row for each network and setting."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if arguments.device == "gpu" else "cpu")
    signals = [torch.randn(arguments.batch, arguments.length, 1, device=device) for _ in range(2)]
    print("network        parameters  precision  compiled     tokens/s")
    for name, make in networks(arguments.width, arguments.layers).items():
        for precision in arguments.precision:
            for is_compiled in (False, True) if arguments.compile else (False,):
                network, loss = make()
                seconds = seconds_per_step(network.to(device), loss, signals, PRECISIONS[precision], is_compiled)
                count = sum(parameter.numel() for parameter in network.parameters())
                rate = arguments.batch * arguments.length / seconds
                print(f"{name:<14} {count:>10,}  {precision:<9}  {is_compiled!s:<8} {rate:>12,.0f}", flush=True)


def networks(width: int, num_layers: int) -> dict[str, Callable[[], tuple[nn.Module, Loss]]]:
    """Returns what makes each network with its loss, given condition and target."""
    recurrent = backbone.RecurrentBackboneConfig(hidden_size=width, num_layers=num_layers)
    feedforward = backbone.FNNBackboneConfig(hidden_size=width, num_layers=num_layers)
    blocks = Mamba2BlocksConfig(hidden_size=width, num_layers=num_layers)
    backbones: dict[str, Any] = {
        "fnn": partial(backbone.FNNBackbone, feedforward),
        "rnn": partial(backbone.RNNBackbone, recurrent),
        "lstm": partial(backbone.LSTMBackbone, recurrent),
        "mamba2": partial(backbone.Mamba2Backbone, blocks),
    }

    def cam(model: Any, config: BaseCAMConfig, inside: str) -> tuple[nn.Module, Loss]:
        network = model(config, backbones[inside])
        return network, lambda condition, target: network.loss(network(condition, target), target)

    def dit() -> tuple[nn.Module, Loss]:
        network = DiT1D1D(DiT1D1DConfig(hidden_size=width, num_layers=num_layers))

        def loss(condition: Tensor, target: Tensor) -> Tensor:
            steps = torch.zeros(len(target), dtype=torch.long, device=target.device)
            is_given = torch.ones(len(target), dtype=torch.bool, device=target.device)
            return (network(target, steps, condition, is_given) - target).square().mean()

        return network, loss

    def mamba2() -> tuple[nn.Module, Loss]:
        network = Mamba2(Mamba2Config(input_size=1, output_size=1, hidden_size=width, num_layers=num_layers))
        return network, lambda condition, target: (network(condition) - target).square().mean()

    made: dict[str, Callable[[], tuple[nn.Module, Loss]]] = {"mamba2": mamba2}
    made |= {f"cdam {inside}": partial(cam, CDAM, BaseCAMConfig(), inside) for inside in backbones}
    return made | {"cgam lstm": partial(cam, CGAM, CGAMConfig(), "lstm"), "dit1d1d": dit}


def seconds_per_step(
    network: nn.Module, loss: Loss, signals: list[Tensor], precision: torch.dtype, is_compiled: bool
) -> float:
    """Returns the median time of forward and backward, after two that warm up."""
    device = signals[0].device
    jaxtyping.config.update("jaxtyping_disable", is_compiled)
    run = torch.compile(loss) if is_compiled else loss
    times = []
    for _ in range(7):
        started = time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            value = run(*signals)
        value.backward()
        network.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return median(times[2:])


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=("float32",))
    parser.add_argument("--compile", action="store_true", help="measures with torch.compile too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
