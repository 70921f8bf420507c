"""What an evolution writes: metrics, the bar, pictures, W&B."""
