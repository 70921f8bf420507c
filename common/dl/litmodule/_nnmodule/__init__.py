"""Plain torch networks, unaware of Lightning."""
