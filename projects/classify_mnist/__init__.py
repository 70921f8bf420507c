"""Handwritten digits, classified: the worked example of a deep-learning project."""
