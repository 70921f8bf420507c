"""Climbs a hill: `python tests/toy/train.py task=hill`."""

from tests.toy.engine import ToyRunner

if __name__ == "__main__":
    ToyRunner.run_task()
