"""Evolves networks that control: `python projects/ne_control_score/train.py task=cartpole`."""

from common.ne.runner import NeuroevolutionTaskRunner


class TaskRunner(NeuroevolutionTaskRunner):
    """Runs the tasks in `task/`; everything that they pick from is shared."""


if __name__ == "__main__":
    TaskRunner.run_task()
