"""Hydra's entry points to `common/launch`."""
