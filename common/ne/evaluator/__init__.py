"""Evaluators: how good the individuals of a population are."""
