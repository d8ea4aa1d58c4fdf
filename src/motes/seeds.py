"""Random keys: one for each purpose of a seed."""

import jax
import numpy as np

from motes.errors import check_process, check_seed


def seed_key(seed: int, purpose: str) -> jax.Array:
    """Return the random key of a seed for one purpose; keys for different purposes are independent."""
    check_process()
    words = np.random.SeedSequence([check_seed(seed), *purpose.encode()]).generate_state(1)
    return jax.random.key(int(words[0]))
