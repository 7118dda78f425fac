"""Chance that can be called again: every file draws from numbers of its own."""

import hashlib

import numpy as np


def generator(*key: object) -> np.random.Generator:
    """Return the random numbers that belong to a key, whatever was drawn before."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(list(digest))
