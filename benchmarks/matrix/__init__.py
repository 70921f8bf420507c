"""Configurations drawn from everything that is allowed, each run in peace and interrupted: `chaos.py --matrix`."""
