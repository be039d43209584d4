"""Order-independent seeding: each random stream has its own key.

A training that is resumed, or whose batches are made ahead of time, sees the same batches, and no
state of a generator is saved.
"""

import hashlib

import torch


def seed_of(*seed_key: int | str) -> int:
    """Return a seed in [0, 2^63); those of different keys are unrelated."""
    digest = hashlib.sha256(repr(seed_key).encode()).digest()
    return int.from_bytes(digest[:8], 'big') >> 1


def generator_of(device: torch.device | str, *seed_key: int | str) -> torch.Generator:
    """Return a generator on a device, seeded by a key."""
    generator = torch.Generator(device)
    generator.manual_seed(seed_of(*seed_key))
    return generator
