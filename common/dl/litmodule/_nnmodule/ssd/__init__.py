"""The state-space duality of Mamba2: its recurrence, as products of matrices."""
