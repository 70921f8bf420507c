"""Deep learning: the training loop that every deep-learning project shares, and what plugs into it."""
