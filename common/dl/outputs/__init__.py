"""What a training run writes while it goes on: metrics, the bar, W&B."""
