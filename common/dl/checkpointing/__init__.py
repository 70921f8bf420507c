"""How a training run is saved, and continued to the same bits."""
