"""TODO imaging."""
