"""A project of the matrix's own: networks that evolve, a few generations in a second."""
