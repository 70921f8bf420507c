"""Algorithms: how a generation follows from the fitness of the one before."""
