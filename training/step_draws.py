"""Randomness that depends on seed, step and place in the step only, never on how the run got there.

A run that was killed and goes on draws what it would have drawn. The micro-batches of a step are numbered over
gradient accumulation and processes together, so that two processes with one micro-batch each draw what one process with
two does.
"""

from __future__ import annotations

import numpy as np
import torch


def shared_draws(seed: int, step: int) -> np.random.Generator:
    """The same on all processes: what a whole step has in common, such as the size of its volumes."""
    return np.random.default_rng([seed, step, 0])


def micro_draws(seed: int, step: int, micro: int) -> np.random.Generator:
    """For one micro-batch of a step, numbered from 0 over all processes."""
    return np.random.default_rng([seed, step, micro + 1])


def noise_draws(seed: int, step: int, micro: int) -> torch.Generator:
    """For noise and times of a micro-batch: other numbers than those that its data are drawn with."""
    return torch_draws(np.random.default_rng([seed, step, micro + 1, 1]))


def torch_draws(rng: np.random.Generator) -> torch.Generator:
    """A PyTorch generator on the CPU, seeded by the next number of ``rng``."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))
