"""Conditional diffusion: a target signal drawn out of noise, given a conditioning signal."""
