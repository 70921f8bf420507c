"""From composed configurations to running jobs: checks, folders, launchers.

Seven nouns lead from the command line to a result. A `Command` is what a person asks for. Its `Search` chooses what is
to run: one point for a plain run, several for a sweep. A `Point` is one such configuration, composed and settled, with
the `Record` that a run of it begins with. A `Run` is the folder that the point was given, with its lock and its record.
A `Launch` is one process's work on that run. An `Outcome` is how the point ended, by its run's record.
"""
