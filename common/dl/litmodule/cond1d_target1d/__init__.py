"""A 1-D signal predicted from a 1-D conditioning signal of the same length."""
