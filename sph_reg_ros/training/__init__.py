"""Training of the networks on X-rays that are made while it goes on. Research use only."""
