"""Networks that are evolved to control gymnasium's environments, scored by their total reward."""
