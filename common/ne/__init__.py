"""Neuroevolution: the loop that every neuroevolution project shares, and what plugs into it."""
