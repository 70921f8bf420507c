"""Tries many configurations, two at a time, and prints what came of them, by axis."""

import random
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed

from benchmarks.matrix.draw import Configuration, draw
from benchmarks.matrix.run import Outcome, command_of, try_configuration

VERDICTS = ("identical", "refused", "different")


def try_matrix(num: int, seed: int, num_parallel: int = 2) -> list[Outcome]:
    """Draws and tries configurations; prints each as it is done.

    Args:
        num: How many.
        seed: Decides which, and how they are interrupted.
        num_parallel: How many are tried at a time.
    """
    outcomes: dict[int, Outcome] = {}
    with ThreadPoolExecutor(num_parallel) as pool:
        futures = {
            pool.submit(try_configuration, configuration, random.Random(f"{seed}, {index}, interruptions")): index
            for index, configuration in enumerate(draw(num, seed))
        }
        for future in as_completed(futures):
            index = futures[future]
            outcomes[index] = outcome = future.result()
            print(f"{len(outcomes)}/{num} #{index} {outcome.verdict}: {', '.join(outcome.interruptions)}", flush=True)
            if outcome.problems:
                print("\n".join(f"    {problem}" for problem in outcome.problems))
                print(f"    {command_of(outcome)}", flush=True)
    return [outcomes[index] for index in sorted(outcomes)]


def try_again(configuration: Configuration, interruptions: list[str]) -> Outcome:
    """Tries one configuration, interrupted as is said, and prints what came of it."""
    outcome = try_configuration(configuration, random.Random(0), interruptions or None)
    print(f"{outcome.verdict}, after {', '.join(outcome.interruptions)}")
    print("\n".join(outcome.problems))
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """Returns a Markdown table: for each value of each axis, what came of the configurations that have it."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        for axis, value in outcome.configuration.axes.items():
            counts[axis, value][outcome.verdict] += 1
        for interruption in outcome.interruptions:
            what, _, moment = interruption.partition("@")
            counts["interruption", f"{what} at {moment.partition(':')[0]}"][outcome.verdict] += 1
    lines = [f"| axis | value | {' | '.join(VERDICTS)} |", f"|---|---|{'---|' * len(VERDICTS)}"]
    for (axis, value), verdicts in sorted(counts.items()):
        lines.append(f"| {axis} | {value} | {' | '.join(str(verdicts[verdict]) for verdict in VERDICTS)} |")
    return "\n".join(lines)
