"""Data modules: what every project's data shares."""
