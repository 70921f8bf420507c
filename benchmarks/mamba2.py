"""Measures Mamba2 on the CPU: against the pure-PyTorch path of transformers, over lengths, step by step, and learning.

    python benchmarks/mamba2.py [--only speed length step copying] [--threads 1] [--repeats 5] [--rounds 5]

Needs the packages of the extra `dev`. Times are the processor's, so that other programs count little. Each contestant
of `speed` runs in processes of its own, so that the peak of its memory is its own, in turn with the others.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.dl.litmodule._nnmodule.mamba2 import Mamba2, Mamba2Config
from common.utils.torch import import_torchvision

BATCH, LENGTH, WIDTH, NUM_LAYERS, STATE_SIZE, HEAD_SIZE = 4, 1024, 256, 4, 64, 64
OURS = "ours, chunks of 64"
CONTESTANTS = {
    OURS: 64,
    "transformers, chunks of 64": 64,
    "transformers, chunks of 256 (its default)": 256,
}
PARTS = ("speed", "length", "step", "copying")
LENGTHS = (512, 1024, 2048, 4096, 8192)
COPY_LENGTH, NUM_COPIED, NUM_SYMBOLS, NUM_COPY_STEPS = 256, 8, 8, 4500


def main() -> None:
    """Runs the parts that are asked for."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.contestant:
        print(json.dumps(measure_contestant(arguments.contestant, arguments.repeats)))
        return
    for part in arguments.only:
        print(f"\n{part}")
        {"speed": speed, "length": lengths, "step": steps, "copying": copying}[part](arguments)


def speed(arguments: argparse.Namespace) -> None:
    """Forward and backward, tokens per second and peak memory, of us and of transformers, in rounds."""
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(arguments.rounds):
        for name, found in results.items():
            command = [sys.executable, __file__, "--threads", str(arguments.threads), "--contestant", name]
            command += ["--repeats", str(arguments.repeats)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(result.stdout.splitlines()[-1]))
    for name, found in results.items():
        seconds, mebibytes = (median(values) for values in zip(*found, strict=True))
        ratios = [theirs[0] / ours[0] for theirs, ours in zip(found, results[OURS], strict=True)]
        print(
            f"  {name:45} {BATCH * LENGTH / seconds:8,.0f} tokens/s  {mebibytes:6,.0f} MiB above the start  "
            f"{median(ratios):.2f} times our seconds ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def measure_contestant(name: str, repeats: int) -> tuple[float, float]:
    """Returns the median seconds of forward and backward, and the memory in MiB that they took at their peak."""
    network = stack_of(make_ours()) if name == OURS else make_transformers(CONTESTANTS[name])
    x = torch.randn(BATCH, LENGTH, WIDTH)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = median_seconds(lambda: network(x).square().mean().backward(), repeats)
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def stack_of(network: Mamba2) -> Callable[[Tensor], Tensor]:
    """Returns what transformers has of a network: blocks and normalisation, no linear layer at either end."""

    def run(x: Tensor) -> Tensor:
        for block, remembered in zip(network.blocks, network.make_cache(len(x)), strict=True):
            x, _ = block(x, remembered)
        normed: Tensor = network.norm(x)
        return normed

    return run


def make_ours() -> Mamba2:
    """Returns our network at the benchmark's size."""
    config = Mamba2Config(
        input_size=WIDTH,
        output_size=WIDTH,
        hidden_size=WIDTH,
        num_layers=NUM_LAYERS,
        state_size=STATE_SIZE,
        head_size=HEAD_SIZE,
        chunk_size=CONTESTANTS[OURS],
    )
    return Mamba2(config)


def make_transformers(chunk_size: int) -> Callable[[Tensor], Tensor]:
    """Returns the network of transformers at the benchmark's size."""
    import_torchvision()
    from transformers.models.mamba2.configuration_mamba2 import Mamba2Config as TransformersConfig
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Model

    config = TransformersConfig(
        num_heads=2 * WIDTH // HEAD_SIZE,
        head_dim=HEAD_SIZE,
        vocab_size=2,
        hidden_size=WIDTH,
        state_size=STATE_SIZE,
        num_hidden_layers=NUM_LAYERS,
        n_groups=1,
        chunk_size=chunk_size,
    )
    network = Mamba2Model(config).train()
    return lambda x: network(inputs_embeds=x, use_cache=False).last_hidden_state


def lengths(arguments: argparse.Namespace) -> None:
    """Forward and backward over lengths, the number of tokens being the same."""
    network = make_ours()
    for length in LENGTHS:
        x = torch.randn(LENGTHS[-1] // length, length, WIDTH)
        seconds = median_seconds(lambda x=x: network(x).square().mean().backward(), arguments.repeats)
        print(f"  length {length:5}: {1e6 * seconds / LENGTHS[-1]:6.1f} µs per token")


@torch.no_grad()
def steps(arguments: argparse.Namespace) -> None:
    """Generation, one step at a time, after prompts of several lengths."""
    network = make_ours()
    for length in (0, *LENGTHS):
        _, cache = network.prefill(torch.randn(1, max(length, 1), WIDTH), network.make_cache(1))
        x = torch.randn(1, WIDTH)
        seconds = median_seconds(lambda cache=cache, x=x: network.step(x, cache), 40 * arguments.repeats)
        print(f"  after {length:5} steps: {1e3 * seconds:6.2f} ms per step")


def copying(_: argparse.Namespace) -> None:
    """Selective copying (Gu and Dao 2023, arXiv 2312.00752, section 4.1.1): symbols among noise, then repeated."""
    torch.manual_seed(0)
    config = Mamba2Config(
        input_size=NUM_SYMBOLS + 2, output_size=NUM_SYMBOLS, hidden_size=64, state_size=64, head_size=32, num_layers=2
    )
    network = Mamba2(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    # The rate falls in the end alone: earlier it slows learning, and while it is high the accuracy comes and goes.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (NUM_COPY_STEPS - step) / 1000))
    started = time.perf_counter()
    for step in range(1, NUM_COPY_STEPS + 1):
        tokens, answers = selective_copying(32)
        logits = network(tokens)[:, -NUM_COPIED:]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            accuracy = copying_accuracy(network, 256)
            print(f"  step {step}: {accuracy:.4f} after {time.perf_counter() - started:.0f} s", flush=True)
    print(f"  at the end, of 4,096 fresh sequences: {copying_accuracy(network, 4096):.4f}")


@torch.no_grad()
def copying_accuracy(network: nn.Module, num_sequences: int) -> float:
    """Returns the fraction of right symbols in fresh sequences."""
    tokens, answers = selective_copying(num_sequences)
    return float((network(tokens)[:, -NUM_COPIED:].argmax(dim=-1) == answers).float().mean())


def selective_copying(batch: int) -> tuple[Tensor, Tensor]:
    """Returns one-hot tokens (symbols, noise, "now repeat"), 256 in all, and the symbols in their order."""
    length = COPY_LENGTH - NUM_COPIED
    answers = torch.randint(NUM_SYMBOLS, (batch, NUM_COPIED))
    tokens = torch.full((batch, COPY_LENGTH), NUM_SYMBOLS)
    places = torch.rand(batch, length).argsort(dim=1)[:, :NUM_COPIED].sort(dim=1).values
    tokens.scatter_(1, places, answers)
    tokens[:, length:] = NUM_SYMBOLS + 1
    return nn.functional.one_hot(tokens, NUM_SYMBOLS + 2).float(), answers


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Returns the median time of a call, after one that warms up.

    Time on the processor, by which other programs on the machine count little; several threads add up.
    """
    run()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return median(times)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
