"""Populations: what evolves, and how an individual turns observations into actions."""
