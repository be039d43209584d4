"""Chance that depends on what it is for, and on nothing that happened before.

A training that goes on after a kill, or whose batches are made ahead of time, thus sees the same
batches, and no generator's state needs to be kept.
"""

import hashlib

import torch


def seed_of(*words: int | str) -> int:
    """Return a seed in [0, 2^63); seeds of different words are unrelated."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return int.from_bytes(digest[:8], 'big') >> 1


def generator_of(device: torch.device | str, *words: int | str) -> torch.Generator:
    """Return a generator on a device, seeded by words."""
    generator = torch.Generator(device)
    generator.manual_seed(seed_of(*words))
    return generator
