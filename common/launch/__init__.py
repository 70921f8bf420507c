"""From composed configurations to running jobs: checks, folders, launchers; `common.run` says what the nouns mean."""
