"""Random numbers that depend on names, not on history.

A generator is made from a seed and a few keys (say, ``("sample", 17)``), so that any step or image can be drawn
again alone, in any order, in any process.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def seed_for(seed: int, *keys: int | str) -> int:
    """Return a 63-bit seed that is a fixed function of `seed` and `keys`, equal on every platform."""
    digest = hashlib.blake2b(repr((seed, *keys)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(seed: int, *keys: int | str) -> "np.random.Generator":
    """Return a NumPy generator for (`seed`, `keys`)."""
    import numpy as np

    return np.random.default_rng(seed_for(seed, *keys))


def torch_generator_for(seed: int, *keys: int | str) -> "torch.Generator":
    """Return a CPU torch generator for (`seed`, `keys`).

    Always on the CPU: noise drawn there and moved is the same on every device.
    """
    import torch

    return torch.Generator().manual_seed(seed_for(seed, *keys))


@contextmanager
def torch_seeded(device: "torch.device", seed: int, *keys: int | str) -> "Iterator[None]":
    """Inside, let what takes no generator (dropout, the first weights of layers) depend on (`seed`, `keys`) alone.

    The global generators of the CPU and of `device` are put back afterwards.
    """
    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed_for(seed, *keys))
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed_for(seed, *keys))
        yield
