"""Destinations: where encoded runs go, and how the file appears all at once."""
