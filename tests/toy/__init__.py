"""A third engine, in a folder of its own: nothing outside knows of it."""
