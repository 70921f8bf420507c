"""What SLURM is given, and how its jobs are followed."""
