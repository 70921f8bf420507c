"""Networks of a whole population at once: each array holds the individuals along its first axis."""
