"""Simulated X-rays and the figures that say how good a registration is."""
