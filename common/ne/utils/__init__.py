"""Tools of the evolution loop."""
