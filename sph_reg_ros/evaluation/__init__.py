"""Simulated X-rays, test cases and error metrics of registrations."""
