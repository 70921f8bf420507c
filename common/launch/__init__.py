"""From composed configurations to running jobs: checks, folders, launchers."""
