"""Tools for Lightning."""
