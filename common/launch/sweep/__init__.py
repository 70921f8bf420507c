"""A sweep: how its points are chosen, run and reported."""
