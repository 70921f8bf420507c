"""Conditional autoregression: a target sequence predicted step by step from a conditioning sequence."""
